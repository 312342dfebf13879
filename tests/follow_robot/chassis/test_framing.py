"""Frames found again: against a search by brute force, in any stream cut anywhere."""

import json
import random

from hypothesis import example, given
from hypothesis import strategies as st

from follow_robot.chassis.framing import FrameScanner, ObjectScanner
from tests.follow_robot.chassis.streams import first_frames, pieces

# A few values only, so that false headers, lengths and checksums are common.
few = st.lists(st.sampled_from([0, 1, 2, 4, 5, 9]), max_size=80).map(bytes)
cuts = st.lists(st.integers(0, 200), max_size=12)


def fixed():
    """Frames 1 x x x (sum of x modulo 4) 2, six bytes."""
    return FrameScanner(b"\x01", 1, lambda head: 6, fixed_ok, 6)


def fixed_ok(frame):
    return frame[-1] == 2 and sum(frame[1:4]) % 4 == frame[4]


def sized():
    """Frames 1 2 length ... (sum modulo 4), 4 to 9 bytes."""
    return FrameScanner(b"\x01\x02", 3, sized_length, sized_ok, 9)


def sized_length(head):
    return head[2] if len(head) > 2 and 4 <= head[2] <= 9 else 0


def sized_ok(frame):
    return sum(frame[2:-1]) % 4 == frame[-1]


def fed(scanner, stream, places=()):
    return [frame for piece in pieces(stream, places) for frame in scanner.feed(piece)]


@given(few, cuts)
@example(b"\x01\x01\x01\x01\x01\x02\x01\x00\x00\x00\x00\x02", [3, 8])
def test_fixed_frames_are_those_that_brute_force_finds(stream, places):
    scanner = fixed()
    expected = first_frames(stream, b"\x01", lambda s: 6, fixed_ok)
    assert fed(scanner, stream, places) == expected
    assert scanner.frames == len(expected)


@given(few, cuts)
@example(b"\x01\x02\x09\x01\x02\x04\x00", [1])
def test_frames_that_say_their_length_are_those_that_brute_force_finds(stream, places):
    # The rest: a frame may have to wait for bytes that a false header in front of it announced.
    scanner, rest = sized(), bytes(8)
    expected = first_frames(stream + rest, b"\x01\x02", sized_length, sized_ok)
    assert fed(scanner, stream, places) + scanner.feed(rest) == expected


@given(few, cuts)
def test_every_byte_is_counted_once(stream, places):
    for scanner in (fixed(), sized()):
        bytes_in_frames = sum(map(len, fed(scanner, stream, places)))
        waiting = len(stream) - bytes_in_frames - scanner.skipped
        assert 0 <= waiting < 9


@given(st.lists(few, min_size=1, max_size=5))
def test_frames_in_garbage_without_headers_come_with_their_last_byte(garbage):
    frame = b"\x01\x04\x04\x01\x01\x02"
    scanner = fixed()
    for noise in garbage:
        assert scanner.feed(noise.replace(b"\x01", b"\x00") + frame[:-1]) == []
        assert scanner.feed(frame[-1:]) == [frame]


def test_a_false_header_delays_a_frame_by_less_than_the_longest():
    scanner = sized()
    frame = b"\x01\x02\x04\x00"
    assert scanner.feed(b"\x01\x02\x09" + frame) == []
    assert scanner.feed(b"\x05") == []
    assert scanner.feed(b"\x05") == [frame]


def test_nothing_grows_while_nothing_is_valid():
    scanner = FrameScanner(b"\x01", 1, lambda head: 50, lambda frame: False, 50)
    for _ in range(300):
        scanner.feed(b"\x01" * 97)
    assert 300 * 97 - scanner.skipped < 50


NOISE = st.binary(max_size=30)
OBJECT = {"T": 1001, "L": 0.25, "text": "a [b", "list": [1, [2]]}
LINE = json.dumps(OBJECT).encode()


@given(st.lists(NOISE, min_size=1, max_size=6), cuts)
@example([b"{", b'{"T":', b'"}', b"\xff\xfe{{{"], [5, 90])
def test_objects_are_found_whatever_is_around_them(noise, places):
    scanner = ObjectScanner()
    stream = b"".join(n + LINE for n in noise)
    found = [o for piece in pieces(stream, places) for o in scanner.feed(piece)]
    assert [o for o in found if o.get("T") == 1001] == [OBJECT] * len(noise)


def test_an_object_comes_with_its_last_byte():
    scanner = ObjectScanner()
    assert scanner.feed(b'{"half' + LINE[:-1]) == []
    assert scanner.feed(b"}") == [OBJECT]


def test_what_is_no_json_is_passed_over():
    scanner = ObjectScanner()
    for text in (
        b"{}}",
        b"{\xff}",
        b"{1}",
        b'{"a":%s}' % (b"9" * 900),  # an integer; later versions of Python refuse longer ones
        b'{"a":' + b"[" * 1000 + b"}",
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a" 1}',
    ):
        scanner.feed(text)
        assert scanner.feed(LINE) == [OBJECT]


def test_objects_that_never_end_or_are_too_long_are_dropped():
    scanner = ObjectScanner(longest=100)
    for _ in range(200):
        assert scanner.feed(b'{"a":"' + b"x" * 57) == []
    assert scanner.feed(b'"}') == [{"a": "x" * 57}]
    assert scanner.feed(b'{"a":"' + b"x" * 99 + b'"}' + LINE) == [OBJECT]


def test_nothing_grows_while_no_object_ends():
    scanner, rng, total = ObjectScanner(longest=200), random.Random(4), 0
    for _ in range(400):
        piece = bytes(rng.choice(b'{[x"\n') for _ in range(61))
        total += len(piece)
        assert scanner.feed(piece) == []
        assert 0 <= total - scanner.skipped < 200
    scanner = ObjectScanner(longest=200)
    for count in range(1, 100):
        scanner.feed(b'{"a":"' if count == 1 else b"xxxxxx")
        assert 6 * count - scanner.skipped < 200
