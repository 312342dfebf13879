"""From the compiled model's outputs back to the ONNX model's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.detectors.arrangement import arrange
from runtime.detectors.kinds import KINDS
from runtime.detectors.record import OutputRecord
from runtime.errors import ReidEdgeError
from runtime.horizon_model import Output

SIZE = (128, 192)
NO_SCALES = np.empty(0, np.float32)


def output(shape, name="a", layout="NCHW", kind="float32", scales=NO_SCALES):
    return Output(name, kind, layout, tuple(shape), np.array(scales, np.float32))


def values(shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def one(given, wanted, kind="yolox"):
    records = None if wanted is None else [OutputRecord("a", wanted)]
    return arrange([given], records, KINDS[kind], SIZE, "net.bin")


@pytest.mark.parametrize(
    "given, transposed",
    [
        ((1, 504, 85), False),
        ((1, 504, 85, 1), False),
        ((1, 1, 504, 85), False),
        ((1, 85, 504, 1), True),
        ((1, 85, 1, 504), True),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_tables(given, transposed, recorded):
    """The 504 cells of a YOLOX of 128 x 192."""
    table = values((1, 504, 85))
    buffer = (table.transpose(0, 2, 1) if transposed else table).reshape(given)
    (found,) = one(output(given), (1, 504, 85) if recorded else None)
    got = found.apply([buffer])
    np.testing.assert_array_equal(got, table)
    assert got.dtype == np.float32 and got.flags.c_contiguous


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_maps(recorded, channels_last):
    maps = values((1, 85, 8, 12))
    buffer = maps.transpose(0, 2, 3, 1) if channels_last else maps
    (found,) = one(output(buffer.shape), maps.shape if recorded else None, "fastestdet")
    np.testing.assert_array_equal(found.apply([np.ascontiguousarray(buffer)]), maps)


def test_square_maps_are_not_turned():
    maps = values((1, 85, 22, 22))
    buffer = np.ascontiguousarray(maps.transpose(0, 2, 3, 1))
    records = [OutputRecord("a", maps.shape)]
    (found,) = arrange([output(buffer.shape)], records, KINDS["fastestdet"], (352, 352), "x")
    np.testing.assert_array_equal(found.apply([buffer]), maps)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.booleans(), st.data())
def test_any_order_is_restored_by_name_and_by_shape(order, keep_names, data):
    shapes = [(1, 384, 80), (1, 96, 80), (1, 24, 80), (1, 384, 32), (1, 96, 32), (1, 24, 32)]
    arrays = [values(shape, seed) for seed, shape in enumerate(shapes)]
    records = [OutputRecord("out%d" % i, shape) for i, shape in enumerate(shapes)]
    outputs, buffers = [], []
    for place in order:
        swap = data.draw(st.booleans())
        array = arrays[place].transpose(0, 2, 1) if swap else arrays[place]
        buffers.append(np.ascontiguousarray(array)[..., None])
        name = "out%d" % place if keep_names else "compiled%d" % place
        outputs.append(output(buffers[-1].shape, name))
    found = arrange(outputs, records, KINDS["nanodet"], SIZE, "net.bin")
    for each, array in zip(found, arrays):
        np.testing.assert_array_equal(each.apply(buffers), array)


def test_names_tell_equal_shapes_apart():
    records = [OutputRecord("classes", (1, 504, 32)), OutputRecord("bins", (1, 504, 32))]
    outputs = [output((1, 504, 32), "bins"), output((1, 504, 32), "classes")]
    found = arrange(outputs, records, KINDS["nanodet"], SIZE, "net.bin")
    assert [each.position for each in found] == [1, 0]
    outputs = [output((1, 504, 32), "b"), output((1, 504, 32), "c")]
    with pytest.raises(ReidEdgeError, match=r"one output classes of \(1, 504, 32\), got 2 \(b"):
        arrange(outputs, records, KINDS["nanodet"], SIZE, "net.bin")


@pytest.mark.parametrize("layout, axis", [("NCHW", 1), ("NHWC", 3)])
def test_integers_with_a_scale_per_channel(layout, axis):
    maps = np.random.RandomState(0).randint(-(10**6), 10**6, (1, 85, 8, 12)).astype(np.int32)
    scales = np.linspace(0.001, 0.1, 85, dtype=np.float32)
    exact = maps * scales.astype(float).reshape(1, -1, 1, 1)
    buffer = maps if layout == "NCHW" else np.ascontiguousarray(maps.transpose(0, 2, 3, 1))
    given = output(buffer.shape, layout=layout, kind="int32", scales=scales)
    assert given.shape[axis] == 85
    (found,) = one(given, maps.shape, "fastestdet")
    got = found.apply([buffer])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "int32"])
def test_integers_with_one_scale(kind):
    table = np.random.RandomState(0).randint(-128, 128, (1, 504, 85, 1)).astype(kind)
    given = output(table.shape, kind=kind, scales=[0.25], layout="NONE")
    got = one(given, (1, 504, 85))[0].apply([table])
    np.testing.assert_array_equal(got, table[..., 0] * np.float32(0.25))


def test_what_comes_out_is_not_the_boards_memory():
    buffer = values((1, 504, 85))
    (found,) = one(output(buffer.shape), buffer.shape)
    got = found.apply([buffer])
    kept = got.copy()
    buffer[:] = 0
    np.testing.assert_array_equal(got, kept)


@pytest.mark.parametrize(
    "given, wanted, said",
    [
        (
            output((1, 504, 84)),
            (1, 504, 85),
            r"one output a of \(1, 504, 85\), got none \(a \(1, 504, 8",
        ),
        (output((504, 85, 1, 2)), (1, 504, 85), "got none"),
        (
            output((1, 503, 85)),
            None,
            r"no yolox: expected one output \(1, cells, .* got \(1, 503, 85",
        ),
        (
            output((1, 504, 85), kind="int16"),
            (1, 504, 85),
            "a as int16, but reid-edge reads float32",
        ),
        (output((1, 504, 85), kind="int8"), (1, 504, 85), "in int8 with 0 scales"),
        (
            output((1, 504, 85, 1), kind="int32", scales=[1.0] * 85),
            (1, 504, 85),
            "in int32 with 85 scales, so it cannot be turned into floats",
        ),
    ],
)
def test_outputs_that_do_not_fit(given, wanted, said):
    with pytest.raises(ReidEdgeError, match=said):
        one(given, wanted)


def test_another_number_of_outputs():
    two = [output((1, 504, 85)), output((1, 504, 85), "b")]
    with pytest.raises(ReidEdgeError, match="must have 1 outputs, got 2"):
        arrange(two, [OutputRecord("a", (1, 504, 85))], KINDS["yolox"], SIZE, "net.bin")
    with pytest.raises(ReidEdgeError, match=r"has 2 outputs and its detector.json does not name"):
        arrange(two, None, KINDS["yolox"], SIZE, "net.bin")
