"""Pixels to network input, against the formula written out."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize, preprocess, read_image, resize_crop


def random_crop(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def written_out(crop, contract):
    """One crop by the definition, in float64 and pixel by pixel order of the formula."""
    image = crop.astype(np.float64)
    if contract.color == "RGB":
        image = image[:, :, [2, 1, 0]]
    image = (image * contract.scale - np.array(contract.mean)) / np.array(contract.std)
    return image.transpose(2, 0, 1)


CONTRACTS = [
    InputContract(24, 16),
    InputContract(24, 16, color="BGR"),
    InputContract(24, 16, std=(0.226, 0.226, 0.226)),
    InputContract(24, 16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    InputContract(24, 16, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    InputContract(24, 16, scale=1, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    InputContract(24, 16, scale=1, mean=(124, 116, 104), std=(58, 57, 57)),  # whole numbers
]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_values_are_the_formula_within_float32(contract):
    crop = random_crop(contract.height, contract.width)
    got = preprocess([crop], contract)[0]
    expected = written_out(crop, contract)
    # Two roundings of the gain and offset, two of the arithmetic: a few units in the last place of
    # the largest term.
    largest = max(abs(expected).max(), (np.abs(contract.mean) / np.array(contract.std)).max())
    assert np.abs(got - expected).max() <= 4 * np.finfo(np.float32).eps * largest


def test_pixels_are_untouched_where_the_network_normalises_itself():
    contract = InputContract(8, 8, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    crop = random_crop(8, 8)
    np.testing.assert_array_equal(
        preprocess([crop], contract)[0], crop[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    )


def test_mean_and_std_belong_to_channels_in_the_contracts_order():
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[:, :, 0] = 255  # OpenCV order: channel 0 is blue
    plain = {"scale": 1 / 255, "mean": (0.0, 0.0, 0.0), "std": (1.0, 2.0, 4.0)}
    rgb = preprocess([blue], InputContract(8, 8, color="RGB", **plain))[0, :, 0, 0]
    bgr = preprocess([blue], InputContract(8, 8, color="BGR", **plain))[0, :, 0, 0]
    np.testing.assert_allclose(rgb, [0, 0, 0.25], rtol=1e-6)
    np.testing.assert_allclose(bgr, [1, 0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "resize, flag",
    [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC), ("area", cv2.INTER_AREA)],
)
def test_resize_is_the_named_opencv_interpolation(resize, flag):
    crop = random_crop(97, 41)
    contract = InputContract(64, 32, color="BGR", resize=resize)
    expected = cv2.resize(crop, (32, 64), interpolation=flag)
    np.testing.assert_array_equal(resize_crop(crop, contract), expected)
    others = {"bilinear", "bicubic", "area"} - {resize}
    assert all(
        (resize_crop(crop, contract.with_(resize=other)) != expected).any() for other in others
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4),
    st.integers(8, 64),
    st.integers(8, 64),
    st.sampled_from(["bilinear", "bicubic", "area"]),
    st.sampled_from(["RGB", "BGR"]),
)
def test_any_crop_size_gives_the_contracts_shape_and_the_same_row_alone(
    sizes, height, width, resize, color
):
    contract = InputContract(height, width, color=color, resize=resize)
    crops = [random_crop(h, w, seed) for seed, (h, w) in enumerate(sizes)]
    batch = preprocess(crops, contract)
    assert batch.shape == (len(crops), 3, height, width)
    assert batch.dtype == np.float32 and batch.flags.c_contiguous
    assert np.isfinite(batch).all()
    for row, crop in zip(batch, crops):
        np.testing.assert_array_equal(row, preprocess([crop], contract)[0])


def test_views_of_a_frame_work_and_the_frame_stays_as_it_was():
    frame = random_crop(120, 160)
    before = frame.copy()
    view = frame[10:90, 20:60]
    contract = InputContract(32, 16)
    np.testing.assert_array_equal(preprocess([view], contract), preprocess([view.copy()], contract))
    mirrored = view[:, ::-1]
    np.testing.assert_array_equal(
        preprocess([mirrored], contract), preprocess([mirrored.copy()], contract)
    )
    np.testing.assert_array_equal(frame, before)


def test_no_crops_give_an_empty_batch():
    assert preprocess([], InputContract(32, 16)).shape == (0, 3, 32, 16)


@pytest.mark.parametrize(
    "crop, got",
    [
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\) dtype uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\)"),
        (np.zeros((8, 8, 3), np.float32), "dtype float32"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.zeros((8, 0, 3), np.uint8), r"shape \(8, 0, 3\)"),
        (None, "got NoneType"),  # what cv2.imread returns for a missing file
        ([[1, 2, 3]], "got list"),
    ],
)
def test_what_is_no_crop_is_refused(crop, got):
    with pytest.raises(ReidEdgeError, match=r"A crop must be.*" + got):
        preprocess([crop], InputContract(32, 16))


def test_read_image_returns_bgr_pixels(tmp_path):
    crop = random_crop(20, 10)
    path = tmp_path / "crop ü.png"  # a name outside ASCII, too
    path.write_bytes(cv2.imencode(".png", crop)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), crop)
    np.testing.assert_array_equal(read_image(str(path)), crop)


def test_read_image_refuses_what_is_missing_or_no_image(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Cannot read image .*none.jpg: No such file"):
        read_image(tmp_path / "none.jpg")
    for name, content in (("empty.jpg", b""), ("text.jpg", b"not an image")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReidEdgeError, match=name + " is not an image"):
            read_image(tmp_path / name)
    with pytest.raises(ReidEdgeError, match="Cannot read image"):
        read_image(tmp_path)


def test_l2_normalize_gives_unit_rows_and_keeps_zero():
    rows = np.random.RandomState(0).standard_normal((6, 32)).astype(np.float32) * 30
    rows[2] = 0
    unit = l2_normalize(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(
        np.linalg.norm(unit, axis=1), [1, 1, 0, 1, 1, 1], rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(unit[0] * np.linalg.norm(rows[0]), rows[0], rtol=1e-5)
