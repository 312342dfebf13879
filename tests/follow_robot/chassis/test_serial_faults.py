"""Why a serial port cannot be opened, and what is said then."""

import errno
import os
import subprocess
import sys

import pytest
import serial

from follow_robot.chassis import PortError, SerialPort, serial_port
from follow_robot.chassis.serial_faults import holders, known_ports


def hold(path):
    """Another process that has the port open and locked, as pyserial or flock do."""
    code = (
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_port_held_by_another_process(cable):
    process = hold(cable.link)
    try:
        with pytest.raises(PortError, match=r"is busy: .*\(pid %d\).* holds it" % process.pid):
            SerialPort(cable.link).open()
        assert any("(pid %d)" % process.pid in h for h in holders(os.path.realpath(cable.link)))
    finally:
        process.kill()
        process.communicate()
    with SerialPort(cable.link) as port:  # the lock died with its process
        port.write(b"x")


def test_a_port_held_by_this_process(cable, port):
    with pytest.raises(PortError, match=r"is busy: .* holds it; end that"):
        SerialPort(cable.link).open()
    port.write(b"x")  # the first is none the worse
    assert cable.receive(1) == b"x"


def test_somebody_who_does_not_lock_is_named(cable, monkeypatch, caplog):
    monkeypatch.setattr(serial_port, "holders", lambda path: ["ros_driver (pid 7)"])
    with SerialPort(cable.link):
        pass
    assert not caplog.records  # a pseudo-terminal is held by its other end
    monkeypatch.setattr(serial_port, "_PSEUDO_TERMINALS", "/nowhere/")
    with SerialPort(cable.link):
        pass
    assert "also open in ros_driver (pid 7); end it" in caplog.text


def test_a_port_that_is_not_there(tmp_path, monkeypatch):
    path = str(tmp_path / "ttyUSB9")
    for ports, said in [
        (
            ["/dev/ttyACM0 (Car)", "/dev/ttyTHS1"],
            "this machine has /dev/ttyACM0 (Car), /dev/ttyTHS1",
        ),
        ([], "this machine has no serial port"),
    ]:
        monkeypatch.setattr(
            "follow_robot.chassis.serial_faults.known_ports", lambda ports=ports: ports
        )
        with pytest.raises(PortError) as caught:
            SerialPort(path).open()
        assert str(caught.value) == (
            "Serial port %s does not exist (%s); check the cable and the chassis' power."
            % (path, said)
        )


def test_ports_are_listed_with_what_they_are(monkeypatch):
    from serial.tools.list_ports_common import ListPortInfo

    usb = ListPortInfo("/dev/ttyUSB0")
    usb.description = "USB Serial"
    monkeypatch.setattr(
        "serial.tools.list_ports.comports", lambda: [usb, ListPortInfo("/dev/ttyS0")]
    )
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/ttyTHS1", "/dev/ttyS0"])
    assert known_ports() == ["/dev/ttyS0", "/dev/ttyTHS1", "/dev/ttyUSB0 (USB Serial)"]


@pytest.mark.parametrize(
    "number, message",
    [
        (errno.EACCES, "No permission to open .*car; add yourself to the group dialout"),
        (errno.EBUSY, "Serial port .*car is busy"),
        (errno.ENODEV, "Serial port .*car does not exist"),
        (errno.EIO, "cannot be opened at 115200 baud \\(Input/output error\\); this machine has"),
    ],
)
def test_what_the_system_says_is_explained(cable, monkeypatch, number, message):
    opened = os.open

    def refuse(path, *rest, **more):
        if path == cable.link:
            raise OSError(number, os.strerror(number))
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PortError, match=message) as caught:
        SerialPort(cable.link).open()
    assert "\n" not in str(caught.value)


def test_what_is_no_serial_port(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (str(tmp_path / "file"), "/dev/null", str(tmp_path)):
        with pytest.raises(PortError, match="%s is not a serial port" % path):
            SerialPort(path).open()


def test_a_speed_that_the_port_does_not_have(cable, monkeypatch):
    def refuse(self, baud):
        raise ValueError("Failed to set custom baud rate (%d)" % baud)

    monkeypatch.setattr(serial.Serial, "_set_special_baudrate", refuse)
    with pytest.raises(PortError, match=r"cannot be opened at 123457 baud .*custom baud rate"):
        SerialPort(cable.link, 123457).open()


def test_without_pyserial(cable, monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(PortError, match="needs pyserial; install it with pip install pyserial"):
        SerialPort(cable.link).open()


def test_faults_while_opening_leave_nothing_open(cable, monkeypatch):
    def broken(self):
        raise OSError(errno.EIO, "unplugged meanwhile")

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(serial.Serial, "rts", property(None, lambda self, on: broken(self)))
        port = SerialPort(cable.link, lower_lines=True)
        with pytest.raises(PortError):
            port.open()
    assert not port.is_open and len(os.listdir("/proc/self/fd")) == before
