"""What a black box holds: one type per kind of record.

Writers give entries and readers get entries (follow_robot.black_box_codec). What enters decisions comes back exactly: floats bit by
bit, arrays in their own type. Decisions come back as the plain data they were written as, to be
compared with what a replay decides.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

from follow_robot.choices import Choice
from follow_robot.follower import Decision
from follow_robot.obstacle import ObstacleReading
from follow_robot.velocity import STOP, Command, Velocity
from runtime.frame_record import FrameRecord
from runtime.observation import Observation


class HeaderEntry(NamedTuple):
    """How a run began.

    Attributes:
        tool: Name and version of the writer.
        started_s: Monotonic time of the start, the clock of all other records.
        started_at: Wall-clock time of the start, for people.
        machine: What computed: architecture and versions; another one may round differently.
        config: Every setting (``Config.to_dict``), without secrets.
        holonomic: Whether the chassis drives sideways; the driver lets no other try.
        network: Whether there was a ReID network.
        strangers: (K, D) embeddings that the lock's scene began with, or None.
        notes: What else a person may want to know, such as the bundle's name.
    """

    tool: str
    started_s: float
    started_at: str
    machine: Dict[str, str]
    config: Dict[str, Any]
    holonomic: bool
    network: bool
    strangers: Optional[np.ndarray] = None
    notes: Dict[str, str] = {}


class FrameEntry(NamedTuple):
    """Everything about one frame that decisions are made from.

    Attributes:
        observation: The frame as numbers.
        rows: Detections that were embedded.
        embeddings: (len(rows), D) float32, or None if there are no rows.
        choices: What the user chose before this frame, in order.
        now_s: Monotonic time of the follower's decision.
        ego: How the car moved.
        frame_time_s: As given to ``Follower.step``.
        failed: The ReID network failed on this frame: nothing was decided.
    """

    observation: Observation
    rows: Tuple[int, ...]
    embeddings: Optional[np.ndarray]
    choices: Tuple[Choice, ...] = ()
    now_s: float = 0.0
    ego: Velocity = STOP
    frame_time_s: Optional[float] = None
    failed: bool = False


class DecisionEntry(NamedTuple):
    """What was decided on a frame, as plain data (see ``decision_data``)."""

    data: Dict[str, Any]


class CommandEntry(NamedTuple):
    """A command that answers no frame (``Follower.halt``)."""

    command: Command


class DriveEntry(NamedTuple):
    """One tick of the driver: what the safety gate was given, what it let through, what went out.

    Attributes:
        judged_s: Monotonic time that the gate was given.
        sequence: Of the newest command it had; None for none yet.
        obstacle: The newest reading it had; None for none yet.
        pressed: Who held the emergency stop at that moment.
        velocity, reasons: The gate's verdict.
        sent: The bytes of that verdict for the chassis.
        written: Whether the port took them; if not, only the reasons mean anything.
    """

    judged_s: float
    sequence: Optional[int]
    obstacle: Optional[ObstacleReading]
    pressed: Tuple[str, ...]
    velocity: Velocity
    reasons: Tuple[str, ...]
    sent: bytes
    written: bool = True


class EventEntry(NamedTuple):
    """Something that happened, in words.

    Attributes:
        time_s: Monotonic time.
        text: One sentence.
        level: ``"info"``, ``"warning"`` or ``"error"``.
    """

    time_s: float
    text: str
    level: str = "info"


class TimingEntry(NamedTuple):
    """How long things took.

    Attributes:
        frame: Its number.
        took_ms: Milliseconds by stage.
    """

    frame: int
    took_ms: Dict[str, float]


class EndEntry(NamedTuple):
    """The writer's last words.

    Attributes:
        reason: Why recording ended.
        given: Records that were given to it; what a slow disk cost is missing among them.
    """

    reason: str
    given: int


Entry = Union[
    HeaderEntry,
    FrameEntry,
    DecisionEntry,
    CommandEntry,
    DriveEntry,
    EventEntry,
    TimingEntry,
    EndEntry,
]


def frame_entry(
    record: FrameRecord,
    now_s: float,
    ego: Velocity = STOP,
    frame_time_s: Optional[float] = None,
    choices: Tuple[Choice, ...] = (),
) -> FrameEntry:
    """What one frame's record and ``Follower.step``'s arguments amount to."""
    assert record.observation is not None  # perception always gives it
    return FrameEntry(
        record.observation, record.rows, record.embeddings, choices, now_s, ego, frame_time_s
    )


def decision_data(record: FrameRecord, decision: Decision) -> Dict[str, Any]:
    """A frame's decisions as JSON-able data; equal decisions give equal data."""
    return {
        "index": record.index,
        "people": [person._asdict() for person in record.people],
        "lock": record.lock._asdict(),
        "rows": list(record.rows),
        "measurement": _named(decision.measurement),
        "estimate": _named(decision.estimate),
        "command": command_data(decision.command),
    }


def command_data(command: Command) -> Dict[str, Any]:
    """A command as JSON-able data."""
    return {**command._asdict(), "velocity": command.velocity._asdict()}


def _named(value: Any) -> Optional[Dict[str, Any]]:
    return None if value is None else dict(value._asdict())
