"""``reid-track`` as a process of its own: real networks, a real Ctrl-C and a disk that is really full."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.mot_format import read_mot
from tests.runtime.drawn import draw, street
from tests.runtime.drawn_onnx import colour_bundle, colour_detector
from tests.runtime.track_material import FRAMES, names, walk

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0


def command(*arguments):
    return [sys.executable, "-m", "runtime.track_cli", *(str(a) for a in arguments)]


def start(*arguments, **options):
    # As behind pipes in a test, so in a service: no terminal.
    return subprocess.Popen(
        command(*arguments),
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **options,
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def test_a_video_with_a_detector_and_a_bundle(tmp_path):
    still = walk(0)
    bundle = colour_bundle(tmp_path / "bundle")
    detector = colour_detector(tmp_path / "net.onnx", list(still.values()))
    writer = cv2.VideoWriter(
        str(tmp_path / "walk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240)
    )
    for _ in range(20):
        writer.write(draw(street(), still))
    writer.release()
    status, out, err = run(
        tmp_path / "walk.avi", "--detector", detector, "--bundle", bundle, "--threads", 1,
        "--target", "80,75,140,205", "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 0, err
    summary = json.loads(out)
    assert summary["frames"] == 20 and summary["people"] == 2
    assert summary["lock_state"] == "locked" and summary["lock_events"][0][1] == "enrolled"
    assert summary["stages"]["detect"]["p50_ms"] > 0 and summary["stages"]["embed"]["p99_ms"] > 0
    assert "Using detector yolox net.onnx" in err
    assert names(tmp_path / "out") == {"video.mp4", "tracks.txt", "frames.jsonl", "summary.json"}
    lines = (tmp_path / "out" / "frames.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    np.testing.assert_allclose(last["lock"]["box"], still["red"], atol=3)
    assert last["time_s"] == pytest.approx(1.9) and len(lines) == 20
    assert names(tmp_path) == {"bundle", "net.onnx", "walk.avi", "out"}


def test_the_slow_default_detector_is_announced(tmp_path, track_material):
    status, out, err = run(
        track_material / "img1", "--max-frames", 3, "--no-video", "--out", tmp_path / "out"
    )
    assert status == 0 and "using OpenCV's HOG people detector, the slow default" in err
    assert "3 frames in" in out
    assert len((tmp_path / "out" / "frames.jsonl").read_text().splitlines()) == 3
    read_mot(tmp_path / "out" / "tracks.txt")


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    status, out, err = run("nowhere.mp4", "--detections", tmp_path / "none.txt")
    assert (status, out) == (2, "") and err.startswith("reid-track: ") and err.count("\n") == 1


def long_walk(folder, material, frames):
    """The material's frames over and over, as links."""
    (folder / "img1").mkdir()
    files = sorted((material / "img1").iterdir())
    for number in range(frames):
        os.link(str(files[number % FRAMES]), str(folder / "img1" / ("%d.png" % number)))
    return folder / "img1"


@pytest.mark.skipif(not hasattr(os, "link"), reason="makes a long video of hard links")
def test_ctrl_c(tmp_path, track_material):
    frames = 20000  # minutes
    process = start(
        long_walk(tmp_path, track_material, frames), "--detections", track_material / "det.txt",
        "--no-video", "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not any(p.stat().st_size for p in tmp_path.glob(".out*/frames.jsonl")):
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in err
    summary = json.loads(out)
    lines = (tmp_path / "out" / "frames.jsonl").read_text().splitlines()
    assert summary["interrupted"] is True and 0 < summary["frames"] == len(lines) < frames
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert names(tmp_path) == {"img1", "out"}


@pytest.mark.parametrize("flags", [[], ["--no-video"]], ids=["video", "text"])
def test_a_disk_that_is_really_full(tmp_path, track_material, flags):
    def small():  # no file may become larger: a write fails with EFBIG as on a full disk with ENOSPC
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    status, out, err = run(
        track_material / "img1", "--detections", track_material / "det.txt", *flags,
        "--out", tmp_path / "new" / "out", preexec_fn=small,
    )  # fmt: skip
    assert (status, out) == (2, "") and names(tmp_path) == set()
    assert "reid-track: Cannot write to %s: " % (tmp_path / "new" / "out") in err


def test_a_video_that_is_too_large_for_the_disk(tmp_path, track_material):
    def small():  # room for the text, but not for the video
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

    status, _, err = run(
        track_material / "img1", "--detections", track_material / "det.txt",
        "--out", tmp_path / "out", preexec_fn=small,
    )  # fmt: skip
    assert status == 2 and names(tmp_path) == set()
    assert "of %d frames of the video" % FRAMES in err and "make room there" in err
