"""How cameras and streams are opened: what reaches OpenCV, and what is said when it fails."""

import cv2
import pytest

from runtime.errors import ReidEdgeError
from runtime.sources import captures
from runtime.sources.captures import (
    CameraSettings,
    csi_pipeline,
    open_gstreamer,
    open_stream,
    open_v4l2,
    without_password,
)
from tests.runtime.sources.fakes import DAMAGED, LOST, FakeVideo, Videos, picture


def test_a_usb_camera_by_number_and_by_path():
    videos = Videos(FakeVideo(), FakeVideo())
    open_v4l2("3", CameraSettings(), videos)
    open_v4l2("/dev/video3", CameraSettings(), videos)
    assert videos.calls == [(3, cv2.CAP_V4L2), ("/dev/video3", cv2.CAP_V4L2)]


def test_what_is_asked_of_a_usb_camera():
    video = FakeVideo()
    open_v4l2("0", CameraSettings(1280, 720, 30, "MJPG"), Videos(video))
    assert video.properties == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),  # before the size
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30),
    ]
    plain = FakeVideo()
    open_v4l2("0", CameraSettings(), Videos(plain))
    assert plain.properties == []


def test_a_camera_that_is_not_there_is_released_and_named():
    video = FakeVideo(opens=False)
    with pytest.raises(ReidEdgeError, match="Camera 7 cannot be opened"):
        open_v4l2("7", CameraSettings(), Videos(video))
    assert video.released == 1


def test_the_jetsons_pipeline():
    assert csi_pipeline(1, CameraSettings(1920, 1080, 60, flip_method=2)) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM), width=1920, height=1080, framerate=60/1, format=NV12 ! "
        "nvvidconv flip-method=2 ! video/x-raw, format=BGRx ! "
        "videoconvert ! video/x-raw, format=BGR ! appsink drop=true max-buffers=1 sync=false"
    )
    assert "width=1280, height=720, framerate=30/1" in csi_pipeline(0, CameraSettings())


def test_gstreamer_is_asked_for_by_name():
    videos = Videos(FakeVideo(), FakeVideo(opens=False))
    open_gstreamer("videotestsrc ! appsink", videos)
    assert videos.calls == [("videotestsrc ! appsink", cv2.CAP_GSTREAMER)]
    with pytest.raises(ReidEdgeError, match="GStreamer cannot start 'videotestsrc ! appsink'"):
        open_gstreamer("videotestsrc ! appsink", videos)


def test_an_opencv_without_gstreamer_is_named(monkeypatch):
    monkeypatch.setattr(captures, "_has_backend", lambda backend: False)
    with pytest.raises(ReidEdgeError, match="built without GStreamer"):
        open_gstreamer("videotestsrc ! appsink")


def test_a_stream_has_time_limits():
    videos = Videos(FakeVideo())
    open_stream("rtsp://host/a", videos)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
    assert videos.calls == [("rtsp://host/a", cv2.CAP_FFMPEG, limits)]


def test_an_old_opencv_has_no_limits(monkeypatch):
    monkeypatch.delattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC")
    videos = Videos(FakeVideo())
    open_stream("rtsp://host/a", videos)
    assert videos.calls == [("rtsp://host/a",)]


def test_a_stream_that_does_not_answer_keeps_its_password():
    with pytest.raises(ReidEdgeError, match=r"rtsp://me:\*\*\*@host/a cannot be opened") as caught:
        open_stream("rtsp://me:secret@host/a", Videos())
    assert "secret" not in str(caught.value)


def test_a_real_stream_that_refuses_is_an_error(capfd):
    with pytest.raises(ReidEdgeError, match="cannot be opened; check address"):
        open_stream("rtsp://127.0.0.1:9/nothing")  # the discard port: nobody listens


@pytest.mark.parametrize(
    "url, shown",
    [
        ("rtsp://host/a", "rtsp://host/a"),
        ("rtsp://me@host/a", "rtsp://me@host/a"),
        ("rtsp://me:secret@host:554/a?b=1", "rtsp://me:***@host:554/a?b=1"),
        ("rtsp://me:se:c@ret@host/a", "rtsp://me:***@host/a"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert without_password(url) == shown


def test_frames_of_an_open_camera():
    capture = open_v4l2("0", CameraSettings(), Videos(FakeVideo(picture(3), DAMAGED, LOST)))
    assert capture.grab() and capture.retrieve()[0, 0, 0] == 3
    assert capture.grab() and capture.retrieve() is None
    assert not capture.grab()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"width": 640}, "needs width and height, got 640 x None"),
        ({"width": 0, "height": 480}, "width must be more than 0, got 0"),
        ({"fps": -1}, "fps must be more than 0"),
        ({"fourcc": "MJPEG"}, "four letters, such as MJPG, got 'MJPEG'"),
        ({"flip_method": 8}, "flip_method must be 0 to 7"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ReidEdgeError, match=message):
        CameraSettings(**options)
