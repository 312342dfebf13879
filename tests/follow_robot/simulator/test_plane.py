"""Rays, walls and poses of the simulated plane."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from follow_robot.simulator.plane import Pose, Walls, disc_distance, turned_towards, wrapped

ROOM = Walls(np.array([[-1, -2, 5, -2], [5, -2, 5, 2], [5, 2, -1, 2], [-1, 2, -1, -2]]))
metres = st.floats(-10, 10)
angles = st.floats(-math.pi, math.pi)


def test_rays_meet_the_walls_of_a_room():
    hits = ROOM.cast((0.0, 0.0), np.radians([0, 90, 180, 270, 45]))
    assert hits.distance == pytest.approx([5, 2, 1, 2, 2 * math.sqrt(2)])
    assert hits.wall.tolist() == [1, 2, 3, 0, 2]
    assert hits.along == pytest.approx([2, 5, 2, 1, 3])  # from each wall's first end


def test_the_nearest_of_two_walls_is_met():
    walls = Walls(np.array([[3, -1, 3, 1], [2, -1, 2, 1]]))
    hits = walls.cast((0.0, 0.0), np.array([0.0]))
    assert (hits.distance[0], hits.wall[0]) == (2, 1)


def test_a_ray_beside_behind_or_along_a_wall_meets_nothing():
    walls = Walls(np.array([[3.0, 1.0, 3.0, 2.0], [-2.0, 0.0, -4.0, 0.0]]))
    hits = walls.cast((0.0, 0.0), np.array([0.0]))
    assert np.isinf(hits.distance[0]) and hits.wall[0] == -1 and hits.along[0] == 0


def test_without_walls_everything_is_free():
    hits = Walls(np.empty((0, 4))).cast((0.0, 0.0), np.zeros(3))
    assert np.isinf(hits.distance).all()
    assert math.isinf(Walls(np.empty((0, 4))).distance((0.0, 0.0)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(metres, metres, metres, metres), min_size=1, max_size=5), angles)
def test_what_a_ray_meets_lies_on_the_ray_and_on_its_wall(segments, angle):
    walls = Walls(np.array(segments))
    assume(walls.lengths.min() > 0.01)
    hits = walls.cast((0.3, -0.2), np.array([angle]))
    way, row = hits.distance[0], hits.wall[0]
    if row < 0:
        return
    point = np.array([0.3 + way * math.cos(angle), -0.2 + way * math.sin(angle)])
    start, end = np.array(segments[row][:2]), np.array(segments[row][2:])
    on_wall = start + (end - start) * hits.along[0] / walls.lengths[row]
    assert point == pytest.approx(on_wall, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.tuples(metres, metres, metres, metres), st.tuples(metres, metres))
def test_the_distance_to_a_wall_is_that_of_its_nearest_point(segment, point):
    start, end = np.array(segment[:2]), np.array(segment[2:])
    line = start + (end - start) * np.linspace(0, 1, 4001)[:, None]
    brute = np.hypot(*(line - point).T).min()
    found = Walls(np.array([segment])).distance(point)
    assert found <= brute + 1e-6
    assert found == pytest.approx(brute, abs=2e-4 * (1 + np.hypot(*(end - start))))


@settings(deadline=None)
@given(metres, metres, angles, metres, metres)
def test_a_pose_turns_places_there_and_back(x, y, heading, ahead, left):
    pose = Pose(x, y, heading)
    assert pose.to_local(pose.to_world(ahead, left)) == pytest.approx((ahead, left), abs=1e-9)


def test_left_of_a_car_that_looks_north_is_west():
    assert Pose(1.0, 2.0, math.pi / 2).to_world(3.0, 1.0) == pytest.approx((0.0, 5.0))


@pytest.mark.parametrize(
    "centre, expected",
    [((3.0, 0.0), 2.5), ((3.0, 0.4), 3 - 0.3), ((3.0, 0.6), math.inf), ((-3.0, 0.0), math.inf)],
)
def test_the_way_to_a_disc(centre, expected):
    assert disc_distance((0.0, 0.0), np.array([0.0]), centre, 0.5) == pytest.approx(expected)


def test_inside_a_disc_the_way_is_nothing():
    assert disc_distance((0.0, 0.0), np.array([0.0]), (0.1, 0.0), 0.5) == 0.0


@settings(deadline=None)
@given(st.floats(-20, 20), angles, st.floats(0.01, 1.0))
def test_turning_goes_the_short_way_and_arrives(heading, wanted, step):
    now = wrapped(heading)
    for _ in range(int(math.pi / step) + 2):
        before, now = now, turned_towards(now, wanted, step)
        assert abs(wrapped(now - before)) <= step + 1e-9
        assert abs(wrapped(wanted - now)) <= abs(wrapped(wanted - before)) + 1e-9
    assert abs(wrapped(now - wanted)) < 1e-6
