"""The ROS 2 output, against a stand-in for rclpy."""

import sys

import pytest

from follow_robot.chassis import PortError, open_chassis
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.chassis.fake_rclpy import Rclpy


@pytest.fixture(params=["foxy", "humble"])
def ros(request, monkeypatch):
    fake = Rclpy(humble=request.param == "humble")
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_velocities_are_published_and_the_last_one_is_waited_for(ros):
    chassis, port = open_chassis("ros2:/car/cmd_vel")
    with port:
        assert port.is_open
        port.write(chassis.encode(Velocity(0.25, -0.5, 1.5)))
        port.write(chassis.encode(STOP) + chassis.stop())
        assert port.read() == b""
    assert not port.is_open
    zero = (0.0, 0.0, 0.0)
    assert ros.log == [
        ("/car/cmd_vel", (0.25, -0.5, 0.0), (0.0, 0.0, 1.5)),
        ("/car/cmd_vel", zero, zero),
        ("/car/cmd_vel", zero, zero),
        *(["acknowledged"] if ros.humble else []),
        "destroyed",
        "shut down",
    ]


def test_it_can_be_opened_again(ros):
    _, port = open_chassis("ros2")
    for _ in range(2):
        port.open()
        port.open()
        port.close()
        port.close()
    assert ros.log.count("shut down") == 2


def test_a_context_shut_down_by_others_is_a_loss(ros, caplog):
    chassis, port = open_chassis("ros2")
    port.open()
    ros.context.state = "shut down"
    with pytest.raises(PortError, match=r"Cannot publish on ROS 2 topic /cmd_vel: .*invalid"):
        port.write(chassis.stop())
    port.close()
    assert ros.log[-1] == "destroyed"


def test_a_refused_topic_leaves_nothing_running(ros):
    _, port = open_chassis("ros2:/refused")
    with pytest.raises(PortError, match="Cannot publish on ROS 2 topic /refused: invalid topic"):
        port.open()
    assert not port.is_open and not ros.context.ok()


def test_without_ros(monkeypatch):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    chassis, port = open_chassis("ros2")
    assert chassis.holonomic and not chassis.reads
    with pytest.raises(PortError, match=r"needs rclpy and geometry_msgs .*source ROS 2 first"):
        port.open()
    with pytest.raises(PortError, match="before it was opened"):
        port.write(chassis.stop())


def test_what_is_not_finite_is_refused():
    chassis, _ = open_chassis("ros2")
    with pytest.raises(ReidEdgeError, match="must be finite"):
        chassis.encode(Velocity(0, 0, float("nan")))
