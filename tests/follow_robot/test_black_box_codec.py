"""Entries as records and back."""

import math
from typing import Any, Dict

import numpy as np
import pytest

from follow_robot.black_box_codec import decode, encode
from follow_robot.black_box_format import HEAD_BYTES, Damage, Decoder, Encoder, Record
from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    DriveEntry,
    EndEntry,
    EventEntry,
    FrameEntry,
    HeaderEntry,
    TimingEntry,
)
from follow_robot.choices import Choice
from follow_robot.velocity import STOP, Command, Velocity
from runtime.crop_quality import Crops
from runtime.detection import Detections
from runtime.observation import Observation
from tests.follow_robot.recorded_run import entries

RUN = entries(60)


def through(entry):
    """An entry written and read."""
    data = Encoder().encode(encode(entry, 5))
    record = Decoder().decode(data[:HEAD_BYTES], data[HEAD_BYTES:])
    assert record.number == 5
    return decode(record)


def bits(array) -> Any:
    return None if array is None else (array.dtype.str, array.shape, array.tobytes())


def test_frames_come_back_bit_by_bit():
    frames = [e for e in RUN if isinstance(e, FrameEntry)]
    assert any(f.embeddings is not None for f in frames) and any(f.failed for f in frames)
    for frame in frames:
        read = through(frame)
        a, b = frame.observation, read.observation
        assert (a.time_s, a.frame_size, bool(a.cut)) == (b.time_s, b.frame_size, b.cut)
        assert bits(a.detections.boxes) == bits(b.detections.boxes)
        assert bits(a.detections.scores) == bits(b.detections.scores)
        assert bits(a.motion) == bits(b.motion)
        assert [bits(x) for x in (a.crops.quality, a.crops.overlap, a.crops.behind)] == [
            bits(x) for x in (b.crops.quality, b.crops.overlap, b.crops.behind)
        ]
        assert a.crops.rivals == b.crops.rivals
        assert (frame.rows, bits(frame.embeddings)) == (read.rows, bits(read.embeddings))
        assert frame[3:] == read[3:]


def test_choices_come_back():
    gallery = np.arange(6, dtype=np.float32).reshape(2, 3)
    choices = (
        Choice("choose_box", (1.0, 2.0, 3.0, 4.5)),
        Choice("gallery", embeddings=gallery),
        Choice("set", (1.5,), "distance_m"),
        Choice("go"),
    )
    frame = next(e for e in RUN if isinstance(e, FrameEntry))._replace(choices=choices)
    read = through(frame).choices
    assert [c[:3] for c in read] == [c[:3] for c in choices]
    assert bits(read[1].embeddings) == bits(gallery)
    assert read[0].embeddings is None


def test_a_frame_without_people():
    nobody = Crops(np.zeros(0), np.zeros(0), [], np.zeros(0, bool))
    seen = Observation(1.0, (480, 640), Detections.empty(), nobody, np.eye(2, 3), False)
    read = through(FrameEntry(seen, (), None))
    assert len(read.observation.detections) == 0 and read.embeddings is None
    assert read.observation.detections.boxes.shape == (0, 4)


def test_other_entries_come_back_as_they_were():
    command = Command(Velocity(math.nan, 0.0, 0.1), 1.5, -math.inf, 1.6, 7)
    others = [
        CommandEntry(command),
        EventEntry(1.25, "Grüße\n", "warning"),
        TimingEntry(3, {"detect": 1.5}),
        EndEntry("closed", 9),
        DriveEntry(1.0, None, None, (), STOP, ("no command yet",), b"{\x00}", True),
    ]
    others += [e for e in RUN if isinstance(e, (DriveEntry, TimingEntry, EventEntry, CommandEntry))]
    for entry in others:
        assert repr(through(entry)) == repr(entry)  # NaN is not equal to itself


def test_the_header_comes_back():
    header = RUN[0]
    assert isinstance(header, HeaderEntry)
    read = through(header)
    assert bits(read.strangers) == bits(header.strangers)
    assert read._replace(strangers=None) == header._replace(strangers=None)
    assert through(header._replace(strangers=None)).strangers is None


def test_decisions_come_back_as_plain_data():
    decision = next(e for e in RUN if isinstance(e, DecisionEntry))
    read = through(decision)
    assert list(read.data) == list(decision.data)
    assert read.data["command"]["velocity"] == decision.data["command"]["velocity"]


# -- records that no writer writes --------------------------------------------------------------------


def record_of(kind) -> Record:
    """A good record of a kind, with plain data as it is read from a file."""
    entry = [e for e in RUN if isinstance(e, kind)][-1]
    if kind is FrameEntry:
        entry = next(e for e in RUN if isinstance(e, FrameEntry) and len(e.rows) == 2)
    data = Encoder().encode(encode(entry, 0))
    return Decoder().decode(data[:HEAD_BYTES], data[HEAD_BYTES:])


def altered(kind, **data) -> Record:
    record = record_of(kind)
    return record._replace(data={**record.data, **data})


def with_arrays(**arrays) -> Record:
    record = record_of(FrameEntry)
    changed: Dict[str, Any] = {**record.arrays, **arrays}
    return record._replace(arrays={n: a for n, a in changed.items() if a is not None})


@pytest.mark.parametrize(
    "record",
    [
        Record("dance", 0, {}, {}),
        Record("frame", 0, {}, {}),
        altered(FrameEntry, more=1),
        altered(FrameEntry, time_s="1.0"),
        altered(FrameEntry, time_s=True),
        altered(FrameEntry, time_s=math.nan),
        altered(FrameEntry, now_s=math.inf),
        altered(FrameEntry, frame_size=[0, 640]),
        altered(FrameEntry, frame_size=[480, 10**9]),
        altered(FrameEntry, frame_size=[480]),
        altered(FrameEntry, frame_size=[480.5, 640]),
        altered(FrameEntry, cut=1),
        altered(FrameEntry, rivals=[[], []]),
        altered(FrameEntry, rivals=[[7], [], []]),
        altered(FrameEntry, rivals=[[-1], [], []]),
        altered(FrameEntry, rows=[0, 3]),
        altered(FrameEntry, rows=[0, 0]),
        altered(FrameEntry, rows=[0]),
        altered(FrameEntry, ego=[0.0, 0.0]),
        altered(FrameEntry, choices=[{"kind": "jump", "numbers": [], "name": ""}]),
        altered(FrameEntry, choices=[{"kind": "choose_box", "numbers": [1.0], "name": ""}]),
        altered(FrameEntry, choices=[{"kind": "gallery", "numbers": [], "name": ""}]),
        with_arrays(boxes=None),
        with_arrays(boxes=np.zeros((3, 4))),
        with_arrays(boxes=np.zeros((2, 4), "<f4")),
        with_arrays(boxes=np.full((3, 4), np.nan, "<f4")),
        with_arrays(boxes=np.array([[5, 5, 1, 1]] * 3, "<f4")),
        with_arrays(scores=np.zeros(2, "<f4")),
        with_arrays(motion=np.zeros((3, 2))),
        with_arrays(motion=np.full((2, 3), np.inf)),
        with_arrays(behind=np.zeros(3)),
        with_arrays(embeddings=None),
        with_arrays(embeddings=np.zeros((2, 0), "<f4")),
        with_arrays(embeddings=np.full((2, 16), np.nan, "<f4")),
        with_arrays(gallery0=np.zeros((1, 1), "<f4")),
        altered(DriveEntry, sent="xyz"),
        altered(DriveEntry, velocity=[0.0, 0.0, "fast"]),
        altered(DriveEntry, sequence=1.5),
        altered(CommandEntry, sequence=None),
        altered(HeaderEntry, config=3),
        altered(HeaderEntry, machine={"a": 1}),
        altered(EventEntry, text=3),
        altered(TimingEntry, took_ms={"a": "b"}),
        altered(EndEntry, given="all"),
    ],
)
def test_what_no_writer_writes_is_damage(record):
    if "gallery0" in record.arrays:
        choice = {"kind": "go", "numbers": [], "name": ""}
        record = record._replace(data={**record.data, "choices": [choice]})
    with pytest.raises(Damage) as caught:
        decode(record)
    assert len(str(caught.value).splitlines()) == 1


def test_good_records_are_none_of_these():
    for kind in (FrameEntry, DriveEntry, CommandEntry, HeaderEntry, TimingEntry, EndEntry):
        assert isinstance(decode(record_of(kind)), kind)
