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
        # Another module or a size that was not opened gives None on the board, after a wait.
        assert module == 2 and (width, height) == self.arguments[3:5]
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


def test_a_camera_has_three_seconds_for_its_first_frame_and_is_then_lost_after_one(board):
    clock = FakeClock()
    board.images = [None]
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    assert not capture.grab()
    assert sum(clock.waits_s) == pytest.approx(3.0, abs=0.021)
    board.opened.left = [bgr_to_nv12(scene(64, 96)).tobytes(), None]
    assert capture.grab()
    clock.now_s += 0.5
    started_s = clock.now_s
    assert not capture.grab()
    assert clock.now_s - started_s == pytest.approx(1.0, abs=0.021)


class TimedCamera:
    """A camera that films in the test's time, in one of the ways that versions of the library may have.

    ``way``: "waits" for the next frame up to 2 s (as the sources say), "polls" (returns None where
    there is none), or "repeats" its newest frame at once. A frame is the number of its exposure.
    """

    QUEUE = 4  # frames the library keeps; the newest are lost when it is full

    def __init__(self, clock, way, period_s):
        self.clock, self.way, self.period_s = clock, way, period_s
        self.started_s = clock.now_s
        self.calls, self.waited_s, self.ages_s, self.taken = 0, 0.0, [], []
        self._queue, self._exposed = [], 0

    def open_cam(self, *arguments):
        return 0

    def close_cam(self):
        pass

    def _expose(self):
        while self.started_s + (self._exposed + 1) * self.period_s <= self.clock.now_s + 1e-9:
            self._exposed += 1
            if len(self._queue) < self.QUEUE:
                self._queue.append(self._exposed)

    def get_img(self, module, width, height):
        self.calls += 1
        self._expose()
        if not self._queue and self.way == "waits":
            due_s = self.started_s + (self._exposed + 1) * self.period_s
            wait_s = min(due_s - self.clock.now_s, 2.0)
            self.waited_s += wait_s
            self.clock.now_s += wait_s
            self._expose()
        if self.way == "repeats" and self._exposed:
            frame, self._queue = self._exposed, []
        elif not self._queue:
            return None
        else:
            frame = self._queue.pop(0)
        self.taken.append(frame)
        self.ages_s.append(self.clock.now_s - self.started_s - frame * self.period_s)
        return b"%d" % frame


@pytest.mark.parametrize("rate_hz", [10, 15, 29.97, 60])  # asked for are 30
@pytest.mark.parametrize("way", ["waits", "polls", "repeats"])
def test_however_the_library_behaves_nothing_spins_blocks_or_grows_old(board, way, rate_hz):
    clock = FakeClock()
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    camera = capture._camera = TimedCamera(clock, way, 1 / rate_hz)
    while clock.now_s < camera.started_s + 3.0:  # settle
        assert capture.grab()
    calls, waited_s, frames, since_s = camera.calls, camera.waited_s, len(camera.taken), clock.now_s
    while clock.now_s < since_s + 10.0:
        assert capture.grab()
    passed_s = clock.now_s - since_s
    # Never more than four times the asked rate, and in between the others may run.
    assert (camera.calls - calls) / passed_s <= 4 * 30 / (1 - 0.2) + 1
    assert (camera.waited_s - waited_s) / passed_s < 0.3
    assert max(camera.ages_s[frames:]) < 1.0 / rate_hz + 0.021
    if way != "repeats":
        assert camera.taken[frames:] == list(range(camera.taken[frames], camera.taken[-1] + 1))
        assert (len(camera.taken) - frames) / passed_s > 0.97 * rate_hz


def test_a_stall_of_ours_does_not_leave_old_frames_behind(board):
    clock = FakeClock()
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    camera = capture._camera = TimedCamera(clock, "waits", 1 / 30)
    for _ in range(60):
        assert capture.grab()
    clock.now_s += 0.7  # somebody else held the lock
    for _ in range(40):
        assert capture.grab()
    assert max(camera.ages_s[-10:]) < 1 / 30


def test_a_camera_that_stops_costs_one_wait(board):
    clock = FakeClock()
    capture = MipiCapture(0, CameraSettings(96, 64), clock, clock.sleep)
    camera = capture._camera = TimedCamera(clock, "waits", 1 / 30)
    assert capture.grab() and capture.grab()
    camera.period_s, camera.started_s = 1000.0, clock.now_s + 1000
    camera._queue = []
    started_s, calls = clock.now_s, camera.calls
    assert not capture.grab()
    assert camera.calls == calls + 1 and clock.now_s - started_s < 2.1


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
