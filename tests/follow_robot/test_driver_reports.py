"""The driver's words reach the recording, the latencies and the motion, in order."""

import pytest

from follow_robot.black_box_records import DriveEntry
from follow_robot.chassis import Telemetry
from follow_robot.driver_messages import Report, Tick
from follow_robot.driver_reports import DriverReports
from follow_robot.obstacle import ObstacleReading
from follow_robot.velocity import STOP, Velocity


def report(time_s, sent=STOP, measured=None, heard_s=None):
    telemetry = None if heard_s is None else Telemetry(measured, 12.0, None, {})
    return Report(time_s, sent, time_s, 1, (), (), True, telemetry, heard_s)


def test_a_tick_is_recorded_as_it_was():
    put = []
    reports = DriverReports(put.append)
    reading = ObstacleReading(1.0, 9.9)
    reports.hear(Tick(10.0, 3, reading, ("key",), Velocity(0.1), ("slow",), "7b00ff", True))
    assert put == []  # the link's thread only leaves it
    reports.take()
    assert put == [
        DriveEntry(10.0, 3, reading, ("key",), Velocity(0.1), ("slow",), b"\x7b\x00\xff", True)
    ]
    reports.take()
    assert len(put) == 1


def test_the_motion_is_what_the_chassis_measures():
    reports = DriverReports(lambda entry: None)
    reports.hear(report(10.0, Velocity(0.5), Velocity(0.3), heard_s=9.9))
    reports.take()
    assert reports.motion.mean(10.0, 10.1) == pytest.approx(Velocity(0.3))


@pytest.mark.parametrize("measured, heard_s", [(None, None), (None, 9.9), (Velocity(0.3), 9.4)])
def test_or_what_it_was_told_where_nothing_fresh_is_measured(measured, heard_s):
    reports = DriverReports(lambda entry: None)
    reports.hear(report(10.0, Velocity(0.5), measured, heard_s))
    reports.take()
    assert reports.motion.mean(10.0, 10.1) == pytest.approx(Velocity(0.5))
