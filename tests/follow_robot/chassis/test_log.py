"""Chassis without a car, and the ports they write to."""

import errno
import os
import subprocess
import sys

import pytest

from follow_robot.chassis import FilePort, LogChassis, NullChassis, NullPort, PortError
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError


def test_lines_for_people():
    chassis = LogChassis()
    assert chassis.encode(Velocity(0.25, -0.1, -0.0001)) == (
        b"vx +0.250 m/s, vy -0.100 m/s, wz +0.000 rad/s\n"
    )
    assert chassis.encode(STOP) == chassis.stop() == b"stop\n"
    with pytest.raises(ReidEdgeError, match="must be finite"):
        chassis.encode(Velocity(float("nan")))


def test_a_small_velocity_does_not_read_as_a_stop():
    assert LogChassis().encode(Velocity(0.0004)) != b"stop\n"


def test_a_file_gets_each_line_with_its_time_and_keeps_what_it_had(tmp_path):
    times = iter([12.5, 13.0])
    path = tmp_path / "commands.log"
    path.write_bytes(b"before\n")
    with FilePort(str(path), clock=lambda: next(times)) as port:
        port.write(b"stop\nstop\n")
        port.write(b"vx\n")
        # Seen by others at once, without closing.
        assert path.read_bytes() == b"before\n12.500000 stop\n12.500000 stop\n13.000000 vx\n"
    assert not port.is_open


def test_standard_error():
    code = (
        "from follow_robot.chassis import open_chassis\n"
        "chassis, port = open_chassis('log')\n"
        "with port: port.write(chassis.stop())\n"
        "import sys; print('still there', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=True)
    first, second = done.stderr.decode().splitlines()
    assert float(first.split()[0]) > 0 and first.endswith(" stop")
    assert second == "still there"


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(PortError, match=r"Cannot write the commands to .*no/x: .*No such file"):
        FilePort(str(tmp_path / "no" / "x")).open()


def test_without_a_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", None)
    with pytest.raises(PortError, match="no standard error"):
        FilePort().open()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_a_loss():
    with FilePort("/dev/full") as port:
        with pytest.raises(PortError, match=os.strerror(errno.ENOSPC)):
            port.write(b"stop\n")


@pytest.mark.parametrize("port", [FilePort("x"), NullPort()])
def test_nothing_is_written_before_opening(port):
    with pytest.raises(PortError, match="before it was opened"):
        port.write(b"stop\n")


def test_null_sends_nothing():
    chassis, port = NullChassis(), NullPort()
    assert chassis.encode(Velocity(1)) == chassis.stop() == b""
    assert chassis.start() == [] and chassis.feed(b"x") == [] and chassis.frames == 0
    with port:
        port.write(b"x")
        assert port.is_open and port.read() == b""
    assert not port.is_open
