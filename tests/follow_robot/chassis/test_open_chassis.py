"""What a user names, and what is said when it is none of what there is."""

import subprocess
import sys

import pytest

from follow_robot.chassis import (
    NAMES,
    FilePort,
    LogChassis,
    NullPort,
    Ros2Port,
    Rosmaster,
    SerialPort,
    Waveshare,
    Wheeltec,
    open_chassis,
    parse_spec,
)
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError


@pytest.mark.parametrize(
    "spec, kind, path, baud",
    [
        ("wheeltec:/dev/ttyUSB0", Wheeltec, "/dev/ttyUSB0", 115200),
        (" rosmaster:/dev/myserial@57600 ", Rosmaster, "/dev/myserial", 57600),
        ("waveshare:/dev/ttyTHS1@1000000?heartbeat_ms=200", Waveshare, "/dev/ttyTHS1", 1000000),
        (
            "wheeltec:/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
            Wheeltec,
            "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
            115200,
        ),
        ("wheeltec:/dev/a@b@9600", Wheeltec, "/dev/a@b", 9600),
    ],
)
def test_serial_ports(spec, kind, path, baud):
    chassis, port = open_chassis(spec)
    assert type(chassis) is kind and isinstance(port, SerialPort)
    assert (port.path, port.baud, port.is_open) == (path, baud, False)
    assert chassis.baud == 115200 and chassis.reads
    assert port.describe() == "%s at %d baud" % (path, baud)


def test_options_reach_the_chassis():
    car, _ = open_chassis("rosmaster:/dev/x?car=x3plus")
    assert car.encode(Velocity())[4] == 2
    car, _ = open_chassis("waveshare:/dev/x?track_width_m=0.125&heartbeat_ms=250")
    assert (car.track_width_m, car.heartbeat_ms) == (0.125, 250)
    car, _ = open_chassis("wheeltec:/dev/x?holonomic=No&report_bytes=32")
    assert not car.holonomic
    assert car.feed(bytes([0x7B] + [0] * 29 + [0x7B, 0x7D]))[0].battery_v == 0


def test_what_needs_no_port(tmp_path):
    assert isinstance(open_chassis("null")[1], NullPort)
    chassis, port = open_chassis("log")
    assert isinstance(chassis, LogChassis) and port.describe() == "standard error"
    # A file's name is taken as it is.
    for name in ("a@9", "b?c=1", "d:e"):
        port = open_chassis("log:%s" % (tmp_path / name))[1]
        assert isinstance(port, FilePort) and port.describe() == str(tmp_path / name)
    port = open_chassis("ros2")[1]
    assert isinstance(port, Ros2Port) and port.topic == "/cmd_vel"
    assert open_chassis("ros2:car_1/cmd_vel")[1].topic == "car_1/cmd_vel"


@pytest.mark.parametrize(
    "spec, message",
    [
        ("", "is none of: wheeltec:PORT.*rosmaster.*waveshare.*ros2.*log.*null"),
        ("/dev/ttyUSB0", "is none of: wheeltec:PORT"),
        ("Wheeltec:/dev/ttyUSB0", "is none of: wheeltec:PORT"),
        ("weeltec:/dev/ttyUSB0", "'weeltec:/dev/ttyUSB0' is none of"),
        ("wheeltec", "needs its serial port, as in wheeltec:/dev/ttyUSB0, .*this machine has"),
        ("waveshare:", "needs its serial port"),
        ("waveshare:@9600", "needs its serial port"),
        ("waveshare?heartbeat_ms=200", "needs its serial port"),
        ("wheeltec:/dev/x@fast", "must be 1200 to 4000000 baud, got 'fast'"),
        ("wheeltec:/dev/x@", "must be 1200 to 4000000 baud, got ''"),
        ("wheeltec:/dev/x@1", "must be 1200 to 4000000 baud, got '1'"),
        ("wheeltec:/dev/x@²", "must be 1200 to 4000000 baud"),
        ("wheeltec:/dev/x@99999999999", "must be 1200 to 4000000 baud"),
        ("wheeltec:/dev/x?car=x3", "wheeltec has no option car; it has report_bytes, holonomic"),
        ("rosmaster:/dev/x?car=x9", "one of x3, x3plus, x1, r2, got 'x9'"),
        ("wheeltec:/dev/x?report_bytes=many", "report_bytes must be an integer, got 'many'"),
        ("wheeltec:/dev/x?report_bytes=23", "24 or 32, got 23"),
        ("wheeltec:/dev/x?holonomic=perhaps", "holonomic must be yes or no, got 'perhaps'"),
        ("waveshare:/dev/x?track_width_m=wide", "track_width_m must be a number, got 'wide'"),
        ("waveshare:/dev/x?track_width_m=nan", "track_width_m .* got nan"),
        ("waveshare:/dev/x?heartbeat_ms=3000", "heartbeat_ms .* 100 to 500, got 3000"),
        ("waveshare:/dev/x?heartbeat_ms", "NAME=VALUE"),
        ("waveshare:/dev/x?heartbeat_ms=200&heartbeat_ms=300", "each once"),
        ("null:x", "null takes nothing"),
        ("ros2:two words", "takes a topic such as ros2:/cmd_vel, got 'ros2:two words'"),
        ("ros2:/cmd_vel/", "takes a topic"),
    ],
)
def test_mistakes_are_one_sentence(spec, message):
    with pytest.raises(ReidEdgeError, match=message) as caught:
        open_chassis(spec)
    assert "\n" not in str(caught.value)


def test_nothing_heavy_is_imported():
    """The driver process starts with this, also where there is no ROS and no pyserial."""
    code = (
        "import sys; from follow_robot.chassis import open_chassis; open_chassis('wheeltec:/dev/x');"
        "print([m for m in ('cv2', 'numpy', 'onnxruntime', 'rclpy', 'serial') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"[]"


def test_names():
    assert NAMES == ("wheeltec", "rosmaster", "waveshare", "ros2", "log", "null")
    assert parse_spec("rosmaster:/dev/x@9600?car=r2") == (
        "rosmaster",
        "/dev/x",
        9600,
        {"car": "r2"},
    )
