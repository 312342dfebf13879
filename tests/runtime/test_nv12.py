"""NV12 bytes against values computed by hand, the vendor's idiom and OpenCV's own decoder."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.nv12 import (
    SPACES,
    bgr_to_nv12,
    nv12_to_yuv444,
    preprocess_nv12,
    through_nv12,
    yuv444_to_bgr,
)

BLACK, WHITE = (0,) * 3, (255,) * 3
BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def noise(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


images = st.builds(
    lambda rows, columns, seed: noise(2 * rows, 2 * columns, seed),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)


def blocks(rows):
    """An image of 2 x 2 pixel blocks of the given BGR colours."""
    return np.array(rows, np.uint8).repeat(2, axis=0).repeat(2, axis=1)


def test_bytes_of_pure_colours_are_those_of_bt601_in_video_range():
    # Y = 16 + 65.481 R + 128.553 G + 24.966 B, U = 128 - 37.797 R - 74.203 G + 112 B,
    # V = 128 + 112 R - 93.786 G - 18.214 B, with R, G and B in 0..1.
    nv12 = bgr_to_nv12(blocks([[BLACK, WHITE, BLUE], [GREEN, RED, BLACK]]))
    luma = [[16, 16, 235, 235, 41, 41]] * 2 + [[145, 145, 81, 81, 16, 16]] * 2
    chroma = [[128, 128, 128, 128, 240, 110], [54, 34, 90, 240, 128, 128]]
    assert nv12.dtype == np.uint8 and nv12.flags.c_contiguous
    np.testing.assert_array_equal(nv12[4:], chroma)
    # OpenCV has 0.257 for red's 65.481 / 255 = 0.2568, which makes 81.5 of 81.48.
    assert np.abs(nv12[:4].astype(int) - luma).max() <= 1


@settings(deadline=None)
@given(images)
def test_bytes_are_those_of_the_vendors_idiom(image):
    height, width = image.shape[:2]
    area = height * width
    planar = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).reshape(area * 3 // 2)
    packed = planar[area:].reshape(2, area // 4).T.reshape(-1)
    expected = np.concatenate([planar[:area], packed])
    np.testing.assert_array_equal(bgr_to_nv12(image).reshape(-1), expected)


@settings(deadline=None)
@given(images, st.integers(0, 2**32 - 1))
def test_chroma_is_that_of_each_blocks_upper_left_pixel(image, seed):
    height = image.shape[0]
    other = noise(*image.shape[:2], seed=seed)
    other[::2, ::2] = image[::2, ::2]
    np.testing.assert_array_equal(bgr_to_nv12(image)[height:], bgr_to_nv12(other)[height:])
    blue, green, red = np.moveaxis(image[::2, ::2].astype(np.float64) / 255, 2, 0)
    u = 128 - 37.797 * red - 74.203 * green + 112 * blue
    v = 128 + 112 * red - 93.786 * green - 18.214 * blue
    got = bgr_to_nv12(image)[height:]
    assert max(np.abs(got[:, 0::2] - u).max(), np.abs(got[:, 1::2] - v).max()) < 0.75


def test_views_and_read_only_images_are_converted_as_what_they_show():
    image = noise(8, 12)
    flipped = image[::-1, :, ::-1]
    np.testing.assert_array_equal(bgr_to_nv12(flipped), bgr_to_nv12(flipped.copy()))
    image.flags.writeable = False
    np.testing.assert_array_equal(bgr_to_nv12(image), bgr_to_nv12(image.copy()))


@settings(deadline=None, max_examples=30)
@given(images)
def test_upsampling_keeps_luma_and_repeats_chroma_over_its_block(image):
    nv12 = bgr_to_nv12(image)
    height, width = image.shape[:2]
    yuv = nv12_to_yuv444(nv12)
    assert yuv.shape == image.shape and yuv.dtype == np.uint8
    for y in range(height):
        for x in range(width):
            row, column = height + y // 2, x // 2 * 2
            assert yuv[y, x].tolist() == [nv12[y, x], nv12[row, column], nv12[row, column + 1]]


@settings(deadline=None)
@given(images)
def test_video_range_decodes_as_opencv_does(image):
    nv12 = bgr_to_nv12(image)
    expected = cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12).astype(int)
    assert np.abs(yuv444_to_bgr(nv12_to_yuv444(nv12)) - expected).max() <= 1


@settings(deadline=None)
@given(images)
def test_full_range_decodes_as_opencvs_jpeg_colours(yuv):
    expected = cv2.cvtColor(yuv[:, :, [0, 2, 1]].copy(), cv2.COLOR_YCrCb2BGR).astype(int)
    assert np.abs(yuv444_to_bgr(yuv, "regular") - expected).max() <= 1


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_survives_up_to_rounding(colour):
    # Half a code of luma is 0.6 levels, half a code of chroma up to 1.01, and the result is rounded.
    image = np.full((4, 6, 3), colour, np.uint8)
    back = through_nv12(image).astype(int)
    assert (back == back[0, 0]).all()
    assert np.abs(back - image).max() <= 3


@settings(deadline=None)
@given(images)
def test_grey_detail_survives_and_colour_detail_does_not(image):
    grey = image[:, :, :1].repeat(3, axis=2)
    assert np.abs(through_nv12(grey).astype(int) - grey).max() <= 2
    yuv = nv12_to_yuv444(bgr_to_nv12(image))
    assert (yuv[::2, ::2, 1:] == yuv[1::2, 1::2, 1:]).all()


def test_a_block_has_the_colour_of_its_upper_left_pixel_and_the_luma_of_each():
    reddish, bluish = (100, 128, 156), (156, 128, 100)
    image = np.tile(np.array([[reddish, bluish], [bluish, reddish]], np.uint8), (3, 4, 1))
    back = through_nv12(image).astype(int)
    luma = [bgr_to_nv12(each.astype(np.uint8))[:6].astype(int) for each in (image, back)]
    assert np.abs(luma[0] - luma[1]).max() <= 2
    assert np.abs((back[:, :, 2] - back[:, :, 0]) - 56).max() <= 6  # red minus blue, everywhere


def test_a_network_compiled_for_full_range_sees_less_contrast():
    image = blocks([[BLACK, WHITE]])
    np.testing.assert_array_equal(through_nv12(image), image)
    np.testing.assert_array_equal(through_nv12(image, "regular"), blocks([[(16,) * 3, (235,) * 3]]))
    assert SPACES == ("bt601_video", "regular")


def test_a_network_input_is_the_resized_crop_whatever_the_networks_colour_order():
    crops = [noise(40, 30, 1), noise(12, 8, 2), noise(5, 51, 3)]
    contract = InputContract(12, 8, resize="area")
    batch = preprocess_nv12(crops, contract)
    assert batch.shape == (3, 144) and batch.dtype == np.uint8 and batch.flags.c_contiguous
    for row, crop in zip(batch, crops):
        resized = cv2.resize(crop, (8, 12), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(row, bgr_to_nv12(resized).reshape(-1))
    np.testing.assert_array_equal(preprocess_nv12(crops, contract.with_(color="BGR")), batch)
    np.testing.assert_array_equal(preprocess_nv12(crops, contract.with_(mean=(0.0,) * 3)), batch)
    assert preprocess_nv12([], contract).shape == (0, 144)


@pytest.mark.parametrize("height, width", [(3, 4), (4, 3), (1, 1)])
def test_odd_sizes_are_refused(height, width):
    message = "even height and width, got %d x %d" % (height, width)
    with pytest.raises(ReidEdgeError, match=message):
        bgr_to_nv12(noise(height, width))
    with pytest.raises(ReidEdgeError, match=message):
        through_nv12(noise(height, width))


def test_an_odd_network_is_refused():
    with pytest.raises(ReidEdgeError, match="even height and width, got 12 x 9"):
        preprocess_nv12([noise(20, 20)], InputContract(12, 9))


@pytest.mark.parametrize(
    "image, got",
    [
        (None, "NoneType"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) dtype uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), r"shape \(4, 4, 3\) dtype float32"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(image, got):
    with pytest.raises(ReidEdgeError, match="uint8 BGR image, got " + got):
        bgr_to_nv12(image)
    with pytest.raises(ReidEdgeError, match="uint8 YUV image, got " + got):
        yuv444_to_bgr(image)
    with pytest.raises(ReidEdgeError, match="A crop must be"):
        preprocess_nv12([noise(8, 8), image], InputContract(8, 8))


@pytest.mark.parametrize(
    "nv12, got",
    [
        (b"bytes", "bytes"),
        (np.zeros(24, np.uint8), r"shape \(24,\)"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((6, 3), np.uint8), r"shape \(6, 3\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.zeros((6, 4), np.int8), r"shape \(6, 4\) dtype int8"),
    ],
)
def test_what_is_no_nv12_is_refused(nv12, got):
    with pytest.raises(ReidEdgeError, match=r"both sizes even, got " + got):
        nv12_to_yuv444(nv12)


def test_an_unknown_space_is_refused():
    with pytest.raises(ReidEdgeError, match="one of bt601_video, regular, got 'bt709'"):
        through_nv12(noise(4, 4), "bt709")
