"""What the main process and the driver process say to each other: one JSON object per line.

The objects carry the version of this protocol and exactly the fields of their kind. JSON is extended
by ``NaN`` and ``Infinity``, as Python writes them: a velocity that is not a number has to reach the
safety gate, which says so.

A line is never longer than a pipe takes in one piece, so that it arrives whole or not at all.
"""

import dataclasses
import enum
import json
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type, Union

from follow_robot import message_values as values
from follow_robot.chassis.base import Telemetry
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import Command, Velocity
from runtime.errors import ReidEdgeError

VERSION = 1
MAX_LINE_BYTES = 4096  # PIPE_BUF of Linux
_MAX_TEXT = 200
_MAX_TEXTS, _MAX_ITEM = 6, 80


class MessageError(ReidEdgeError):
    """The other process said something that is not this protocol."""


class Configure(NamedTuple):
    """First message to the driver.

    Attributes:
        chassis: Specification, as for ``follow_robot.chassis.open_chassis``.
        limits: What the safety gate enforces.
        parent: Process id of the main process.
    """

    chassis: str
    limits: SafetyLimits
    parent: int


class Press(NamedTuple):
    """Latch the emergency stop."""

    reason: str


class Rearm(NamedTuple):
    """Allow motion again."""


class Close(NamedTuple):
    """Stop the car and end."""


class Report(NamedTuple):
    """What the driver did, after each write to the port.

    Attributes:
        time_s: Monotonic time of this report.
        sent: Velocity last written to the port.
        sent_s: When the write had returned; None before the first.
        sequence: Of the command that was judged; None before the first.
        reasons: Of the safety gate.
        pressed: Who latched the emergency stop.
        port_open: Whether the port is there.
        telemetry: The newest of the chassis, with the time it was read.
        telemetry_s: That time.
    """

    time_s: float
    sent: Velocity
    sent_s: Optional[float]
    sequence: Optional[int]
    reasons: Tuple[str, ...]
    pressed: Tuple[str, ...]
    port_open: bool
    telemetry: Optional[Telemetry]
    telemetry_s: Optional[float]


class Tick(NamedTuple):
    """One write to the port with everything it rests on, for the black box.

    Attributes:
        judged_s: Monotonic time that the safety gate was given.
        sequence: Of the command that it was given; None before the first.
        obstacle: The reading that it was given; None before the first.
        pressed: Who latched the emergency stop.
        velocity, reasons: Its verdict.
        data: The bytes written, as hexadecimal digits.
        written: Whether the port took them.
    """

    judged_s: float
    sequence: Optional[int]
    obstacle: Optional[ObstacleReading]
    pressed: Tuple[str, ...]
    velocity: Velocity
    reasons: Tuple[str, ...]
    data: str
    written: bool


class Event(NamedTuple):
    """Something about the port that people want to know."""

    time_s: float
    text: str


class DriverExit(enum.IntEnum):
    """Exit codes of the driver process; all but ``BAD_SETUP`` come after stops on the wire."""

    CLOSED = 0  # the main process asked
    BAD_SETUP = 2  # the chassis or its port cannot be used: nothing was sent
    MAIN_GONE = 10
    SIGNAL = 11
    BAD_MESSAGE = 12
    CRASH = 13  # a mistake in this program


class Ended(NamedTuple):
    """Last message of the driver.

    Attributes:
        code: A ``DriverExit``, which is the exit code of the process.
        reason: Why it ends.
        stopped: Whether its stops went out.
    """

    code: int
    reason: str
    stopped: bool


Message = Union[
    Configure, Command, ObstacleReading, Press, Rearm, Close, Report, Tick, Event, Ended
]

TO_DRIVER: Tuple[type, ...] = (Configure, Command, ObstacleReading, Press, Rearm, Close)
TO_MAIN: Tuple[type, ...] = (Report, Tick, Event, Ended)


_KINDS: Dict[str, Tuple[Type[Any], Dict[str, Callable[[Any], Any]]]] = {
    "configure": (
        Configure,
        {"chassis": values.text, "limits": values.limits, "parent": values.integer},
    ),
    "command": (
        Command,
        {
            "velocity": values.velocity,
            "frame_time_s": values.number,
            "target_time_s": values.number,
            "made_s": values.number,
            "sequence": values.integer,
        },
    ),
    "obstacle": (ObstacleReading, {"distance_m": values.number, "time_s": values.number}),
    "press": (Press, {"reason": values.text}),
    "rearm": (Rearm, {}),
    "close": (Close, {}),
    "report": (
        Report,
        {
            "time_s": values.number,
            "sent": values.velocity,
            "sent_s": values.optional(values.number),
            "sequence": values.optional(values.integer),
            "reasons": values.texts,
            "pressed": values.texts,
            "port_open": values.truth,
            "telemetry": values.optional(values.telemetry),
            "telemetry_s": values.optional(values.number),
        },
    ),
    "tick": (
        Tick,
        {
            "judged_s": values.number,
            "sequence": values.optional(values.integer),
            "obstacle": values.optional(values.obstacle),
            "pressed": values.texts,
            "velocity": values.velocity,
            "reasons": values.texts,
            "data": values.hexadecimal,
            "written": values.truth,
        },
    ),
    "event": (Event, {"time_s": values.number, "text": values.text}),
    "ended": (Ended, {"code": values.integer, "reason": values.text, "stopped": values.truth}),
}
_FOR_PEOPLE = ("reason", "text")
_NAMES = {cls: kind for kind, (cls, _) in _KINDS.items()}


# -- lines -------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """One line, with its newline. Text for people is cut so that the line fits.

    Raises:
        MessageError: It is longer than ``MAX_LINE_BYTES`` all the same.
    """
    kind = _NAMES[type(message)]
    fields = {name: _plain(value) for name, value in zip(message._fields, message)}
    for name in _FOR_PEOPLE:
        if isinstance(fields.get(name), str):
            fields[name] = _short(fields[name], _MAX_TEXT)
    text = json.dumps(dict(fields, v=VERSION, kind=kind), separators=(",", ":"))
    line = text.encode("ascii") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise MessageError(
            "A message between the main process and the driver may have %d bytes, got %d of kind %s."
            % (MAX_LINE_BYTES, len(line), kind)
        )
    return line


def _plain(value: Any) -> Any:
    if isinstance(value, SafetyLimits):
        return dataclasses.asdict(value)
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return [_short(v, _MAX_ITEM) for v in value[:_MAX_TEXTS]]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


def _short(text: str, most: int) -> str:
    """Printable ASCII, so that its length is known."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:most])


def decode(line: bytes, expected: Tuple[type, ...]) -> Message:
    """The message of one line.

    Args:
        line: Without its newline.
        expected: Classes that may come here, ``TO_DRIVER`` or ``TO_MAIN``.

    Raises:
        MessageError: Not exactly one of them.
    """
    try:
        data = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
        if not isinstance(data, dict):
            raise ValueError("an object")
        if values.integer(data.pop("v", None)) != VERSION:
            raise ValueError("version %d" % VERSION)
        kind = data.pop("kind", None)
        if not isinstance(kind, str) or kind not in _KINDS or _KINDS[kind][0] not in expected:
            raise ValueError("a known kind")
        cls, readers = _KINDS[kind]
        if set(data) != set(readers):
            raise ValueError("the fields of %s" % kind)
        return cls(**{name: read(data[name]) for name, read in readers.items()})
    except (ValueError, OverflowError, RecursionError, ReidEdgeError) as error:
        raise MessageError(
            "Expected a message between the main process and the driver, got %r (%s)."
            % (line[:80], error)
        ) from None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("each field once")
    return data


class LineReader:
    """Bytes of a pipe to messages.

    Args:
        expected: As for ``decode``.
    """

    def __init__(self, expected: Tuple[type, ...]):
        self._expected = expected
        self._rest = b""

    def feed(self, data: bytes) -> List[Message]:
        """The messages that are complete now.

        Raises:
            MessageError: Something else came; what follows cannot be believed.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise MessageError(
                "A message between the main process and the driver may have %d bytes, got more."
                % MAX_LINE_BYTES
            )
        return [decode(line, self._expected) for line in lines]
