"""``reid-track`` in this process: what it writes and what it refuses, on drawn people."""

import json
import signal

import cv2
import numpy as np
import pytest

from runtime import track_cli
from runtime.frame_record import STAGES, Seen
from runtime.lock_types import STATES, LockOutput
from runtime.mot_format import read_mot
from runtime.perception import Perception
from tests.runtime.drawn import draw, street
from tests.runtime.track_material import FRAMES, RED, Camera, names, walk


def lines_of(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def test_everything_is_written(track, tmp_path):
    status, out, err = track("--target", RED + "@2", "--json", "--fps", "12.5")
    assert status == 0 and "Traceback" not in err
    assert names(tmp_path) == {"out"}
    folder = tmp_path / "out"
    assert names(folder) == {"video.mp4", "tracks.txt", "frames.jsonl", "summary.json"}
    summary = json.loads(out)
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["frames"] == FRAMES and summary["people"] == 2
    assert summary["out"] == str(folder) and summary["interrupted"] is False
    assert summary["lock_events"] == [[summary["lock_events"][0][0], "enrolled"]]
    assert summary["lock_state"] == "locked" and 0 < summary["embeddings_per_person_frame"] < 1
    assert set(summary["stages"]) == {"capture", "output", *STAGES}
    for times in summary["stages"].values():
        assert 0 <= times["p50_ms"] <= times["p90_ms"] <= times["p99_ms"]
    video = cv2.VideoCapture(str(folder / "video.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_every_line_has_every_field(track, tmp_path):
    assert track("--target", RED)[0] == 0
    lines = lines_of(tmp_path / "out")
    assert [line["frame"] for line in lines] == [line["index"] for line in lines]
    assert [line["index"] for line in lines] == list(range(FRAMES))
    for line in lines:
        assert set(line) == {
            "frame", "index", "time_s", "frame_size", "people", "lock", "motion", "took_ms",
        }  # fmt: skip
        assert line["time_s"] == pytest.approx(line["index"] / 25, abs=1e-4)  # a folder's default
        assert line["frame_size"] == [240, 320] and len(line["motion"]) == 6
        assert set(line["took_ms"]) == set(STAGES)
        assert set(line["lock"]) == set(LockOutput._fields) and line["lock"]["state"] in STATES
        assert all(set(someone) == set(Seen._fields) for someone in line["people"])
    followed = [line for line in lines if line["lock"]["state"] == "locked"]
    assert len(followed) > 8
    for line in followed:
        np.testing.assert_allclose(line["lock"]["box"], walk(line["index"])["red"], atol=6)
        assert line["lock"]["track"] in [someone["track"] for someone in line["people"]]


def test_tracks_are_motchallenge_text(track, tmp_path):
    assert track("--no-video")[0] == 0
    assert "video.mp4" not in names(tmp_path / "out")
    rows = read_mot(tmp_path / "out" / "tracks.txt")
    expected = [
        (line["index"] + 1, someone["track"], someone["box"], someone["score"])
        for line in lines_of(tmp_path / "out")
        for someone in line["people"]
        if someone["state"] == "confirmed"
    ]
    assert len(expected) > FRAMES
    got = zip(rows.frame.tolist(), rows.id.tolist(), rows.boxes.tolist(), rows.confidence)
    for (frame, number, box, score), want in zip(got, expected):
        assert (frame, number) == want[:2]
        assert box == pytest.approx(want[2], abs=0.02) and score == pytest.approx(want[3], abs=1e-3)
    assert len(rows.frame) == len(expected)


def test_what_people_read(track, tmp_path):
    status, out, _ = track("--front", "--max-frames", "15")
    assert status == 0
    assert out.splitlines()[0] == "Result: %s" % (tmp_path / "out")
    assert "15 frames in" in out and "2 people" in out and "embeddings per person and frame" in out
    assert "stage     p50 ms   p90 ms   p99 ms" in out and "\nembed " in out
    assert ": enrolled\n" in out and out.endswith("At the end the target is locked.\n")
    assert len(lines_of(tmp_path / "out")) == 15


def test_the_person_in_front_and_a_gallery(track, tmp_path, track_material):
    for name, arguments in (
        ("red", ["--front"]),
        ("green", ["--gallery", track_material / "photos"]),
    ):
        out = tmp_path / name
        assert track(*arguments, "--no-video", "--out", out)[0] == 0
        line = lines_of(out)[-1]
        assert line["lock"]["state"] == "locked"
        np.testing.assert_allclose(line["lock"]["box"], walk(FRAMES - 1)[name], atol=6)


def test_without_a_network_everybody_is_tracked(track, tmp_path):
    assert track("--no-video", bundle=False)[0] == 0
    lines = lines_of(tmp_path / "out")
    assert len({someone["track"] for someone in lines[-1]["people"]}) == 2
    assert {line["lock"]["state"] for line in lines} == {"idle"}


def test_the_default_folder_has_the_sources_name(track, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert track("--default-out", "--no-video", "--max-frames", "2")[0] == 0
    assert names(tmp_path) == {"reid_track"} and names(tmp_path / "reid_track") == {"img1"}


@pytest.mark.parametrize(
    ("name", "live", "expected"),
    [
        ("walks/sunny day.mp4", False, "sunny_day.mp4"),
        ("walks/img1/", False, "img1"),
        ("rtsp://cam/one", True, "rtsp___cam_one"),
        ("camera 0", True, "camera_0"),
        ("..", False, "source"),
    ],
)
def test_folder_names(name, live, expected):
    source = Camera([])
    source.name, source.live = name, live
    assert track_cli._name(source) == expected


def test_an_earlier_result_is_replaced_with_force_only(track, tmp_path):
    assert track("--no-video", "--max-frames", "3")[0] == 0
    status, _, err = track("--no-video")
    assert status == 2 and "--force replaces the earlier result there." in err
    assert len(lines_of(tmp_path / "out")) == 3
    assert track("--no-video", "--max-frames", "4", "--force")[0] == 0
    assert len(lines_of(tmp_path / "out")) == 4 and names(tmp_path) == {"out"}


def test_ctrl_c_keeps_what_was_done(track, tmp_path, monkeypatch):
    step = Perception.step

    def interrupted(self, frame, time_s, detections=None):
        if time_s * 25 > 11.5:
            raise KeyboardInterrupt
        return step(self, frame, time_s, detections)

    monkeypatch.setattr(Perception, "step", interrupted)
    # The target's frame has not come, which is nobody's mistake now.
    status, out, _ = track("--target", RED + "@20")
    assert status == 0 and "Interrupted; the result goes up to there." in out
    assert [line["index"] for line in lines_of(tmp_path / "out")] == list(range(12))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True and summary["frames"] == 12
    video = cv2.VideoCapture(str(tmp_path / "out" / "video.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12


@pytest.mark.parametrize("where", ["_perception", "run_pipeline"])
def test_ctrl_c_before_the_first_frame(track, tmp_path, monkeypatch, where):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(track_cli, where, interrupted)
    status, out, err = track("--front")
    assert (status, out) == (130, "") and names(tmp_path) == set()
    assert err.endswith("reid-track: interrupted; nothing was written.\n")


def test_a_camera_that_is_lost_leaves_what_it_showed(track, tmp_path, monkeypatch):
    monkeypatch.setattr(track_cli, "open_source", lambda text, fps: Camera([0, 1, 3, 6]))
    status, _, err = track("--no-video", source="0")
    assert status == 2
    assert "reid-track: Camera 0 gave no frame for 60 s; check its cable. What came before" in err
    assert [line["frame"] for line in lines_of(tmp_path / "out")] == [0, 1, 3, 6]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["dropped_frames"] == 5 and summary["interrupted"] is True


def test_a_camera_that_shows_nothing_leaves_nothing(track, tmp_path, monkeypatch):
    monkeypatch.setattr(track_cli, "open_source", lambda text, fps: Camera([]))
    status, _, err = track(source="0")
    assert status == 2 and "gave no frame for 60 s" in err and names(tmp_path) == set()


def test_frames_that_change_their_size(track, tmp_path, caplog):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, size in enumerate([(240, 320), (240, 320), (120, 160), (480, 640), (240, 320)]):
        cv2.imwrite(str(folder / ("%d.png" % number)), street(0, size))
    assert track(source=folder)[0] == 0
    assert "changed its frame size from 320 x 240 to 160 x 120" in caplog.text
    lines = lines_of(tmp_path / "out")
    assert [tuple(line["frame_size"]) for line in lines[1:4]] == [
        (240, 320),
        (120, 160),
        (480, 640),
    ]
    video = cv2.VideoCapture(str(tmp_path / "out" / "video.mp4"))
    assert [video.read()[1].shape for _ in range(5)] == [(240, 320, 3)] * 5


def test_a_video_that_is_cut_off_is_tracked_to_there(track, tmp_path, caplog):
    video = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for number in range(20):
        writer.write(draw(street(), walk(number)))
    writer.release()
    data = video.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    assert track("--no-video", source=tmp_path / "cut.avi")[0] == 0
    assert 3 <= len(lines_of(tmp_path / "out")) < 20 and "cut off or damaged" in caplog.text


def test_without_a_progress_bar_there_are_lines(track, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    monkeypatch.setattr(track_cli, "_LINE_FRAMES", 10)
    status, _, err = track("--no-video", "--max-frames", "24")
    said = [line for line in err.splitlines() if line.startswith("frame ")]
    assert status == 0 and said == ["frame 10 of 24", "frame 20 of 24"]


def test_the_first_ctrl_c_asks_and_the_second_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with track_cli._ctrl_c() as end:
            signal.raise_signal(signal.SIGINT)
            assert end.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_handlers_stay():
    mine = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGINT, mine)
    try:
        with track_cli._ctrl_c():
            assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
