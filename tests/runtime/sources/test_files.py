"""Video files and image folders: all frames in order, their times, and how they end."""

import logging
import threading

import cv2
import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from runtime.sources.files import ImageFolderSource, VideoFileSource, list_images
from tests.runtime.sources.fakes import PATIENCE_S, FakeClock, picture


def write_video(path, values, fps=12.5, size=(48, 64)):
    """Frames of one grey each, which survive any codec to within a few levels."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size[::-1])
    assert writer.isOpened()
    for value in values:
        writer.write(picture(value, *size))
    writer.release()
    return path


def write_images(folder, sizes_by_name):
    folder.mkdir(exist_ok=True)
    for value, (name, size) in enumerate(sizes_by_name.items()):
        cv2.imwrite(str(folder / name), picture(value, *size))
    return folder


class FileVideo:
    """A cv2.VideoCapture of a file that says what a test wants about itself."""

    def __init__(self, frames, fps=25.0, count=None, after=lambda taken: None):
        self.frames, self.fps, self.after = list(frames), fps, after
        self.count = len(self.frames) if count is None else count
        self.taken = 0
        self.released = False

    def __call__(self, path):
        return self

    def isOpened(self):
        return True

    def get(self, name):
        return {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count}[name]

    def read(self):
        self.after(self.taken)
        if self.released or self.taken >= len(self.frames):
            return False, None
        self.taken += 1
        return True, self.frames[self.taken - 1]

    def release(self):
        self.released = True


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "clip.avi"
    path.write_bytes(b"what FileVideo stands for")
    return path


def test_every_frame_of_a_video_in_order_with_its_time(tmp_path):
    values = [10, 60, 110, 160, 210]
    path = write_video(tmp_path / "clip.avi", values)
    with VideoFileSource(path) as source:
        assert not source.live and source.fps == 12.5 and source.frame_count == 5
        frames = list(source)
        assert source.ended and source.read() is None and source.dropped == 0
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(5) / 12.5)
    assert all(f.image.shape == (48, 64, 3) for f in frames)
    np.testing.assert_allclose([f.image.mean() for f in frames], values, atol=3)


def test_frames_belong_to_whoever_took_them(tmp_path):
    source = VideoFileSource(write_video(tmp_path / "clip.avi", [10, 200]))
    first = source.read().image
    kept = first.copy()
    source.read()
    source.close()
    np.testing.assert_array_equal(first, kept)


def test_a_real_video(shared):
    with VideoFileSource(shared / "video" / "one-by-one-person-detection.mp4") as source:
        assert source.frame_count == 1394 and source.fps > 1
        frames = [source.read() for _ in range(5)]
    assert [f.image.shape for f in frames] == [(432, 768, 3)] * 5
    assert frames[4].time_s == pytest.approx(4 / source.fps)


def test_files_that_are_no_videos(tmp_path, capfd):
    with pytest.raises(ReidEdgeError, match=r"missing.mp4 is not a file; check the path"):
        VideoFileSource(tmp_path / "missing.mp4")
    for name, contents in (("empty.mp4", b""), ("text.mp4", b"no video at all\n" * 500)):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ReidEdgeError, match=name + " is not a video that OpenCV can decode"):
            VideoFileSource(tmp_path / name)


def test_a_video_cut_off_while_it_was_copied(tmp_path, caplog):
    path = write_video(tmp_path / "clip.avi", [value % 250 for value in range(0, 5000, 50)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        source = VideoFileSource(path, fps=12.5)
        frames = list(source)
    assert 20 < len(frames) < 100 and source.ended
    assert [f.index for f in frames] == list(range(len(frames)))


def test_an_early_end_is_said(file, caplog):
    frames = [picture(1)] * 40
    with caplog.at_level(logging.WARNING):
        assert len(list(VideoFileSource(file, video_capture=FileVideo(frames, count=100)))) == 40
    assert "ended after 40 of about 100 frames: it is cut off or damaged" in caplog.text
    caplog.clear()
    for count in (0, 39, 42, -5, float("nan")):  # unknown, or an estimate
        list(VideoFileSource(file, video_capture=FileVideo(frames, count=count)))
    assert not caplog.records


def test_a_file_that_vanishes_is_not_a_clean_end(file):
    video = FileVideo([picture(1)] * 3, count=100, after=lambda taken: taken == 3 and file.unlink())
    source = VideoFileSource(file, video_capture=video)
    assert [source.read().index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ReidEdgeError, match=r"clip.avi vanished after 3 frames; is its disk"):
        source.read()


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), 90000.0])
def test_a_video_without_a_frame_rate_needs_one(file, fps):
    video = FileVideo([picture(1)] * 3, fps=fps)
    with pytest.raises(ReidEdgeError, match="does not say its frame rate"):
        VideoFileSource(file, video_capture=video)
    assert video.released
    times = [
        f.time_s
        for f in VideoFileSource(file, fps=10, video_capture=FileVideo([picture(1)] * 3, fps=fps))
    ]
    np.testing.assert_allclose(times, [0, 0.1, 0.2])
    with pytest.raises(ReidEdgeError, match="Frames per second must be more than 0, got -5"):
        VideoFileSource(file, fps=-5, video_capture=FileVideo([picture(1)]))


def test_a_video_whose_frames_change_size(file, caplog):
    frames = [picture(1, 4, 6), picture(2, 8, 12), picture(3, 8, 12), picture(4, 4, 6)]
    with caplog.at_level(logging.WARNING):
        source = VideoFileSource(file, video_capture=FileVideo(frames))
        assert [f.image.shape[:2] for f in source] == [(4, 6), (8, 12), (8, 12), (4, 6)]
    assert len(caplog.records) == 2 and "from 6 x 4 to 12 x 8" in caplog.text


def test_closing_ends_a_video(file):
    video = FileVideo([picture(1)] * 9)
    source = VideoFileSource(file, video_capture=video)
    assert source.read().index == 0
    source.close()
    source.close()
    assert video.released and source.ended and source.read() is None and list(source) == []


def test_pacing_gives_no_frame_before_its_time(file):
    clock = FakeClock()
    source = VideoFileSource(
        file, fps=10, realtime=True, video_capture=FileVideo([picture(1)] * 20), clock=clock
    )
    assert source.read(timeout_s=0).time_s == 0  # the first starts the time
    assert source.read(timeout_s=0) is None and not source.ended
    clock.now_s += 0.0999
    assert source.read(timeout_s=0) is None
    clock.now_s += 0.0002
    assert source.read(timeout_s=0).index == 1
    clock.now_s += 0.35  # a slow reader catches up and loses nothing
    assert [source.read(timeout_s=0).index for _ in range(3)] == [2, 3, 4]
    assert source.read(timeout_s=0) is None


def test_a_paced_reader_is_woken_by_close(file):
    source = VideoFileSource(
        file, fps=0.001, realtime=True, video_capture=FileVideo([picture(1)] * 3)
    )
    source.read()
    got = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    source.close()
    reader.join(PATIENCE_S)
    assert got == [None]


def test_a_folder_in_the_order_of_numbers(tmp_path):
    names = ["2.png", "10.png", "1.png", "b2.png", "b10.PNG"]
    folder = write_images(tmp_path / "images", {name: (4, 6) for name in names})
    (folder / "notes.txt").write_text("not an image")
    (folder / "deeper").mkdir()
    assert [path.name for path in list_images(folder)] == [
        *("1.png", "2.png", "10.png"),
        *("b2.png", "b10.PNG"),
    ]
    source = ImageFolderSource(folder, fps=4)
    frames = list(source)
    assert source.frame_count == 5 and source.ended
    assert [int(f.image[0, 0, 0]) for f in frames] == [2, 0, 1, 3, 4]
    assert [f.time_s for f in frames] == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_folder_says_that_its_rate_is_assumed(tmp_path, caplog):
    folder = write_images(tmp_path / "images", {"1.png": (4, 6), "2.png": (4, 6)})
    with caplog.at_level(logging.INFO):
        assert ImageFolderSource(folder).fps == 25
    assert "does not say its frame rate; assuming 25" in caplog.text


@pytest.mark.parametrize("start", ["", "img1"])
def test_a_motchallenge_sequence_says_its_rate(tmp_path, start):
    write_images(tmp_path / "img1", {"000001.png": (4, 6), "000002.png": (4, 6)})
    info = tmp_path / "seqinfo.ini"
    info.write_text("[Sequence]\nname=x\nimDir=img1\nframeRate=14\n")
    source = ImageFolderSource(tmp_path / start)
    assert source.fps == 14 and len(list(source)) == 2
    assert ImageFolderSource(tmp_path / start, fps=7).fps == 7
    info.write_text("[Sequence]\nframeRate=fast\n")
    with pytest.raises(ReidEdgeError, match=r"seqinfo.ini is not a MOTChallenge sequence"):
        ImageFolderSource(tmp_path / start)


def test_the_real_sequences(shared):
    source = ImageFolderSource(shared / "video" / "ETH-Sunnyday")
    assert source.frame_count == 200 and source.fps == 14
    assert source.read().image.shape == (480, 640, 3)
    assert source.paths[0].name == "000001.jpg" and source.paths[-1].name == "000200.jpg"


def test_folders_without_images_and_broken_images(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"missing does not exist"):
        ImageFolderSource(tmp_path / "missing")
    with pytest.raises(ReidEdgeError, match="holds no images"):
        ImageFolderSource(tmp_path)
    folder = write_images(tmp_path / "images", {"1.png": (4, 6), "2.png": (4, 6), "3.png": (4, 6)})
    (folder / "2.png").write_bytes(b"damaged")
    source = ImageFolderSource(folder, fps=5)
    assert source.read().index == 0
    with pytest.raises(ReidEdgeError, match=r"2.png is not an image"):
        source.read()
    gone = ImageFolderSource(folder, fps=5)
    assert gone.read().index == 0
    (folder / "2.png").unlink()
    with pytest.raises(ReidEdgeError, match=r"Cannot read image .*2.png"):
        gone.read()


def test_mixed_image_sizes_are_given_out_as_they_are(tmp_path, caplog):
    sizes = {"1.png": (4, 6), "2.png": (8, 6)}
    with caplog.at_level(logging.WARNING):
        frames = list(ImageFolderSource(write_images(tmp_path / "images", sizes), fps=5))
    assert [f.image.shape[:2] for f in frames] == [(4, 6), (8, 6)]
    assert "from 6 x 4 to 6 x 8" in caplog.text


def test_one_image_is_a_source_of_one_frame(tmp_path):
    folder = write_images(tmp_path / "images", {"photo.png": (4, 6), "other.png": (4, 6)})
    source = ImageFolderSource(folder / "photo.png")
    assert source.frame_count == 1 and len(list(source)) == 1
