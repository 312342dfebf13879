"""Byte streams that try to break a parser, and what a parser must find in them."""

import random


def pieces(stream, cuts):
    """``stream`` cut at the given places, in order."""
    places = sorted({min(c, len(stream)) for c in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in zip(places, places[1:])]


def first_frames(stream, header, length_of, is_valid):
    """Frames by brute force: at every place from left to right, is a whole valid frame there?"""
    found, at = [], 0
    while at < len(stream):
        length = length_of(stream[at:]) if stream[at:].startswith(header) else 0
        frame = stream[at : at + length]
        if length and len(frame) == length and is_valid(frame):
            found.append(frame)
            at += length
        else:
            at += 1
    return found


def damaged(frames, count, seed):
    """``count`` inputs: random bytes, and frames cut, joined, flipped, doubled and repeated."""
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.randrange(6)
        if kind == 0:
            yield bytes(rng.getrandbits(8) for _ in range(rng.randrange(60)))
            continue
        data = bytearray(rng.choice(frames))
        if kind == 1:  # half a frame
            del data[rng.randrange(len(data)) :]
        elif kind == 2:  # one that begins in the middle
            del data[: rng.randrange(len(data))]
        elif kind == 3:
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.getrandbits(8)
        elif kind == 4:  # a byte too many: the stream's own headers, tails and braces among them
            data.insert(rng.randrange(len(data)), rng.choice(b'\x7b\x7d\xff\xfb\xfc{}"\n0'))
        else:
            del data[rng.randrange(len(data))]
            data += rng.choice(frames)
        yield bytes(data)


def survives(make_chassis, frames, count, seed):
    """Feed ``count`` damaged inputs, each followed by whole frames that must be found.

    After every input comes ``frames[0]``, twice, with as many zeros as the longest frame in between
    (a false header may announce one). The first is found unless the garbage and its first bytes
    form a valid frame; the second then is, so at most one frame is lost.

    Returns:
        How often the first was lost.
    """
    chassis = make_chassis()
    good = frames[0]
    expected = make_chassis().feed(good)
    assert len(expected) == 1
    padded = good + bytes(64)
    lost = 0
    for data in damaged(frames, count, seed):
        chassis.feed(data)
        if expected[0] not in chassis.feed(padded):
            lost += 1
            assert expected[0] in chassis.feed(padded), data.hex(" ")
    return lost
