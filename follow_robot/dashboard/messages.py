"""What goes over the WebSocket: strict reading of the page's messages, writing of ours. Pure.

From the page, as JSON text: ``{"type": "act", "id": 7, "kind": "go"}`` (see ``Act``),
``{"type": "got", "seq": 12}`` for every picture that arrived (seq 0 for a pulse), and
``{"type": "watch", "on": false}`` while the page is hidden.

To the page: JSON text ``welcome``, ``pulse`` and ``reply``, and pictures as binary messages: four
bytes length of the JSON (big-endian), the JSON, the JPEG. One message holds both, so boxes can
never be drawn over another frame than the one they were seen on.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from runtime.errors import ReidEdgeError

Box = Tuple[float, float, float, float]

# What a page may ask for. "take" is about the page itself: it takes over the control of the car.
KINDS = (
    "choose",
    "choose_front",
    "release",
    "go",
    "hold",
    "stop",
    "rearm",
    "set",
    "take",
)
MAX_MESSAGE_BYTES = 4096  # the largest honest message has about 300
_FIELDS = {"choose": ("box", "point", "track"), "set": ("values",), "rearm": ("code",)}
_REQUIRED = {"choose": "box", "set": "values"}
_LARGEST = 1e9  # numbers beyond this are no pixel, metre or count
_MOST_VALUES = 16


class Act(NamedTuple):
    """A wish as it was sent.

    Attributes:
        id: The page's number of the message; the reply carries it.
        kind: One of ``KINDS``.
        box: For ``choose``: left, top, right, bottom in pixels of the frame.
        point: For ``choose``: where the page was touched, pixels of the frame.
        track: For ``choose``: number of the track that the box was drawn for.
        values: For ``set``: parameter names and numbers.
        code: For ``rearm``: what the first ``rearm`` was answered with.
    """

    id: int
    kind: str
    box: Optional[Box] = None
    point: Optional[Tuple[float, float]] = None
    track: Optional[int] = None
    values: Optional[Dict[str, float]] = None
    code: Optional[str] = None


class Got(NamedTuple):
    """The page has received picture ``seq``; 0 for a pulse."""

    seq: int


class Watch(NamedTuple):
    """Whether the page shows pictures at the moment."""

    on: bool


Message = Union[Act, Got, Watch]


class BadMessage(ReidEdgeError):
    """A message that no page of ours sends.

    Attributes:
        id: Of the message, where it could be read.
    """

    def __init__(self, text: str, message_id: Optional[int] = None):
        super().__init__(text)
        self.id = message_id


def parse_json(text: str) -> Any:
    """JSON as the standard has it.

    Raises:
        BadMessage: Not JSON, NaN or infinity in it, or nested too deeply.
    """

    def refuse(name: str) -> None:
        raise ValueError("%s is not a JSON number" % name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadMessage("Expected JSON, got something else (%s)." % error) from None


def parse(text: str) -> Message:
    """One message of the page.

    Raises:
        BadMessage: It is none; says what was expected.
    """
    data = parse_json(text)
    if not isinstance(data, dict):
        raise BadMessage("Expected a JSON object, got %s." % type(data).__name__)
    kind = data.get("type")
    if kind == "act":
        return _act(data)
    if kind == "got":
        _only(data, ("type", "seq"), None)
        return Got(_whole(data.get("seq"), "seq", None))
    if kind == "watch":
        _only(data, ("type", "on"), None)
        if not isinstance(data.get("on"), bool):
            raise BadMessage('"on" must be true or false.')
        return Watch(data["on"])
    raise BadMessage('"type" must be "act", "got" or "watch".')


def _act(data: Dict[str, Any]) -> Act:
    number = _whole(data.get("id"), "id", None)
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadMessage('"kind" must be one of %s.' % ", ".join(KINDS), number)
    _only(data, ("type", "id", "kind", *_FIELDS.get(kind, ())), number)
    required = _REQUIRED.get(kind)
    if required is not None and data.get(required) is None:
        raise BadMessage('"%s" needs "%s".' % (kind, required), number)
    return Act(
        number,
        kind,
        _box(data.get("box"), number),
        _point(data.get("point"), number),
        None if data.get("track") is None else _whole(data["track"], "track", number),
        _values(data.get("values"), number),
        _code(data.get("code"), number),
    )


def _only(data: Dict[str, Any], known: Tuple[str, ...], number: Optional[int]) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise BadMessage(
            "Unknown field %s; known are %s." % (unknown[0][:40], ", ".join(known)), number
        )


def _whole(value: Any, name: str, number: Optional[int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise BadMessage('"%s" must be a whole number of at least 0.' % name, number)
    return value


def _number(value: Any, name: str, number: Optional[int]) -> float:
    # Compared, not converted: a whole number of a thousand digits does not fit a float.
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not -_LARGEST <= value <= _LARGEST:
        raise BadMessage('"%s" must hold numbers.' % name, number)
    return float(value)


def _numbers(value: Any, count: int, name: str, number: Optional[int]) -> Tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise BadMessage('"%s" must be a list of %d numbers.' % (name, count), number)
    return tuple(_number(v, name, number) for v in value)


def _box(value: Any, number: Optional[int]) -> Optional[Box]:
    if value is None:
        return None
    left, top, right, bottom = _numbers(value, 4, "box", number)
    if not (left < right and top < bottom):
        raise BadMessage('"box" must be left, top, right, bottom.', number)
    return left, top, right, bottom


def _point(value: Any, number: Optional[int]) -> Optional[Tuple[float, float]]:
    if value is None:
        return None
    x, y = _numbers(value, 2, "point", number)
    return x, y


def _values(value: Any, number: Optional[int]) -> Optional[Dict[str, float]]:
    if value is None:
        return None
    if not isinstance(value, dict) or not 1 <= len(value) <= _MOST_VALUES:
        raise BadMessage('"values" must be an object of parameter names and numbers.', number)
    return {name: _number(v, "values", number) for name, v in value.items()}


def _code(value: Any, number: Optional[int]) -> Optional[str]:
    if value is not None and not isinstance(value, str):
        raise BadMessage('"code" must be text.', number)
    return value


def plain(value: Any) -> Any:
    """The same for JSON: numbers rounded to four digits, NaN and infinity as null, else text.

    Named tuples become objects, NumPy's numbers and arrays become plain ones.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return round(float(value), 4) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy
        return plain(value.tolist())
    return str(value)


def to_json(value: Any) -> str:
    """Compact JSON of something ``plain`` can make plain."""
    return json.dumps(plain(value), separators=(",", ":"), allow_nan=False)


def pack(header: str, jpeg: bytes) -> bytes:
    """A picture's binary message; an empty ``jpeg`` means that there is no picture."""
    text = header.encode("utf-8")
    return struct.pack(">I", len(text)) + text + jpeg


def unpack(message: bytes) -> Tuple[Dict[str, Any], bytes]:
    """Header and JPEG of what ``pack`` made."""
    (length,) = struct.unpack_from(">I", message)
    return json.loads(message[4 : 4 + length].decode("utf-8")), message[4 + length :]
