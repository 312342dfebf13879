"""What a user types, and the source that it opens."""

import cv2
import pytest

from runtime.errors import ReidEdgeError
from runtime.sources import (
    CameraSettings,
    ImageFolderSource,
    LiveSource,
    VideoFileSource,
    open_source,
)
from tests.runtime.sources.fakes import LOST, PATIENCE_S, FakeVideo, Videos, picture
from tests.runtime.sources.test_files import write_images, write_video


@pytest.mark.parametrize(
    "text, target, backend, name",
    [
        ("0", 0, cv2.CAP_V4L2, "camera 0"),
        (
            "/dev/v4l/by-id/usb-a",
            "/dev/v4l/by-id/usb-a",
            cv2.CAP_V4L2,
            "camera /dev/v4l/by-id/usb-a",
        ),
        (" 12 ", 12, cv2.CAP_V4L2, "camera 12"),
        ("/dev/video2", "/dev/video2", cv2.CAP_V4L2, "camera /dev/video2"),
        (
            "rtsp://me:secret@host/a",
            "rtsp://me:secret@host/a",
            cv2.CAP_FFMPEG,
            "rtsp://me:***@host/a",
        ),
        ("HTTP://host/a.mjpg", "HTTP://host/a.mjpg", cv2.CAP_FFMPEG, "HTTP://host/a.mjpg"),
        (
            "videotestsrc ! appsink",
            "videotestsrc ! appsink",
            cv2.CAP_GSTREAMER,
            "pipeline videotestsrc",
        ),
    ],
)
def test_live_sources(text, target, backend, name):
    video = FakeVideo(picture(5))
    videos = Videos(video)
    with open_source(text, video_capture=videos) as source:
        assert isinstance(source, LiveSource) and source.name == name
        assert source.read(PATIENCE_S).image[0, 0, 0] == 5
        video.give(LOST)
    assert videos.calls[0][:2] == (target, backend) and video.released == 1


def test_a_csi_camera_is_its_pipeline():
    video = FakeVideo(LOST)
    videos = Videos(video)
    open_source("csi://1", CameraSettings(640, 480, 60), video_capture=videos).close()
    assert videos.calls[0][0].startswith("nvarguscamerasrc sensor-id=1 ! ")
    assert "width=640, height=480, framerate=60/1" in videos.calls[0][0]


def test_the_patience_of_a_live_source_can_be_chosen():
    video = FakeVideo(LOST)
    source = open_source("0", give_up_after_s=0, video_capture=Videos(video))
    with pytest.raises(ReidEdgeError, match="camera 0 has given no frame for 0 s"):
        source.read(PATIENCE_S)
    source.close()


def test_files_and_folders(tmp_path):
    video = write_video(tmp_path / "clip.avi", [10, 20])
    folder = write_images(tmp_path / "images", {"1.png": (4, 6), "2.png": (4, 6)})
    with open_source(str(video)) as source:
        assert isinstance(source, VideoFileSource) and len(list(source)) == 2
    with open_source(str(video), fps=2, realtime=True) as source:
        assert source.fps == 2 and source.read(0).index == 0 and source.read(0) is None
    with open_source(str(folder) + "/", fps=3) as source:
        assert isinstance(source, ImageFolderSource) and source.fps == 3
    with open_source(folder / "2.png") as source:
        assert isinstance(source, ImageFolderSource) and source.frame_count == 1


@pytest.mark.parametrize(
    "text", ["nothing.mp4", "missing/", "ftp://host/a", "videotestsrc ! fakesink", ""]
)
def test_what_cannot_be_understood_gets_the_list(text, tmp_path, monkeypatch):
    monkeypatch.chdir(write_images(tmp_path, {"1.png": (4, 6)}))
    with pytest.raises(ReidEdgeError) as caught:
        open_source(text)
    message = str(caught.value)
    assert repr(text) in message
    assert all(
        form in message for form in ("/dev/video0", "csi://", "mipi://", "rtsp://", "folder")
    )


@pytest.mark.parametrize("text", ["csi://", "csi://x", "csi://9", "mipi://3", "mipi://auto"])
def test_a_camera_number_must_be_one(text):
    with pytest.raises(ReidEdgeError, match="must be a number from 0 to"):
        open_source(text)
