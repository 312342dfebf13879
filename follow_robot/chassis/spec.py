"""A chassis as the user names it, taken apart."""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Optional
from urllib.parse import parse_qsl

from follow_robot.chassis.ros2 import TOPIC
from follow_robot.chassis.rosmaster import CARS
from follow_robot.chassis.serial_faults import say_ports
from runtime.errors import ReidEdgeError

SERIAL = ("wheeltec", "rosmaster", "waveshare")
FORMS = (
    "wheeltec:PORT[@BAUD][?report_bytes=24|32&holonomic=yes|no]",
    "rosmaster:PORT[@BAUD][?car=%s]" % "|".join(CARS),
    "waveshare:PORT[@BAUD][?track_width_m=0.172&heartbeat_ms=500]",
    "ros2[:TOPIC]",
    "log[:FILE]",
    "null",
)
NAMES = tuple(re.split(r"\W", form)[0] for form in FORMS)
_BAUD = range(1200, 4_000_001)
_TOPIC = re.compile(r"[~/]?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


class ChassisSpec(NamedTuple):
    """One of ``FORMS``.

    Attributes:
        name: One of ``NAMES``.
        address: Port, topic or file; empty where none was given.
        baud: What follows the ``@``, None for the chassis' usual.
        options: What follows the ``?``.
    """

    name: str
    address: str = ""
    baud: Optional[int] = None
    options: Dict[str, str] = {}


def parse_spec(text: str) -> ChassisSpec:
    """Take ``text`` apart.

    Raises:
        ReidEdgeError: It is none of ``FORMS``.
    """
    name, colon, rest = text.strip().partition(":")
    if name not in NAMES:
        bare = re.split(r"[@?]", name)[0]
        if bare not in NAMES:
            raise ReidEdgeError("Chassis %r is none of: %s." % (text, "; ".join(FORMS)))
        name, rest = bare, name[len(bare) :] + colon + rest
    if name in SERIAL:
        return _parse_serial(text, name, rest)
    if name == "null" and rest:
        raise ReidEdgeError("Chassis null takes nothing behind its name, got %r." % text)
    if name == "ros2":
        topic = rest or TOPIC
        if not _TOPIC.fullmatch(topic):
            raise ReidEdgeError("Chassis ros2 takes a topic such as ros2:/cmd_vel, got %r." % text)
        return ChassisSpec(name, topic)
    return ChassisSpec(name, rest)


def _parse_serial(text, name, rest):
    rest, _, query = rest.partition("?")
    port, at, speed = rest.rpartition("@")
    if not at:
        port, speed = rest, ""
    if not port:
        raise ReidEdgeError(
            "Chassis %s needs its serial port, as in %s:/dev/ttyUSB0, got %r; %s."
            % (name, name, text, say_ports())
        )
    baud = None
    if at:
        if not speed.isdecimal() or int(speed) not in _BAUD:
            raise ReidEdgeError(
                "The speed behind @ must be %d to %d baud, got %r in %r."
                % (_BAUD[0], _BAUD[-1], speed, text)
            )
        baud = int(speed)
    return ChassisSpec(name, port, baud, _parse_options(text, query))


def _parse_options(text, query):
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        pairs = []
    options = dict(pairs)
    if not pairs or len(options) < len(pairs):
        raise ReidEdgeError(
            "Options behind ? must be NAME=VALUE, each once and joined by &, got %r." % text
        )
    return options


def read_option(name: str, text: str, like: object):
    """The value of an option, of the type of ``like``.

    Raises:
        ReidEdgeError: It is not of that type.
    """
    if isinstance(like, bool):
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
        if text.lower() in words:
            return words[text.lower()]
        raise ReidEdgeError("Option %s must be yes or no, got %r." % (name, text))
    if isinstance(like, (int, float)):
        try:
            return type(like)(text)
        except ValueError:
            kind = "an integer" if isinstance(like, int) else "a number"
            raise ReidEdgeError("Option %s must be %s, got %r." % (name, kind, text)) from None
    return text
