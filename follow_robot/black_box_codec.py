"""Entries of a black box as records of plain data and arrays, and back, with every type checked."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic import ValidationError as PydanticError

from follow_robot.black_box_format import Damage, Record
from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    DriveEntry,
    EndEntry,
    Entry,
    EventEntry,
    FrameEntry,
    HeaderEntry,
    TimingEntry,
)
from follow_robot.choices import Choice
from follow_robot.obstacle import ObstacleReading
from follow_robot.velocity import Command, Velocity
from runtime.crop_quality import Crops
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.observation import Observation

_MAX_SIDE_PX = 1 << 16


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Header(_Data):
    tool: StrictStr
    started_s: StrictFloat
    started_at: StrictStr
    machine: Dict[StrictStr, StrictStr]
    config: Dict[StrictStr, Any]
    holonomic: StrictBool
    network: StrictBool
    notes: Dict[StrictStr, StrictStr]


class _Choice(_Data):
    kind: StrictStr
    numbers: Tuple[StrictFloat, ...]
    name: StrictStr


class _Frame(_Data):
    time_s: StrictFloat
    frame_size: Tuple[StrictInt, StrictInt]
    cut: StrictBool
    rivals: List[Tuple[StrictInt, ...]]
    rows: Tuple[StrictInt, ...]
    choices: List[_Choice]
    now_s: StrictFloat
    ego: Tuple[StrictFloat, StrictFloat, StrictFloat]
    frame_time_s: Optional[StrictFloat]
    failed: StrictBool


class _Command(_Data):
    velocity: Tuple[StrictFloat, StrictFloat, StrictFloat]
    frame_time_s: StrictFloat
    target_time_s: StrictFloat
    made_s: StrictFloat
    sequence: StrictInt


class _Drive(_Data):
    judged_s: StrictFloat
    sequence: Optional[StrictInt]
    obstacle: Optional[Tuple[StrictFloat, StrictFloat]]
    pressed: Tuple[StrictStr, ...]
    velocity: Tuple[StrictFloat, StrictFloat, StrictFloat]
    reasons: Tuple[StrictStr, ...]
    sent: StrictStr
    written: StrictBool


class _Event(_Data):
    time_s: StrictFloat
    text: StrictStr
    level: StrictStr


class _Timing(_Data):
    frame: StrictInt
    took_ms: Dict[StrictStr, StrictFloat]


class _End(_Data):
    reason: StrictStr
    given: StrictInt


def encode(entry: Entry, number: int) -> Record:
    """An entry as a record.

    Args:
        entry: What to write.
        number: Its place among all that were given to the writer.
    """
    arrays: Dict[str, np.ndarray] = {}
    if isinstance(entry, FrameEntry):
        return _frame_record(entry, number)
    if isinstance(entry, DecisionEntry):
        return Record("decision", number, entry.data, arrays)
    if isinstance(entry, CommandEntry):
        return Record("command", number, dict(entry.command._asdict()), arrays)
    data: Dict[str, Any] = dict(entry._asdict())
    if isinstance(entry, HeaderEntry):
        del data["strangers"]
        if entry.strangers is not None:
            arrays["strangers"] = entry.strangers
    if isinstance(entry, DriveEntry):
        data["sent"] = entry.sent.hex()
    return Record(_NAMES[type(entry)], number, data, arrays)


def decode(record: Record) -> Entry:
    """The entry that a record holds.

    Raises:
        Damage: It holds none.
    """
    reader = _READERS.get(record.kind)
    if reader is None:
        raise Damage("a record of the unknown kind %r" % record.kind[:40])
    try:
        return reader(record)
    except PydanticError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Damage("a %s whose %s is wrong (%s)" % (record.kind, where, first["msg"])) from None
    except ReidEdgeError as error:
        raise Damage("a %s that is wrong (%s)" % (record.kind, error)) from None


def _frame_record(entry: FrameEntry, number: int) -> Record:
    seen = entry.observation
    data = {
        "time_s": seen.time_s,
        "frame_size": seen.frame_size,
        "cut": bool(seen.cut),
        "rivals": seen.crops.rivals,
        "rows": entry.rows,
        "choices": [{"kind": c.kind, "numbers": c.numbers, "name": c.name} for c in entry.choices],
        "now_s": entry.now_s,
        "ego": entry.ego,
        "frame_time_s": entry.frame_time_s,
        "failed": entry.failed,
    }
    arrays: Dict[str, np.ndarray] = {
        "boxes": np.asarray(seen.detections.boxes, np.float32),
        "scores": np.asarray(seen.detections.scores, np.float32),
        "quality": np.asarray(seen.crops.quality, np.float64),
        "overlap": np.asarray(seen.crops.overlap, np.float64),
        "behind": np.asarray(seen.crops.behind, bool),
        "motion": np.asarray(seen.motion, np.float64),
    }
    if entry.embeddings is not None:
        arrays["embeddings"] = np.asarray(entry.embeddings, np.float32)
    for index, choice in enumerate(entry.choices):
        if choice.embeddings is not None:
            arrays["gallery%d" % index] = np.asarray(choice.embeddings, np.float32)
    return Record("frame", number, data, arrays)


def _read_frame(record: Record) -> FrameEntry:
    data, arrays = _Frame.model_validate(record.data), record.arrays
    count = len(data.rivals)
    boxes = _array(arrays, "boxes", "<f4", (count, 4))
    scores = _array(arrays, "scores", "<f4", (count,))
    crops = Crops(
        _array(arrays, "quality", "<f8", (count,)),
        _array(arrays, "overlap", "<f8", (count,)),
        data.rivals,
        _array(arrays, "behind", "|b1", (count,)),
    )
    motion = _array(arrays, "motion", "<f8", (2, 3))
    if not all(0 < side <= _MAX_SIDE_PX for side in data.frame_size):
        raise Damage("a frame of %s pixels" % (data.frame_size,))
    if not (math.isfinite(data.time_s) and math.isfinite(data.now_s)):
        raise Damage("a time that is not finite")
    rows = list(data.rows) + [row for rivals in data.rivals for row in rivals]
    if not all(0 <= row < count for row in rows) or len(set(data.rows)) != len(data.rows):
        raise Damage("rows that are not among %d detections" % count)
    embeddings = None
    if data.rows:
        embeddings = _array(arrays, "embeddings", "<f4", (len(data.rows), None))
    choices = []
    for index, said in enumerate(data.choices):
        gallery = None
        if "gallery%d" % index in arrays:
            gallery = _array(arrays, "gallery%d" % index, "<f4", (None, None))
        choice = Choice(said.kind, said.numbers, said.name, gallery)
        choice.check()
        choices.append(choice)
    observation = Observation(
        data.time_s, data.frame_size, Detections(boxes, scores), crops, motion, data.cut
    )
    return FrameEntry(
        observation,
        data.rows,
        embeddings,
        tuple(choices),
        data.now_s,
        Velocity(*data.ego),
        data.frame_time_s,
        data.failed,
    )


def _read_command(record: Record) -> CommandEntry:
    data = _Command.model_validate(record.data)
    velocity = Velocity(*data.velocity)
    return CommandEntry(
        Command(velocity, data.frame_time_s, data.target_time_s, data.made_s, data.sequence)
    )


def _read_header(record: Record) -> HeaderEntry:
    data = _Header.model_validate(record.data)
    strangers = None
    if "strangers" in record.arrays:
        dtype = record.arrays["strangers"].dtype.str
        strangers = _array(record.arrays, "strangers", dtype, (None, None))
    return HeaderEntry(
        data.tool,
        data.started_s,
        data.started_at,
        data.machine,
        data.config,
        data.holonomic,
        data.network,
        strangers,
        data.notes,
    )


def _read_drive(record: Record) -> DriveEntry:
    data = _Drive.model_validate(record.data)
    try:
        sent = bytes.fromhex(data.sent)
    except ValueError:
        raise Damage("bytes that are not hexadecimal") from None
    obstacle = None if data.obstacle is None else ObstacleReading(*data.obstacle)
    return DriveEntry(
        data.judged_s,
        data.sequence,
        obstacle,
        data.pressed,
        Velocity(*data.velocity),
        data.reasons,
        sent,
        data.written,
    )


def _read_event(record: Record) -> EventEntry:
    data = _Event.model_validate(record.data)
    return EventEntry(data.time_s, data.text, data.level)


def _read_timing(record: Record) -> TimingEntry:
    data = _Timing.model_validate(record.data)
    return TimingEntry(data.frame, data.took_ms)


def _read_end(record: Record) -> EndEntry:
    data = _End.model_validate(record.data)
    return EndEntry(data.reason, data.given)


def _array(
    arrays: Dict[str, np.ndarray], name: str, dtype: str, shape: Tuple[Optional[int], ...]
) -> np.ndarray:
    """An array of that type and shape (None: any length above 0), with finite numbers."""
    array = arrays.get(name)
    if array is None or array.dtype.str != dtype or array.ndim != len(shape):
        raise Damage("no %s of type %s" % (name, dtype))
    if any(n != want if want is not None else n < 1 for n, want in zip(array.shape, shape)):
        raise Damage("%s of shape %s" % (name, array.shape))
    if not np.isfinite(array).all():
        raise Damage("%s that is not finite" % name)
    return array


_NAMES = {
    HeaderEntry: "header",
    DriveEntry: "drive",
    EventEntry: "event",
    TimingEntry: "timing",
    EndEntry: "end",
}
_READERS: Dict[str, Callable[[Record], Entry]] = {
    "header": _read_header,
    "frame": _read_frame,
    "decision": lambda record: DecisionEntry(record.data),
    "command": _read_command,
    "drive": _read_drive,
    "event": _read_event,
    "timing": _read_timing,
    "end": _read_end,
}
