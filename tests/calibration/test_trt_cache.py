"""The TensorRT calibration cache: known values, round trips, malformed text."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.trt_cache import TrtCache, from_trt_cache, to_trt_cache
from runtime.errors import ReidEdgeError

NAMES = st.text(
    st.characters(blacklist_characters="\n\r", blacklist_categories=("Cs",)), min_size=1
)
SCALES = st.floats(float(np.float32(1e-30)), float(np.float32(1e30)), width=32, exclude_min=True)


def test_the_published_check_value():
    """A range of +-128 is stored as 3f810204 (128 / 127)."""
    text = to_trt_cache({"input": 128 / 127})
    assert text == "TRT-8502-EntropyCalibration2\ninput: 3f810204\n"


@given(
    st.dictionaries(NAMES, SCALES),
    st.sampled_from(["8001", "8502", "100300"]),
    st.sampled_from(["EntropyCalibration2", "MinMaxCalibration"]),
)
def test_round_trip(scales, version, kind):
    text = to_trt_cache(scales, version, kind)
    assert from_trt_cache(text) == TrtCache(scales, version, kind)
    for line in text.split("\n")[1:-1]:
        assert len(line.rsplit(": ", 1)[1]) == 8


@given(st.dictionaries(NAMES.filter(lambda n: ":" not in n), SCALES))
def test_a_reader_that_splits_at_colon_space_agrees(scales):
    """The way published Python readers parse the file."""
    read = {}
    for line in to_trt_cache(scales).split("\n")[1:-1]:
        name, digits = line.split(": ")
        read[name] = struct.unpack("!f", bytes.fromhex(digits))[0]
    assert read == scales


def test_names_are_split_at_the_last_colon():
    text = "TRT-8001-EntropyCalibration2\r\n(Unnamed: 3) [Shuffle]: out: 3f810204\r\n\r\n"
    assert list(from_trt_cache(text).scales) == ["(Unnamed: 3) [Shuffle]: out"]


def test_missing_leading_zeros_are_understood():
    scale = struct.unpack(">f", bytes.fromhex("00810204"))[0]
    assert from_trt_cache("TRT-8502-EntropyCalibration2\nx: 810204\n").scales == {"x": scale}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-60, 1e60])
def test_unusable_scales_name_the_tensor(scale):
    with pytest.raises(ReidEdgeError, match="'layer'"):
        to_trt_cache({"layer": scale})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"": 1.0},), "''"),
        (({"a\nb": 1.0},), "a.+nb"),
        (({"a": 1.0}, "8.5.2"), "8.5.2"),
        (({"a": 1.0}, "8502", "Entropy 2"), "Entropy 2"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(arguments, message):
    with pytest.raises(ReidEdgeError, match=message):
        to_trt_cache(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with"),
        ("not a cache", "not a cache"),
        ("TRT-8502-EntropyCalibration2\nx 3f810204\n", "Line 2"),
        ("TRT-8502-EntropyCalibration2\nx: 3f8102zz\n", "Line 2"),
        ("TRT-8502-EntropyCalibration2\nx: 3f8102041\n", "Line 2"),
        ("TRT-8502-EntropyCalibration2\n: 3f810204\n", "Line 2"),
        ("TRT-8502-EntropyCalibration2\nx: 3f810204\nx: 3f810204\n", "Line 3.*repeats"),
        ("TRT-8502-EntropyCalibration2\nx: 00000000\n", "'x'"),
        ("TRT-8502-EntropyCalibration2\nx: 7f800000\n", "'x'"),
        ("TRT-8502-EntropyCalibration2\nx: bf800000\n", "'x'"),
    ],
)
def test_malformed_text_is_refused(text, message):
    with pytest.raises(ReidEdgeError, match=message):
        from_trt_cache(text)
