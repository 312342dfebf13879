"""How simulated people walk."""

import math

import pytest

from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Passing, Walker, Waypoint

DT_S = 0.01
FAR = (100.0, 100.0)


def walk(walker, seconds, car=FAR, target=FAR, start_s=0.0):
    """Places every 10 ms."""
    places = []
    for step in range(round(seconds / DT_S)):
        walker.step(start_s + step * DT_S, DT_S, car, target)
        places.append(walker.pose)
    return places


def test_a_walk_arrives_in_its_time_and_stays():
    walker = Walker("a", Look(), (Waypoint((0, 0)), Waypoint((3, 4), 1.0)))
    places = walk(walker, 8.0)
    assert math.hypot(*places[100][:2]) < 1.0  # gathers speed first
    assert places[-1][:2] == pytest.approx((3, 4), abs=0.06)
    assert walker.speed_mps < 0.05
    arrived = next(i for i, p in enumerate(places) if math.hypot(p.x - 3, p.y - 4) < 0.1)
    assert 5.0 < arrived * DT_S < 6.5
    assert places[300].heading_rad == pytest.approx(math.atan2(4, 3), abs=0.01)


def test_somebody_waits_at_a_waypoint_and_looks_where_it_says():
    way = (Waypoint((0, 0)), Waypoint((1, 0), 1.0, wait_s=2.0, face_deg=90), Waypoint((2, 0), 1.0))
    walker = Walker("a", Look(), way)
    walk(walker, 3.0)
    assert walker.pose.x == pytest.approx(1.0, abs=0.06)
    assert walker.pose.heading_rad == pytest.approx(math.pi / 2, abs=0.01)
    walk(walker, 3.0, start_s=3.0)
    assert walker.pose.x == pytest.approx(2.0, abs=0.06)


def test_nobody_starts_before_their_time_or_is_there_outside_of_it():
    walker = Walker(
        "a",
        Look(),
        (Waypoint((0, 0)), Waypoint((9, 0), 1.0)),
        present_from_s=1.0,
        present_to_s=4.0,
        start_s=2.0,
    )
    walk(walker, 0.5)
    assert not walker.present
    walk(walker, 0.9, start_s=1.0)
    assert walker.present and walker.pose.x == 0
    walk(walker, 1.0, start_s=2.0)
    assert walker.pose.x > 0.3
    walk(walker, 0.1, start_s=4.05)
    assert not walker.present


def test_steps_follow_the_way_walked():
    walker = Walker("a", Look(), (Waypoint((0, 0)), Waypoint((50, 0), 1.0)))
    walk(walker, 3.0)
    before, x = walker.phase, walker.pose.x
    walk(walker, 1.0, start_s=3.0)
    cycles = (walker.phase - before) % 1.0
    assert cycles == pytest.approx(0.75 * (walker.pose.x - x) % 1.0, abs=1e-6)


def test_nobody_walks_into_the_car():
    walker = Walker("a", Look(), (Waypoint((0, 0)), Waypoint((5, 0), 1.0)))
    places = walk(walker, 8.0, car=(2.0, 0.0))
    assert max(p.x for p in places) < 2.0 - 0.3
    walk(walker, 6.0, car=FAR, start_s=8.0)  # and goes on when it has gone
    assert walker.pose.x == pytest.approx(5.0, abs=0.06)


@pytest.mark.parametrize("from_left", [True, False])
@pytest.mark.parametrize("back", [True, False])
def test_a_passer_crosses_the_line_between_car_and_target(from_left, back):
    passing = Passing(1.0, 0.5, from_left, start_m=3.0, speed_mps=1.5, stay_s=1.0, back=back)
    walker = Walker("a", Look(), passing=passing)
    car, target = (0.0, 0.0), (2.0, 0.0)
    walk(walker, 1.0, car, target)
    assert not walker.present
    places = walk(walker, 2.0, car, target, start_s=1.0)
    side = 1 if from_left else -1
    assert walker.present
    assert places[0][:2] == pytest.approx((1.0, side * 3.0), abs=0.05)
    assert places[-1][:2] == pytest.approx((1.0, 0.0), abs=0.05)
    places = walk(walker, 1.0, car, target, start_s=3.0)  # stays
    assert places[-1][:2] == pytest.approx((1.0, 0.0), abs=0.05)
    places = walk(walker, 1.9, car, target, start_s=4.0)
    assert places[-1].y == pytest.approx((side if back else -side) * 2.85, abs=0.1)
    walk(walker, 0.3, car, target, start_s=5.95)
    assert not walker.present


def test_a_passer_moves_with_the_line():
    walker = Walker("a", Look(), passing=Passing(0.0, 0.5, True, 2.0, 1.0, stay_s=4.0))
    walk(walker, 3.0, (0.0, 0.0), (2.0, 0.0))
    walk(walker, 0.5, (1.0, 0.0), (5.0, 0.0), start_s=3.0)
    assert walker.pose[:2] == pytest.approx((3.0, 0.0), abs=0.05)
