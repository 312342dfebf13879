"""The car below the computer: protocols, ports, and the choice between them."""

from __future__ import annotations

import inspect
from typing import Dict, Tuple, Type

from follow_robot.chassis.base import Chassis, Telemetry
from follow_robot.chassis.link_quality import LinkQuality
from follow_robot.chassis.log import LogChassis, NullChassis
from follow_robot.chassis.port import (
    LOST,
    RECONNECTED,
    FilePort,
    NullPort,
    Port,
    PortError,
    ReconnectingPort,
)
from follow_robot.chassis.ros2 import Ros2Chassis, Ros2Port
from follow_robot.chassis.rosmaster import Rosmaster
from follow_robot.chassis.serial_port import SerialPort
from follow_robot.chassis.spec import FORMS, NAMES, ChassisSpec, parse_spec, read_option
from follow_robot.chassis.waveshare import Waveshare
from follow_robot.chassis.wheeltec import Wheeltec
from runtime.errors import ReidEdgeError

__all__ = [
    "FORMS",
    "LOST",
    "NAMES",
    "RECONNECTED",
    "Chassis",
    "ChassisSpec",
    "FilePort",
    "LinkQuality",
    "LogChassis",
    "NullChassis",
    "NullPort",
    "Port",
    "PortError",
    "ReconnectingPort",
    "Ros2Chassis",
    "Ros2Port",
    "Rosmaster",
    "SerialPort",
    "Telemetry",
    "Waveshare",
    "Wheeltec",
    "open_chassis",
    "parse_spec",
]

_SERIAL: Dict[str, Type[Chassis]] = {c.name: c for c in (Wheeltec, Rosmaster, Waveshare)}


def open_chassis(spec: str) -> Tuple[Chassis, Port]:
    """The protocol and the port of what a user names. Nothing is opened yet.

    Args:
        spec: One of ``FORMS``, such as ``wheeltec:/dev/ttyUSB0``.

    Raises:
        ReidEdgeError: It is none of them, or an option is wrong.
    """
    parsed = parse_spec(spec)
    if parsed.name == "ros2":
        return Ros2Chassis(), Ros2Port(parsed.address)
    if parsed.name == "log":
        return LogChassis(), FilePort(parsed.address or None)
    if parsed.name == "null":
        return NullChassis(), NullPort()
    chassis = _build(_SERIAL[parsed.name], parsed.options)
    port = SerialPort(
        parsed.address,
        parsed.baud or chassis.baud,
        gap_s=chassis.gap_s,
        lower_lines=chassis.lower_lines,
    )
    return chassis, port


def _build(kind, options):
    """The chassis; its constructor's arguments are its options."""
    defaults = {n: p.default for n, p in inspect.signature(kind).parameters.items()}
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise ReidEdgeError(
            "Chassis %s has no option %s; it has %s."
            % (kind.name, ", ".join(unknown), ", ".join(defaults))
        )
    return kind(**{n: read_option(n, text, defaults[n]) for n, text in options.items()})
