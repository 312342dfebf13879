"""The bytes of a black box: records that check themselves, in a file that may end anywhere.

    file    "reid-edge black box 1\\n", then records
    record  length and CRC-32 of the piece, both uint32 little-endian, then the piece
    piece   the next bytes of one raw DEFLATE stream (RFC 1951), flushed to a byte boundary
    inside  length of the JSON, uint32 little-endian; JSON; the arrays' bytes one after the other
    JSON    {"kind": ..., "n": 0, 1, ..., "data": {...}, "arrays": [["boxes", "<f4", [2, 4]], ...]}

Why so: a robot ends by a cut of power as often as by its menu, so whatever was written must be
readable without an index or a footer. Numbers must come back bit by bit: arrays are raw, and Python
writes a float as the shortest text that reads as the same float. One stream for the whole file makes
the JSON's repeated names almost free (a stream per record would not), and the flush makes every record
readable once it is written. The CRC goes on from the one before, so a record that is missing or
doubled shows. ``n`` counts what was given to the writer: a gap in it is records that a slow disk cost.
"""

import json
import struct
import zlib
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

VERSION = 1
SUFFIX = ".blackbox"
_TITLE = b"reid-edge black box "
MAGIC = _TITLE + b"%d\n" % VERSION
_HEAD = struct.Struct("<II")
_SIZE = struct.Struct("<I")
# Beyond these a length is damage: a frame with 500 embeddings of 2048 numbers has 4 MB.
MAX_PIECE = 1 << 24
MAX_INSIDE = 1 << 25
HEAD_BYTES = _HEAD.size
_DTYPES = ("<f4", "<f8", "<i8", "|b1")
_MAX_DIMENSIONS = 4


class Damage(ReidEdgeError):
    """Bytes that no writer wrote."""


class Record(NamedTuple):
    """One record as plain data.

    Attributes:
        kind: What it is about.
        number: Its place among all that were given to the writer.
        data: JSON-able.
        arrays: By name; of the types in ``_DTYPES``.
    """

    kind: str
    number: int
    data: Dict[str, Any]
    arrays: Dict[str, np.ndarray]


class Encoder:
    """Records to bytes; one per file."""

    def __init__(self, level: int = 1):
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
        self._crc = 0

    def encode(self, record: Record) -> bytes:
        """The bytes to append to the file.

        Raises:
            ReidEdgeError: The record is too large, or holds what cannot be written.
        """
        arrays = {name: _writable(name, array) for name, array in record.arrays.items()}
        said = {
            "kind": record.kind,
            "n": record.number,
            "data": record.data,
            "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()],
        }
        try:
            text = _text(said)
        except (TypeError, ValueError, RecursionError) as error:
            raise ReidEdgeError(
                "A %s cannot be recorded: %s; give plain data." % (record.kind, error)
            ) from None
        inside = b"".join([_SIZE.pack(len(text)), text, *(a.tobytes() for a in arrays.values())])
        if len(inside) > MAX_INSIDE - 1024:
            raise ReidEdgeError(
                "A %s of %d bytes is too large to be recorded; at most %d are."
                % (record.kind, len(inside), MAX_INSIDE - 1024)
            )
        piece = self._deflate.compress(inside) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._crc = zlib.crc32(piece, self._crc)
        return _HEAD.pack(len(piece), self._crc) + piece


class Decoder:
    """Bytes to records; one per file, from its first record on."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(-15)
        self._crc = 0

    def length(self, head: bytes) -> int:
        """Bytes that follow a record's head of HEAD_BYTES.

        Raises:
            Damage: No record is that long.
        """
        length = int(_HEAD.unpack(head)[0])
        if not 0 < length <= MAX_PIECE:
            raise Damage("a record of %d bytes" % length)
        return length

    def decode(self, head: bytes, piece: bytes) -> Record:
        """The record behind a head and the bytes that follow it.

        Raises:
            Damage: The bytes were changed, or are no record.
        """
        self._crc = zlib.crc32(piece, self._crc)
        if self._crc != _HEAD.unpack(head)[1]:
            raise Damage("a wrong checksum")
        try:
            inside = self._inflate.decompress(piece, MAX_INSIDE)
        except zlib.error as error:
            raise Damage("compressed data that cannot be read (%s)" % error) from None
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise Damage("compressed data that does not end with the record")
        if len(inside) < _SIZE.size:
            raise Damage("an empty record")
        end = _SIZE.size + _SIZE.unpack_from(inside)[0]
        try:
            said = json.loads(inside[_SIZE.size : end])
        except (ValueError, RecursionError):
            raise Damage("text that is not JSON") from None
        return _checked(said, inside[end:] if end <= len(inside) else b"")


def as_read(data: Any) -> Any:
    """Data as it comes back from a file: tuples as lists, NumPy's scalars as Python's."""
    return json.loads(_text(data))


def check_magic(line: bytes, where: str) -> None:
    """Raise ReidEdgeError unless a file's first bytes are those of a black box of this version."""
    if line == MAGIC:
        return
    version = line[len(_TITLE) :].strip()
    if line.startswith(_TITLE) and version.isdigit() and int(version) != VERSION:
        raise ReidEdgeError(
            "%s is a black box of version %d and this reid-edge reads version %d; use the version "
            "that wrote it." % (where, int(version), VERSION)
        )
    raise ReidEdgeError(
        "%s is not a black box of reid-edge; give a file ending in %s." % (where, SUFFIX)
    )


def _checked(said: Any, rest: bytes) -> Record:
    if not isinstance(said, dict) or set(said) != {"kind", "n", "data", "arrays"}:
        raise Damage("a record without kind, number, data and arrays")
    kind, number, data = said["kind"], said["n"], said["data"]
    if not isinstance(kind, str) or type(number) is not int or not isinstance(data, dict):
        raise Damage("a record whose kind, number or data is of another type")
    arrays: Dict[str, np.ndarray] = {}
    if not isinstance(said["arrays"], list):
        raise Damage("arrays that are not listed")
    for entry in said["arrays"]:
        name, dtype, shape = _described(entry)
        count = 1
        for side in shape:  # Python's integers do not overflow
            count *= side
        size = count * int(dtype[2:])
        if size > len(rest):
            raise Damage("an array that is longer than the record")
        arrays[name] = np.frombuffer(rest[:size], dtype).reshape(shape)
        if dtype == "|b1" and not np.isin(np.frombuffer(rest[:size], np.uint8), (0, 1)).all():
            raise Damage("a truth value that is neither")
        rest = rest[size:]
    if rest:
        raise Damage("bytes behind the last array")
    return Record(kind, number, data, arrays)


def _described(entry: Any) -> Tuple[str, str, List[int]]:
    if not isinstance(entry, list) or len(entry) != 3:
        raise Damage("an array without name, type and shape")
    name, dtype, shape = entry
    if not isinstance(name, str) or dtype not in _DTYPES or not isinstance(shape, list):
        raise Damage("an array of an unknown type")
    if len(shape) > _MAX_DIMENSIONS or any(
        type(n) is not int or not 0 <= n < MAX_INSIDE for n in shape
    ):
        raise Damage("an array of an impossible shape")
    return name, dtype, shape


def _writable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    kinds = {"f": "<f4" if array.dtype.itemsize <= 4 else "<f8", "i": "<i8", "b": "|b1"}
    dtype = kinds.get(array.dtype.kind)
    if dtype is None or array.dtype.itemsize > 8:
        raise ReidEdgeError("Array %s of type %s cannot be recorded." % (name, array.dtype))
    return array.astype(dtype, copy=False)


def _text(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError("%s is not plain data" % type(value).__name__)
