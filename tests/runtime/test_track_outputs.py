"""The files of a tracked video: whole or not at all."""

import errno
import json
import os

import cv2
import numpy as np
import pytest

from runtime import track_outputs
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import LockOutput
from runtime.mot_format import read_mot
from runtime.sources import Frame
from runtime.track_outputs import RECORDS, SUMMARY, TRACKS, VIDEO, TrackOutputs
from tests.runtime.drawn import street

FILES = {VIDEO, TRACKS, RECORDS, SUMMARY}


def inputs(number, size=(96, 128), index=None):
    people = [
        Seen(
            1, (10.0 + number, 20.0, 30.0 + number, 80.0), 0.75, "confirmed", 1, 0, "rear", 1, True
        ),
        Seen(2, (60.0, 20.0, 90.0, 80.0), 0.5, "tentative", 1, 0, "rear", 1, False),
    ]
    record = FrameRecord(number, number / 10, size, people, LockOutput("idle"), [0.0] * 6)
    return Frame(street(0, size), number if index is None else index, number / 10), record


def fill(outputs, count=6, **options):
    for number in range(count):
        outputs.write(*inputs(number, **options))


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_all_files(tmp_path):
    outputs = TrackOutputs(tmp_path / "a" / "b", 12.5)
    fill(outputs)
    assert not (tmp_path / "a" / "b").exists()  # not before it is whole
    assert outputs.keep({"frames": 6}) == tmp_path / "a" / "b"
    outputs.discard()  # now without effect
    folder = tmp_path / "a" / "b"
    assert names(folder) == FILES and names(tmp_path / "a") == {"b"}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert json.loads((folder / SUMMARY).read_text()) == {"frames": 6}
    rows = read_mot(folder / TRACKS)
    assert rows.frame.tolist() == [1, 2, 3, 4, 5, 6] and set(rows.id) == {1}  # the confirmed one
    np.testing.assert_allclose(rows.boxes[2], [12, 20, 32, 80])
    assert set(rows.confidence) == {0.75}
    lines = [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]
    assert lines == [{"frame": n, **inputs(n)[1].to_dict()} for n in range(6)]
    video = cv2.VideoCapture(str(folder / VIDEO))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    shown = video.read()[1]
    assert shown.shape == (96, 128, 3)
    # What is shown is the street with boxes on it, as far as the codec lets it through.
    assert np.abs(shown[85:].astype(float) - street(0, (96, 128))[85:]).mean() < 20


def test_a_cameras_dropped_frames_show_in_the_numbers(tmp_path):
    outputs = TrackOutputs(tmp_path / "out", 10, video=False)
    outputs.write(*inputs(0, index=4))
    outputs.keep({})
    line = json.loads((tmp_path / "out" / RECORDS).read_text())
    assert line["frame"] == 4 and line["index"] == 0
    assert names(tmp_path / "out") == FILES - {VIDEO}


def test_frames_of_another_size_fit_the_video(tmp_path):
    outputs = TrackOutputs(tmp_path / "out", 10)
    fill(outputs, 3)
    fill(outputs, 3, size=(200, 100))
    outputs.keep({})
    video = cv2.VideoCapture(str(tmp_path / "out" / VIDEO))
    assert [video.read()[1].shape for _ in range(6)] == [(96, 128, 3)] * 6 and not video.read()[0]


def test_without_a_frame_there_is_no_video(tmp_path):
    TrackOutputs(tmp_path / "out", 10).keep({})
    assert names(tmp_path / "out") == FILES - {VIDEO}
    assert (tmp_path / "out" / TRACKS).read_bytes() == b""


def test_discarded_leaves_nothing(tmp_path):
    outputs = TrackOutputs(tmp_path / "new" / "parents" / "out", 10)
    fill(outputs)
    assert (tmp_path / "new" / "parents").is_dir()
    outputs.discard()
    outputs.discard()
    assert names(tmp_path) == set()


def test_parents_in_use_stay(tmp_path):
    outputs = TrackOutputs(tmp_path / "new" / "out", 10)
    (tmp_path / "new" / "mine.txt").write_text("x")
    outputs.discard()
    assert names(tmp_path / "new") == {"mine.txt"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    outputs = TrackOutputs(tmp_path / "out", 10, video=False)
    fill(outputs)
    outputs.keep({})
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == FILES - {VIDEO}


def earlier(folder, note="first"):
    outputs = TrackOutputs(folder, 10, video=False)
    fill(outputs, 1)
    outputs.keep({"note": note})
    return folder


def test_an_earlier_result_is_replaced_with_force_only(tmp_path):
    folder = earlier(tmp_path / "out")
    with pytest.raises(ReidEdgeError, match=r"--force replaces the earlier result there\.$"):
        TrackOutputs(folder, 10)
    outputs = TrackOutputs(folder, 10, force=True)
    fill(outputs, 3)
    assert json.loads((folder / SUMMARY).read_text()) == {"note": "first"}  # still there
    outputs.keep({"note": "second"})
    assert json.loads((folder / SUMMARY).read_text()) == {"note": "second"}
    assert names(folder) == FILES and names(tmp_path) == {"out"}


@pytest.mark.parametrize("content", ["mine.txt", SUMMARY])
def test_nothing_else_is_replaced_even_with_force(tmp_path, content):
    folder = earlier(tmp_path / "out") if content != SUMMARY else tmp_path / "out"
    folder.mkdir(exist_ok=True)
    (folder / "mine.txt").write_text("x")
    (folder / SUMMARY).write_text("{}")  # somebody else's, of this name
    for force in (False, True):
        with pytest.raises(ReidEdgeError, match=r"new or empty folder, got .*out\.$"):
            TrackOutputs(folder, 10, force=force)
    assert (folder / "mine.txt").read_text() == "x" and names(tmp_path) == {"out"}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ReidEdgeError, match="new or empty folder"):
        TrackOutputs(tmp_path / "out", 10, force=True)
    with pytest.raises(ReidEdgeError, match=r"^Cannot write to .*: .*(Not a directory|exists)"):
        TrackOutputs(tmp_path / "out" / "below", 10)
    assert (tmp_path / "out").read_text() == "x" and names(tmp_path) == {"out"}


def test_a_folder_that_somebody_filled_meanwhile_stays(tmp_path):
    outputs = TrackOutputs(tmp_path / "out", 10, video=False)
    fill(outputs)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ReidEdgeError, match="new or empty folder"):
        outputs.keep({})
    outputs.discard()
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == {"mine.txt"}


def test_the_earlier_result_survives_a_move_that_fails(tmp_path, monkeypatch):
    folder = earlier(tmp_path / "out")
    outputs = TrackOutputs(folder, 10, video=False, force=True)
    fill(outputs)
    replace = os.replace

    def failing(source, target):
        if target == str(folder) and not source.endswith(".earlier"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(track_outputs.os, "replace", failing)
    with pytest.raises(ReidEdgeError, match=r"Cannot write to .*: Input/output error\."):
        outputs.keep({"note": "second"})
    outputs.discard()
    assert json.loads((folder / SUMMARY).read_text()) == {"note": "first"}
    assert names(tmp_path) == {"out"}


class FullDisk:
    """A file that takes nothing more."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        self.file.close()
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["_tracks", "_records"])
def test_no_more_room_while_writing_and_while_closing(tmp_path, name):
    outputs = TrackOutputs(tmp_path / "out", 10, video=False)
    fill(outputs)
    setattr(outputs, name, FullDisk(getattr(outputs, name)))
    with pytest.raises(ReidEdgeError, match=r"Cannot write to .*out: No space left on device\."):
        fill(outputs)
    with pytest.raises(ReidEdgeError, match="No space left"):
        outputs.keep({})
    outputs.discard()
    assert names(tmp_path) == set()


def test_a_video_that_opencv_could_not_write_is_noticed(tmp_path):
    outputs = TrackOutputs(tmp_path / "out", 10)
    fill(outputs, 20)
    outputs._writer.release()  # what follows is dropped without a word, as on a full disk
    fill(outputs, 20)
    with pytest.raises(ReidEdgeError, match="of 40 frames of the video 20 can be read back"):
        outputs.keep({})
    outputs.discard()
    assert names(tmp_path) == set()


def test_a_build_without_an_encoder_says_so(tmp_path, monkeypatch):
    class NoWriter:
        def __init__(self, *args):
            pass

        def isOpened(self):
            return False

        def release(self):
            pass

    monkeypatch.setattr(track_outputs.cv2, "VideoWriter", NoWriter)
    outputs = TrackOutputs(tmp_path / "out", 10)
    with pytest.raises(ReidEdgeError, match="cannot write MPEG-4 video; use --no-video"):
        fill(outputs)
    outputs.discard()
    assert names(tmp_path) == set()
