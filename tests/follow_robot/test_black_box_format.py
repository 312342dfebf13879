"""The bytes of a recording: exact values, and everything else is damage."""

import json
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.black_box_format import (
    HEAD_BYTES,
    MAGIC,
    MAX_INSIDE,
    MAX_PIECE,
    Damage,
    Decoder,
    Encoder,
    Record,
    as_read,
    check_magic,
)
from runtime.errors import ReidEdgeError


def read_all(data: bytes):
    """Records of the bytes behind the magic line."""
    decoder, records = Decoder(), []
    while data:
        head, data = data[:HEAD_BYTES], data[HEAD_BYTES:]
        length = decoder.length(head)
        if len(data) < length:
            raise Damage("the end is missing")
        records.append(decoder.decode(head, data[:length]))
        data = data[length:]
    return records


def forged(inside: bytes) -> bytes:
    """One record with a right checksum around any content."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    piece = deflate.compress(inside) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack("<II", len(piece), zlib.crc32(piece)) + piece


def with_json(said, rest: bytes = b"") -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return forged(struct.pack("<I", len(text)) + text + rest)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.lists(
        st.tuples(st.text(max_size=10), st.dictionaries(st.text(max_size=9), plain)), max_size=5
    )
)
@settings(max_examples=60, deadline=None)
def test_data_comes_back(contents):
    encoder = Encoder()
    records = [Record(kind, n, data, {}) for n, (kind, data) in enumerate(contents)]
    read = read_all(b"".join(encoder.encode(r) for r in records))
    assert [(r.kind, r.number, r.data) for r in read] == [
        (r.kind, r.number, r.data) for r in records
    ]
    # as text, so that -0.0 and 0.0, and True and 1, are told apart
    assert [repr(r.data) for r in read] == [repr(r.data) for r in records]


def test_arrays_come_back_bit_by_bit():
    rng = np.random.default_rng(0)
    wild = rng.integers(0, 256, 400, np.uint8).tobytes()  # also NaN with payload and subnormals
    arrays = {
        "f4": np.frombuffer(wild, "<f4").reshape(10, 10),
        "f8": np.frombuffer(wild, "<f8").reshape(5, 2, 5),
        "i8": np.array([[-(2**63), 2**63 - 1]]),
        "b1": np.array([True, False, True]),
        "empty": np.zeros((0, 4), np.float32),
        "slice": np.arange(20, dtype=np.float32).reshape(4, 5)[:, 1:3],
        "big": np.array([1.5], ">f4"),
        "small": np.array([1, 2], np.int16),
    }
    (read,) = read_all(Encoder().encode(Record("frame", 3, {}, arrays)))
    assert list(read.arrays) == list(arrays)
    for name, array in arrays.items():
        assert read.arrays[name].shape == array.shape
        assert np.array_equal(
            read.arrays[name].astype(array.dtype).view(np.uint8), array.copy().view(np.uint8)
        ), name


def test_numbers_that_json_does_not_know():
    data = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": np.float32(0.1), "e": np.int64(3)}
    (read,) = read_all(Encoder().encode(Record("x", 0, data, {})))
    assert read.data["a"] == math.inf and read.data["b"] == -math.inf
    assert math.isnan(read.data["c"])
    assert read.data["d"] == float(np.float32(0.1)) and read.data["e"] == 3
    assert as_read({"t": (1, 2), "b": np.bool_(True)}) == {"t": [1, 2], "b": True}


def test_repeated_records_cost_little():
    encoder = Encoder()
    data = {"a rather long name": 1, "another rather long name": "with text"}
    sizes = [len(encoder.encode(Record("kind", n, data, {}))) for n in range(50)]
    assert max(sizes[1:]) < sizes[0] / 2


@pytest.mark.parametrize(
    "data", [{"a": object()}, {"a": {1, 2}}, {"a": b"bytes"}, {"a": 1j}, {(1, 2): 3}]
)
def test_what_is_not_plain_is_refused(data):
    with pytest.raises(ReidEdgeError, match="A frame cannot be recorded"):
        Encoder().encode(Record("frame", 0, data, {}))


def test_arrays_of_other_types_and_sizes_are_refused():
    for array in (np.array(["a"]), np.array([1j]), np.array([None])):
        with pytest.raises(ReidEdgeError, match="cannot be recorded"):
            Encoder().encode(Record("frame", 0, {}, {"a": array}))
    huge = np.zeros(MAX_INSIDE // 8 + 1)
    with pytest.raises(ReidEdgeError, match="too large to be recorded"):
        Encoder().encode(Record("frame", 0, {}, {"a": huge}))


# -- damage -----------------------------------------------------------------------------------------


def test_every_changed_byte_is_damage():
    encoder = Encoder()
    first = encoder.encode(Record("a", 0, {"x": 1.5}, {"y": np.arange(3.0)}))
    whole = first + encoder.encode(Record("b", 1, {"x": 2.5}, {}))
    for place in range(len(whole)):
        for bit in (1, 128):
            changed = bytearray(whole)
            changed[place] ^= bit
            with pytest.raises((Damage, struct.error)):
                read_all(bytes(changed))


def test_missing_and_doubled_records_are_damage():
    encoder = Encoder()
    a, b, c = (encoder.encode(Record("a", n, {}, {})) for n in range(3))
    assert len(read_all(a + b + c)) == 3
    for other in (b + c, a + c, a + a + b, a + c + b):
        with pytest.raises(Damage):
            read_all(other)


@pytest.mark.parametrize("length", [0, MAX_PIECE + 1, 2**32 - 1])
def test_impossible_lengths_are_damage(length):
    with pytest.raises(Damage, match="a record of %d bytes" % length):
        Decoder().length(struct.pack("<II", length, 0))


OK = {"kind": "a", "n": 0, "data": {}, "arrays": []}


def listed(*entry):
    return dict(OK, arrays=[list(entry)])


@pytest.mark.parametrize(
    "data, said",
    [
        (forged(b""), "an empty record"),
        (forged(b"\1"), "an empty record"),
        (forged(b"\xff\xff\xff\xff{}"), "without kind"),
        (with_json(b"\xff"), "not JSON"),
        (with_json(b"[" * 100000), "not JSON"),
        (with_json(b"9" * 100000), "not JSON|without kind"),
        (with_json([]), "without kind"),
        (with_json({"kind": "a"}), "without kind"),
        (with_json(dict(OK, more=1)), "without kind"),
        (with_json(dict(OK, kind=1)), "another type"),
        (with_json(dict(OK, n=True)), "another type"),
        (with_json(dict(OK, n=1.0)), "another type"),
        (with_json(dict(OK, data=[])), "another type"),
        (with_json(dict(OK, arrays={})), "not listed"),
        (with_json(dict(OK, arrays=[1])), "without name, type and shape"),
        (with_json(listed("a", "<f4")), "without name, type and shape"),
        (with_json(listed(1, "<f4", [1])), "unknown type"),
        (with_json(listed("a", "O", [1])), "unknown type"),
        (with_json(listed("a", ["<f4"], [1])), "unknown type"),
        (with_json(listed("a", "<f4", 1)), "unknown type"),
        (with_json(listed("a", "<f4", [-1])), "impossible shape"),
        (with_json(listed("a", "<f4", [True])), "impossible shape"),
        (with_json(listed("a", "<f4", [1, 1, 1, 1, 1])), "impossible shape"),
        (with_json(listed("a", "<f4", [2**40])), "impossible shape"),
        (with_json(listed("a", "<f4", [2**24] * 4)), "longer than the record"),
        (with_json(listed("a", "<f4", [2]), b"1234567"), "longer than the record"),
        (with_json(listed("a", "<f4", [2]), b"123456789"), "behind the last array"),
        (with_json(listed("a", "|b1", [2]), b"\0\2"), "truth value that is neither"),
        (with_json(OK, b"x"), "behind the last array"),
    ],
)
def test_forged_records_are_damage(data, said):
    with pytest.raises(Damage, match=said):
        read_all(data)


def test_a_piece_that_unpacks_without_end_is_damage():
    with pytest.raises(Damage, match="does not end with the record"):
        read_all(forged(bytes(MAX_INSIDE + 10)))  # 32 MB of zeros in 150 kB


def test_other_compressed_data_is_damage():
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    ended = deflate.compress(b"\0\0\0\0") + deflate.flush()
    for piece in (ended, b"\xff\xff\xff"):
        with pytest.raises(Damage, match="compressed data"):
            read_all(struct.pack("<II", len(piece), zlib.crc32(piece)) + piece)


def test_magic():
    check_magic(MAGIC, "run")
    with pytest.raises(ReidEdgeError, match="run is a black box of version 2 and this reid-edge"):
        check_magic(MAGIC.replace(b"1", b"2"), "run")
    for line in (b"", b"hello", MAGIC[:-1][:-1], b"reid-edge black box x\n", b"\xff" * 22):
        with pytest.raises(ReidEdgeError, match="run is not a black box of reid-edge"):
            check_magic(line, "run")
