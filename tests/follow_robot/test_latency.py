"""Commands and the driver's reports are joined by their numbers."""

import pytest

from follow_robot.driver_messages import Report
from follow_robot.latency import LatencyMeter
from follow_robot.velocity import STOP
from runtime.frame_record import FrameRecord
from runtime.lock_types import IDLE, LockOutput


def frame(time_s, **took_ms):
    lock = LockOutput(IDLE, None, None, None, None, None)
    return FrameRecord(0, time_s, (240, 320), [], lock, [1, 0, 0, 0, 1, 0], took_ms)


def report(sequence, sent_s):
    return Report(sent_s or 0.0, STOP, sent_s, sequence, (), (), True, None, None)


def test_without_the_networks():
    meter = LatencyMeter()
    meter.sent(1, frame(10.0, detect=30.0, embed=20.0, track=4.0))
    meter.written(report(1, 10.060))
    assert meter.whole_ms == pytest.approx([60.0])
    assert meter.own_ms == pytest.approx([10.0])


def test_the_first_report_of_a_command_counts():
    meter = LatencyMeter()
    meter.sent(1, frame(10.0))
    for sent_s in (10.02, 10.07, 10.12):
        meter.written(report(1, sent_s))
    assert meter.whole_ms == pytest.approx([20.0])


def test_reports_of_nothing_are_not_counted():
    meter = LatencyMeter()
    meter.sent(1, frame(10.0))
    meter.written(report(None, 10.0))  # no command yet
    meter.written(report(1, None))  # nothing written yet
    meter.written(report(7, 10.0))  # a command that answers no frame
    assert meter.whole_ms == []
    meter.written(report(1, 10.01))
    assert meter.whole_ms == pytest.approx([10.0])


def test_commands_that_were_overtaken_are_forgotten():
    meter = LatencyMeter()
    for sequence in range(1, 102):
        meter.sent(sequence, frame(10.0))
    meter.written(report(1, 10.5))
    assert meter.whole_ms == []
    meter.written(report(101, 10.5))
    assert meter.whole_ms == pytest.approx([500.0])


def test_summary():
    meter = LatencyMeter()
    assert meter.summary() == {"frames": 0}
    for number in range(101):
        meter.sent(number, frame(10.0, detect=100.0))
        meter.written(report(number, 10.1 + number / 1e3))
    summary = meter.summary()
    assert summary["frames"] == 101
    assert summary["own"] == pytest.approx({"p50_ms": 50, "p90_ms": 90, "p99_ms": 99})
    assert summary["whole"] == pytest.approx({"p50_ms": 150, "p90_ms": 190, "p99_ms": 199})
