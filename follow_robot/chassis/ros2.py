"""The ROS 2 output: velocities published as geometry_msgs/Twist."""

from __future__ import annotations

import logging
import struct
from types import SimpleNamespace
from typing import Optional

from follow_robot.chassis.base import Chassis
from follow_robot.chassis.port import Port, PortError
from follow_robot.velocity import Velocity

TOPIC = "/cmd_vel"
_TWIST = struct.Struct("<3d")
_ACKNOWLEDGE_S = 0.2

_log = logging.getLogger(__name__)


class Ros2Chassis(Chassis):
    """Three little-endian doubles per velocity (vx, vy in m/s, wz in rad/s), for ``Ros2Port``."""

    name = "ros2"
    holonomic = True

    def _encode(self, velocity: Velocity) -> bytes:
        return _TWIST.pack(*velocity)


class Ros2Port(Port):
    """Publishes what ``Ros2Chassis`` encodes. rclpy is imported when it is opened."""

    def __init__(self, topic: str = TOPIC):
        """Name the topic (geometry_msgs/Twist, depth 1)."""
        self.topic = topic
        self._ros: Optional[SimpleNamespace] = None

    @property
    def is_open(self) -> bool:
        return self._ros is not None

    def describe(self) -> str:
        return "ROS 2 topic %s" % self.topic

    def open(self) -> None:
        if self._ros is not None:
            return
        try:
            import rclpy
            from geometry_msgs.msg import Twist
            from rclpy.context import Context
        except ImportError as error:
            raise PortError(
                "Chassis ros2 needs rclpy and geometry_msgs (%s); source ROS 2 first (. "
                "/opt/ros/DISTRO/setup.bash) and use the Python it was built for." % error
            ) from None
        context = Context()  # our own: another user of ROS in this process keeps its default one
        try:
            rclpy.init(args=[], context=context, **_no_signal_handlers())
            node = rclpy.create_node("follow_robot", context=context)
            publisher = node.create_publisher(Twist, self.topic, 1)
        except Exception as error:  # rclpy's exceptions have no common base
            if context.ok():
                rclpy.shutdown(context=context)
            raise PortError("Cannot publish on %s: %s" % (self.describe(), error)) from None
        self._ros = SimpleNamespace(
            rclpy=rclpy, Twist=Twist, context=context, node=node, publisher=publisher
        )

    def write(self, data: bytes) -> None:
        if self._ros is None:
            raise PortError("%s was written to before it was opened." % self.describe())
        for vx, vy, wz in _TWIST.iter_unpack(data):
            twist = self._ros.Twist()
            twist.linear.x, twist.linear.y, twist.angular.z = vx, vy, wz
            try:
                self._ros.publisher.publish(twist)
            except Exception as error:  # as in open
                raise PortError("Cannot publish on %s: %s" % (self.describe(), error)) from None

    def close(self) -> None:
        ros, self._ros = self._ros, None
        if ros is None:
            return
        try:
            if hasattr(ros.publisher, "wait_for_all_acked"):  # since Humble
                from rclpy.duration import Duration

                # Destroying the node forgets what is on its way, and the last thing is a stop.
                ros.publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_S))
            ros.node.destroy_node()
            if ros.context.ok():
                ros.rclpy.shutdown(context=ros.context)
        except Exception as error:  # as in open; such as ROS shut down by someone else
            _log.warning("Closing %s: %s", self.describe(), error)


def _no_signal_handlers():
    """Arguments that keep rclpy's hands off SIGINT: its handler would end publishing at once, and
    the stops that follow the signal would not leave. Older rclpy installs none in ``init``."""
    try:
        from rclpy.signals import SignalHandlerOptions
    except ImportError:
        return {}
    return {"signal_handler_options": SignalHandlerOptions.NO}
