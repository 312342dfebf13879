"""The MIPI camera on a stand-in for the board's libsrcampy, by its documented calls."""

import sys
import types

import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from runtime.nv12 import bgr_to_nv12
from runtime.sources import open_source
from runtime.sources.captures import CameraSettings
from runtime.sources.mipi import MipiCapture
from tests.runtime.sources.fakes import PATIENCE_S, FakeClock


class FakeCamera:
    """Gives the images of its class, then the last one again and again."""

    images = ()
    status = 0
    opened = None

    def __init__(self):
        self.asked, self.closed = [], 0
        type(self).opened = self
        self.left = list(self.images)

    def open_cam(self, pipe_id, video_index, fps, width, height):
        self.arguments = (pipe_id, video_index, fps, width, height)
        return self.status

    def get_img(self, module, width, height):
        self.asked.append((module, width, height))
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def close_cam(self):
        self.closed += 1


@pytest.fixture
def board(monkeypatch):
    """The camera class of an installed ``hobot_vio``."""

    class Camera(FakeCamera):
        pass

    package = types.ModuleType("hobot_vio")
    package.libsrcampy = types.SimpleNamespace(Camera=Camera)
    monkeypatch.setitem(sys.modules, "hobot_vio", package)
    return Camera


def scene(height, width):
    """Smooth, so that halving the chroma changes little."""
    row, column = np.mgrid[:height, :width]
    return np.dstack([40 + row, 200 - row, 60 + column * 0.5 + row * 0.5]).astype(np.uint8)


def aligned(image, step=32):
    """NV12 bytes with rows of a multiple of ``step``, as the board's scaler writes them."""
    nv12 = bgr_to_nv12(image)
    padding = -nv12.shape[1] % step
    return np.pad(nv12, ((0, 0), (0, padding)), constant_values=255).tobytes()


def test_the_documented_calls(board):
    board.images = [bgr_to_nv12(scene(64, 96)).tobytes()]
    capture = MipiCapture(1, CameraSettings(96, 64, 15))
    assert board.opened.arguments == (0, 1, 15, 96, 64)
    assert capture.grab()
    assert board.opened.asked == [(2, 96, 64)]
    capture.release()
    assert board.opened.closed == 1


def test_without_settings_it_is_full_hd_and_the_board_finds_the_camera(board):
    board.images = [b"x"]
    MipiCapture()
    assert board.opened.arguments == (0, -1, 30, 1920, 1080)


@pytest.mark.parametrize("width", [96, 98, 110])
def test_colours_and_padded_rows(board, width):
    image = scene(64, width)
    board.images = [aligned(image)]
    capture = MipiCapture(0, CameraSettings(width, 64))
    assert capture.retrieve() is None  # nothing was grabbed yet
    assert capture.grab()
    got = capture.retrieve()
    assert got.shape == image.shape and got.dtype == np.uint8
    assert np.abs(got.astype(int) - image).max() <= 6


def test_a_camera_warming_up_is_waited_for(board):
    clock = FakeClock()
    board.images = [None, -1, b"", bgr_to_nv12(scene(64, 96)).tobytes()]
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    assert capture.grab() and clock.waits_s == [0.02] * 3


def test_a_camera_without_frames_is_lost_after_a_second(board):
    clock = FakeClock()
    board.images = [None]
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    assert not capture.grab()
    assert sum(clock.waits_s) == pytest.approx(1.0, abs=0.021)


def test_a_camera_that_does_not_start(board):
    board.status = -1
    with pytest.raises(ReidEdgeError, match=r"open_cam returned -1.*ribbon cable"):
        MipiCapture()
    assert board.opened.closed == 1


def test_bytes_of_another_size_are_named(board):
    board.images = [b"1234567"]
    capture = MipiCapture(0, CameraSettings(96, 64))
    assert capture.grab()
    with pytest.raises(ReidEdgeError, match="gave 7 bytes, expected NV12 of 96 x 64"):
        capture.retrieve()


def test_an_odd_size_is_refused(board):
    with pytest.raises(ReidEdgeError, match="size must be even, got 95 x 64"):
        MipiCapture(0, CameraSettings(95, 64))


def test_elsewhere_than_on_a_board(monkeypatch):
    monkeypatch.setitem(sys.modules, "hobot_vio", None)
    with pytest.raises(ReidEdgeError, match=r"hobot_vio cannot be imported .*RDK X3"):
        MipiCapture()


def test_as_a_source(board):
    board.images = [bgr_to_nv12(scene(64, 96)).tobytes()]
    with open_source("mipi://2", CameraSettings(96, 64)) as source:
        frame = source.read(PATIENCE_S)
        assert frame.image.shape == (64, 96, 3) and source.name == "mipi://2"
        assert board.opened.arguments[1] == 2
    assert board.opened.closed == 1
