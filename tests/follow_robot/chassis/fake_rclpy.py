"""A stand-in for rclpy and geometry_msgs: the documented names of two releases and no others."""

from types import ModuleType, SimpleNamespace


class Vector3:
    """Three floats; as in the real messages nothing else can be set."""

    __slots__ = ("_values",)

    def __init__(self):
        object.__setattr__(self, "_values", {"x": 0.0, "y": 0.0, "z": 0.0})

    def __getattr__(self, name):
        return self._values[name]

    def __setattr__(self, name, value):
        assert name in self._values and isinstance(value, float), (name, value)
        self._values[name] = value


class Twist:
    __slots__ = ("angular", "linear")

    def __init__(self):
        self.linear, self.angular = Vector3(), Vector3()


class Context:
    def __init__(self):
        self.state = "new"

    def ok(self):
        return self.state == "running"


class Publisher:
    def __init__(self, world, topic):
        self._world, self._topic = world, topic

    def publish(self, message):
        assert type(message) is Twist
        world = self._world
        if not world.context.ok():
            raise RuntimeError("publisher's context is invalid")
        linear, angular = message.linear, message.angular
        world.log.append(
            (self._topic, (linear.x, linear.y, linear.z), (angular.x, angular.y, angular.z))
        )


class AcknowledgedPublisher(Publisher):
    def wait_for_all_acked(self, timeout):
        assert timeout.seconds > 0
        self._world.log.append("acknowledged")
        return True


class Node:
    def __init__(self, world, name):
        self._world, self.name = world, name

    def create_publisher(self, msg_type, topic, qos_profile):
        assert msg_type is Twist and qos_profile == 1
        if topic == "/refused":
            raise ValueError("invalid topic name")
        kind = AcknowledgedPublisher if self._world.humble else Publisher
        return kind(self._world, topic)

    def destroy_node(self):
        self._world.log.append("destroyed")


class Rclpy:
    """The modules to put into sys.modules, and what happened in them.

    Attributes:
        modules: By name.
        log: Published velocities and events, in order.
        context: The one in use.
    """

    def __init__(self, humble):
        self.humble, self.log, self.context = humble, [], None
        rclpy = module("rclpy", init=self._init, create_node=self._create, shutdown=self._shutdown)
        options = {"SignalHandlerOptions": SimpleNamespace(NO="none")} if humble else {}
        self.modules = {
            "rclpy": rclpy,
            "rclpy.context": module("rclpy.context", Context=Context),
            "rclpy.signals": module("rclpy.signals", **options),
            "rclpy.duration": module("rclpy.duration", Duration=Duration),
            "geometry_msgs": module("geometry_msgs"),
            "geometry_msgs.msg": module("geometry_msgs.msg", Twist=Twist),
        }

    def _init(self, *, args=None, context=None, **newer):
        assert args == [] and context.state == "new"
        assert newer == ({"signal_handler_options": "none"} if self.humble else {})
        context.state, self.context = "running", context

    def _create(self, node_name, *, context=None):
        assert context is self.context and context.ok()
        return Node(self, node_name)

    def _shutdown(self, *, context=None):
        assert context is self.context and context.ok()
        context.state = "shut down"
        self.log.append("shut down")


class Duration:
    def __init__(self, *, seconds=0):
        self.seconds = seconds


def module(name, **members):
    made = ModuleType(name)
    made.__dict__.update(members)
    return made
