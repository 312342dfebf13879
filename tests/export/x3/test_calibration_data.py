"""Calibration files, read back byte by byte without the writer's help."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.calibration_data import folder_name, write_calibration_data
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

CONTRACT = InputContract(16, 8)


def crop(seed: int = 0, height: int = 16, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pixel(data: bytes, contract: InputContract, channel: int, y: int, x: int) -> float:
    """A float32 of a headerless NCHW file."""
    index = (channel * contract.height + y) * contract.width + x
    return struct.unpack_from("<f", data, 4 * index)[0]


@pytest.mark.parametrize(("color", "order"), [("RGB", (2, 1, 0)), ("BGR", (0, 1, 2))])
def test_pixels_lie_where_the_toolchain_reads_them(color, order, tmp_path):
    contract = CONTRACT.with_(color=color)
    folder = tmp_path / folder_name(contract, "nv12")
    record = write_calibration_data(folder, [crop()], contract)
    (file,) = folder.iterdir()
    data = file.read_bytes()
    assert folder.name == "calibration_data_%s_f32" % color.lower()
    assert file.name == "00000." + color.lower()
    assert len(data) == 4 * 3 * 16 * 8 == record["bytes_each"]
    image = crop()
    for channel in range(3):
        for y, x in [(0, 0), (0, 7), (9, 3), (15, 7)]:
            assert pixel(data, contract, channel, y, x) == float(image[y, x, order[channel]])


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 20), st.integers(8, 20), st.integers(0, 99), st.sampled_from(["RGB", "BGR"]))
def test_any_size_gives_whole_pixels(tmp_path_factory, height, width, seed, color):
    contract = InputContract(height, width, color)
    folder = tmp_path_factory.mktemp("data") / "x_f32"
    write_calibration_data(folder, [crop(seed, height, width)], contract, "rgb")
    values = np.fromfile(next(folder.iterdir()), np.float32).reshape(1, 3, height, width)
    expected = crop(seed, height, width)[:, :, :: -1 if color == "RGB" else 1]
    np.testing.assert_array_equal(values[0], expected.transpose(2, 0, 1))


def test_crops_are_stretched_to_the_networks_size(tmp_path):
    image = np.zeros((32, 16, 3), np.uint8)
    image[:16] = 200
    write_calibration_data(tmp_path / "c_f32", [image], CONTRACT)
    values = np.fromfile(tmp_path / "c_f32" / "00000.rgb", np.float32).reshape(3, 16, 8)
    assert (values[:, :7] == 200).all() and (values[:, 9:] == 0).all()


def test_featuremaps_are_finished_input(tmp_path):
    folder = tmp_path / folder_name(CONTRACT, "featuremap")
    record = write_calibration_data(folder, [crop()], CONTRACT, "featuremap")
    values = np.fromfile(folder / "00000.featuremap", np.float32).reshape(3, 16, 8)
    red = crop()[:, :, 2] / 255
    np.testing.assert_allclose(values[0], (red - 0.485) / 0.229, rtol=1e-5, atol=1e-6)
    assert record["values"] == "normalised" and folder.name == "calibration_data_featuremap_f32"


def test_many_crops_are_thinned_evenly(tmp_path):
    crops = [crop(i) for i in range(250)]
    record = write_calibration_data(tmp_path / "c_f32", crops, CONTRACT)
    files = sorted((tmp_path / "c_f32").iterdir())
    assert record["files"] == len(files) == 100
    first = [np.fromfile(f, np.float32)[0] for f in files]
    assert first[0] == crops[0][0, 0, 2] and first[-1] == crops[-1][0, 0, 2]
    fewer = write_calibration_data(tmp_path / "d_f32", crops, CONTRACT, count=3)
    assert fewer["files"] == 3
    middle = np.fromfile(tmp_path / "d_f32" / "00001.rgb", np.float32)[0]
    assert middle == crops[124][0, 0, 2]  # 249 / 2 rounds to the even 124


def test_crops_of_one_colour_are_left_out_and_said(tmp_path, caplog):
    black, white = np.zeros((16, 8, 3), np.uint8), np.full((16, 8, 3), 255, np.uint8)
    record = write_calibration_data(tmp_path / "c_f32", [black, crop(), white], CONTRACT)
    assert record["files"] == 1 and record["left_out_uniform"] == 2
    assert "2 crops of one colour" in caplog.text


@pytest.mark.parametrize("crops", [[], [np.zeros((16, 8, 3), np.uint8)]])
def test_nothing_to_calibrate_on(crops, tmp_path):
    with pytest.raises(ReidEdgeError, match="Calibration needs crops of people"):
        write_calibration_data(tmp_path / "c_f32", crops, CONTRACT)
    assert not (tmp_path / "c_f32").exists()


def test_refused_folders_counts_and_kinds(tmp_path):
    with pytest.raises(ReidEdgeError, match="must end in _f32"):
        write_calibration_data(tmp_path / "calibration", [crop()], CONTRACT)
    with pytest.raises(ReidEdgeError, match="at least 1, got 0"):
        write_calibration_data(tmp_path / "c_f32", [crop()], CONTRACT, count=0)
    with pytest.raises(ReidEdgeError, match="kind must be one of"):
        write_calibration_data(tmp_path / "c_f32", [crop()], CONTRACT, "yuv")
    (tmp_path / "c_f32").mkdir()
    write_calibration_data(tmp_path / "c_f32", [crop()], CONTRACT)
    with pytest.raises(ReidEdgeError, match="new or empty folder"):
        write_calibration_data(tmp_path / "c_f32", [crop()], CONTRACT)
    with pytest.raises(ReidEdgeError, match="uint8 BGR image"):
        write_calibration_data(tmp_path / "e_f32", [crop().astype(np.float32)], CONTRACT)
