"""The world: collisions, the range sensor, and the same course each time."""

import math

import numpy as np
import pytest

from follow_robot.simulator.car import Car, CarModel
from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Walker, Waypoint
from follow_robot.simulator.plane import Pose, Walls
from follow_robot.simulator.world import RangeSensor, World
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

QUIET = RangeSensor(half_angle_rad=math.radians(12), most_m=4.0, sigma_m=0.0)


def standing(name, x, y):
    return Walker(name, Look(), (Waypoint((x, y)),))


def world(*walkers, walls=(), at=(0.0, 0.0, 0.0), seed=0):
    car = Car(Pose(*at), CarModel())
    people = [standing("target", 50.0, 0.0), *walkers]
    return World(car, people, Walls(np.array(walls, float).reshape(-1, 4)), "target", seed)


def test_driving_into_somebody_counts_once():
    w = world(standing("a", 1.0, 0.0))
    for _ in range(400):
        w.step(Velocity(0.5), 0.01)
    assert w.collisions == {"a": 1}
    assert w.nearest_m < 0
    assert w.way_m == pytest.approx(w.car.pose.x, abs=1e-6)


def test_passing_somebody_counts_no_collision_but_the_gap():
    w = world(standing("a", 1.0, 0.6))
    for _ in range(400):
        w.step(Velocity(0.5), 0.01)
    assert w.collisions == {}
    assert w.nearest_m == pytest.approx(0.6 - 0.22 - 0.18, abs=0.01)


def test_a_wall_holds_the_car():
    w = world(walls=[(1.0, -1.0, 1.0, 1.0)])
    for _ in range(500):
        w.step(Velocity(0.5), 0.01)
    assert w.collisions["wall"] >= 1
    assert w.car.pose.x <= 1.0 - 0.18 + 1e-9


def test_the_range_sensor_sees_what_is_in_front_of_it():
    assert world().range_m(QUIET) == 4.0
    assert world(walls=[(2.0, -1.0, 2.0, 1.0)]).range_m(QUIET) == pytest.approx(2.0 - 0.18)
    near = world(standing("a", 1.5, 0.0), walls=[(2.0, -1.0, 2.0, 1.0)])
    assert near.range_m(QUIET) == pytest.approx(1.5 - 0.22 - 0.18)
    assert world(standing("a", 1.5, 1.0)).range_m(QUIET) == 4.0  # beside the cone
    assert world(standing("a", -1.5, 0.0)).range_m(QUIET) == 4.0  # behind
    turned = world(standing("a", 0.0, 1.5), at=(0.0, 0.0, math.pi / 2))
    assert turned.range_m(QUIET) == pytest.approx(1.5 - 0.22 - 0.18)


def test_readings_are_noisy_and_the_same_for_the_same_seed():
    def readings(seed):
        w = world(walls=[(2.0, -1.0, 2.0, 1.0)], seed=seed)
        return [w.range_m(RangeSensor(sigma_m=0.02)) for _ in range(400)]

    first = readings(3)
    assert first == readings(3) != readings(4)
    assert np.mean(first) == pytest.approx(1.82, abs=0.01)
    assert np.std(first) == pytest.approx(0.02, rel=0.2)


def test_the_same_commands_lead_along_the_same_course():
    def course():
        walker = Walker("a", Look(), (Waypoint((2, 1)), Waypoint((4, -1), 0.7)))
        w = world(walker)
        for step in range(300):
            w.step(Velocity(0.3, 0.0, 0.5) if step % 100 < 70 else STOP, 0.01)
        return w.car.pose, walker.pose, walker.phase, w.nearest_m, w.time_s

    assert course() == course()


def test_names_are_unique_and_the_target_is_there():
    with pytest.raises(ReidEdgeError, match="different names"):
        world(standing("a", 1, 1), standing("a", 2, 2))
    with pytest.raises(ReidEdgeError, match="not among"):
        World(Car(Pose(0, 0, 0), CarModel()), [standing("a", 1, 1)], Walls(np.empty((0, 4))), "b")
