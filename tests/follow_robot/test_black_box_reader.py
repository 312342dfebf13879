"""The reader: every prefix and every mutation of a recording ends in a sentence or a clean end."""

import io
import random
import tracemalloc
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
import pytest

from follow_robot.black_box_codec import encode
from follow_robot.black_box_format import HEAD_BYTES, MAGIC, Decoder, Encoder, Record
from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.black_box_records import EndEntry, EventEntry, FrameEntry
from runtime.errors import ReidEdgeError
from tests.follow_robot.recorded_run import entries, file_of, file_of_records

RUN = entries(20)
WHOLE = file_of(RUN)


def read(data: bytes) -> Tuple[int, Optional[str]]:
    """Entries that were read, and how the recording breaks off."""
    with BlackBoxReader("run", io.BytesIO(data)) as reader:
        count = sum(1 for _ in reader)
    assert reader.records >= count
    if reader.cut is not None:
        assert reader.cut.startswith("run breaks off after") and reader.cut.endswith(".")
        assert len(reader.cut.splitlines()) == 1
    else:
        assert reader.end is not None
    return count, reader.cut


def ends(data: bytes) -> List[int]:
    """Where each record ends."""
    places, place, decoder = [], len(MAGIC), Decoder()
    while place < len(data):
        place += HEAD_BYTES + decoder.length(data[place : place + HEAD_BYTES])
        places.append(place)
    return places


def test_a_whole_recording():
    with BlackBoxReader("run", io.BytesIO(WHOLE)) as reader:
        assert reader.header._replace(strangers=None) == RUN[0]._replace(strangers=None)
        assert [type(e) for e in reader] == [type(e) for e in RUN[1:]]
    assert (reader.records, reader.missing, reader.cut) == (len(RUN), 0, None)
    assert reader.end == RUN[-1]
    assert list(reader) == []  # once


def test_what_follows_the_end_is_said():
    assert "more bytes behind the end" in str(read(WHOLE + b"x")[1])
    assert "more bytes behind the end" in str(read(WHOLE + WHOLE)[1])


def test_gaps_are_counted():
    numbers = [*range(5), *range(9, 4 + len(RUN))]
    with BlackBoxReader("run", io.BytesIO(file_of(RUN, numbers))) as reader:
        assert len(list(reader)) == len(RUN) - 1
    assert reader.missing == 4 and reader.cut is None


def test_numbers_that_go_back_are_damage():
    count, said = read(file_of(RUN[:6], [0, 1, 2, 2, 3, 4]))
    assert count == 2 and said is not None and "out of order" in said


def test_a_second_header_ends_the_reading():
    count, said = read(file_of([RUN[0], event(1), RUN[0], event(2)]))
    assert count == 1 and said is not None and "a second header" in said


def test_files_that_are_no_recording(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Cannot read recording .*: No such file"):
        BlackBoxReader(tmp_path / "none")
    with pytest.raises(ReidEdgeError, match=r"Cannot read recording .*: Is a directory"):
        BlackBoxReader(tmp_path)
    for content in (b"", b"hello", b"\x00" * 100, MAGIC[:10], MAGIC.replace(b"1", b"9")):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ReidEdgeError, match="black box"):
            BlackBoxReader(path)
    for run in ([], [event(1)], [EndEntry("closed", 0)]):
        with pytest.raises(ReidEdgeError, match="run has no whole header"):
            read(file_of(run))


def test_a_disk_that_fails_while_reading():
    class Failing(io.BytesIO):
        def read(self, size: Optional[int] = -1) -> bytes:
            if self.tell() > len(WHOLE) // 2:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with BlackBoxReader("run", Failing(WHOLE)) as reader:
        assert len(list(reader)) > 10
    assert reader.cut is not None and "cannot be read further (Input/output error)" in reader.cut


def test_hours_are_not_held_in_memory(tmp_path):
    path = tmp_path / "long.blackbox"
    frame = next(e for e in RUN if isinstance(e, FrameEntry) and e.embeddings is not None)
    encoder = Encoder()
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(MAGIC + encoder.encode(encode(RUN[0], 0)))
        for number in range(1, 500):
            noise = rng.normal(size=(len(frame.rows), 2048)).astype(np.float32)
            file.write(encoder.encode(encode(frame._replace(embeddings=noise), number)))
    size = path.stat().st_size
    assert size > 4e6
    tracemalloc.start()
    with BlackBoxReader(path) as reader:
        assert sum(1 for _ in reader) == 499
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 5


def event(number: int) -> EventEntry:
    return EventEntry(float(number), "event")


# -- fuzzing ----------------------------------------------------------------------------------------

# A short recording with every kind of record, so that mutations seldom hit the same place.
SHORT = [
    RUN[0]._replace(config={}, strangers=np.ones((1, 2), np.float32)),
    *{type(e): e for e in RUN[1:-1]}.values(),
    EndEntry("closed", 9),
]
SHORT_FILE = file_of(SHORT)


def test_a_recording_cut_anywhere_is_read_up_to_the_cut():
    places = ends(SHORT_FILE)
    for cut in range(len(SHORT_FILE)):
        whole = sum(place <= cut for place in places)
        if whole == 0:
            with pytest.raises(ReidEdgeError, match=r"run .*(no whole header|not a black box)"):
                read(SHORT_FILE[:cut])
            continue
        count, said = read(SHORT_FILE[:cut])
        assert count == whole - 1  # without the header
        assert said is not None
        if cut in places:
            assert "last words" in said
        else:
            assert "it ends within a record" in said
            assert "(byte %d)" % max(place for place in places if place <= cut) in said


def records_of(data: bytes) -> List[Record]:
    decoder, found, data = Decoder(), [], data[len(MAGIC) :]
    while data:
        head, data = data[:HEAD_BYTES], data[HEAD_BYTES:]
        length = decoder.length(head)
        found.append(decoder.decode(head, data[:length]))
        data = data[length:]
    return found


RECORDS = records_of(SHORT_FILE)
_VALUES: List[Any] = [None, True, -1, 0, 1.5, 2**70, -0.0, 1e308, float("nan"), float("inf")]
_VALUES += ["", "go", "zz", [], [1], [[1]], {}, {"a": 1}, [0, 1, 2], ["x", "y"]]


def mutated_bytes(rng: random.Random) -> bytes:
    """Bytes changed, put in, taken out, cut, repeated: mostly caught by the checksum."""
    data = bytearray(SHORT_FILE)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
        elif kind == 2:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            end = at + rng.randint(1, 200)
            data[at:at] = data[at:end]
        else:
            data[at : at + 4] = rng.choice((b"\0" * 4, b"\xff" * 4, b"\0\0\0\x01", b"\1\0\0\0"))
    return bytes(data)


def mutated_value(value: Any, rng: random.Random) -> Any:
    """Some value inside of plain data replaced, left out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        changed = dict(value)
        name = rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed[name + "x"] = changed[name]
        else:
            changed[name] = mutated_value(value[name], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.randrange(4)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value[:at] + [value[at]] + value[at:]
        return value[:at] + [mutated_value(value[at], rng)] + value[at + 1 :]
    return rng.choice(_VALUES)


def mutated_arrays(arrays, rng: random.Random):
    changed = dict(arrays)
    name = rng.choice(list(changed) or ["boxes"])
    kind = rng.randrange(5)
    if kind == 0 or name not in changed:
        changed.pop(name, None)
    elif kind == 1:
        changed[name] = changed[name].astype(rng.choice(("<f4", "<f8", "<i8", "|b1")))
    elif kind == 2:
        changed[name] = changed[name][: rng.randrange(4)]
    elif kind == 3 and changed[name].dtype.kind == "f" and changed[name].size:
        array = changed[name].copy()
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -1e30, 1e30, 0.0))
        changed[name] = array
    else:
        changed[name] = changed[name].reshape(-1)
    return changed


def forged(rng: random.Random) -> bytes:
    """A recording with right checksums in which one record says something else."""
    records = list(RECORDS)
    at = rng.randrange(len(records))
    record = records[at]
    kind = rng.randrange(10)
    if kind == 0:
        record = record._replace(kind=rng.choice([r.kind for r in RECORDS] + ["", "x"]))
    elif kind == 1:
        record = record._replace(number=rng.choice((0, at + 1, 2**70)))
    elif kind <= 3:
        record = record._replace(arrays=mutated_arrays(record.arrays, rng))
    else:
        data = mutated_value(record.data, rng)
        record = record._replace(data=data if isinstance(data, dict) else {"x": data})
    return file_of_records([*records[:at], record, *records[at + 1 :]])


def survives(data: bytes) -> bool:
    """Whether it was read to its end."""
    try:
        return read(data)[1] is None
    except ReidEdgeError as error:
        assert len(str(error).splitlines()) == 1
        return False


def test_mutated_recordings_end_in_a_sentence_or_a_clean_end():
    rng = random.Random(1)
    assert sum(survives(mutated_bytes(rng)) for _ in range(2000)) < 100
    assert sum(survives(forged(rng)) for _ in range(1000)) > 50  # some changes mean nothing


def test_random_bytes_are_no_recording():
    rng = random.Random(2)
    for _ in range(1000):
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        assert not survives(noise)
        assert not survives(MAGIC + noise)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_recordings():
    rng = random.Random(3)
    for _ in range(70000):
        survives(mutated_bytes(rng))
    assert sum(survives(forged(rng)) for _ in range(30000)) > 1000


def test_the_short_recording_has_every_kind(tmp_path: Path):
    kinds = {record.kind for record in RECORDS}
    assert {"header", "frame", "decision", "drive", "timing", "end"} <= kinds
    assert read(SHORT_FILE) == (len(SHORT) - 1, None)
