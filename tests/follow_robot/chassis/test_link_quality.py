"""A wrong baud rate or chassis type is noticed and said once."""

import random

from follow_robot.chassis import LinkQuality, Wheeltec
from tests.follow_robot.chassis.test_wheeltec import report


def test_garbage_is_said_once_and_forgotten_with_a_frame():
    quality = LinkQuality(limit_bytes=100)
    assert [quality.note(40, 0) for _ in range(4)] == [
        None,
        None,
        "bytes arrive but none form a frame: wrong baud rate or chassis type?",
        None,
    ]
    assert quality.problem
    assert quality.note(24, 1) is None and quality.problem is None
    assert quality.note(99, 1) is None
    assert quality.note(1, 1) is not None


def test_silence_is_no_garbage():
    quality = LinkQuality(limit_bytes=100)
    assert all(quality.note(0, 0) is None for _ in range(1000))


def test_frames_among_garbage_are_good_enough():
    quality = LinkQuality(limit_bytes=100)
    assert all(quality.note(99, frames) is None for frames in range(50))


def test_with_a_chassis():
    rng, chassis, quality = random.Random(0), Wheeltec(), LinkQuality()
    said = []
    for _ in range(100):
        data = bytes(rng.getrandbits(8) for _ in range(24))
        chassis.feed(data)
        said.append(quality.note(len(data), chassis.frames))
    assert sum(s is not None for s in said) == 1
    for _ in range(3):
        chassis.feed(report())
    quality.note(72, chassis.frames)
    assert quality.problem is None
