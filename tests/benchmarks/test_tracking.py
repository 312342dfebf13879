"""The tracking benchmark, on a drawn sequence and on real ones."""

import json

import cv2
import numpy as np
import pytest

from benchmarks import tracking
from benchmarks.tracking import Sequence, main, track_sequence
from runtime.errors import ReidEdgeError
from runtime.mot_format import mot_line, read_mot
from runtime.tracker import TrackerSettings

pytest.importorskip("motmetrics")  # on the workstation only

FRAMES = 12


def box(frame, x, speed):
    left = x + speed * frame
    return (left, 60, left + 30, 140)


@pytest.fixture
def sequence(tmp_path):
    """Two people walk and one statue stands that nobody annotated."""
    (tmp_path / "gt").mkdir()
    (tmp_path / "det").mkdir()
    (tmp_path / "img1").mkdir()
    (tmp_path / "seqinfo.ini").write_text(
        "[Sequence]\nname=Drawn\nimDir=img1\nframeRate=10\nseqLength=%d\nimWidth=320\n"
        "imHeight=240\nimExt=.png\n" % FRAMES
    )
    truth, found = [], []
    picture = np.random.RandomState(0).randint(0, 256, (240, 320, 3)).astype(np.uint8)
    for n in range(1, FRAMES + 1):
        people = [box(n, 20, 5), box(n, 240, -4)]
        truth += [mot_line(n, i, b, 1) for i, b in enumerate(people, 1)]
        found += [mot_line(n, -1, b, 0.9) for b in people + [box(0, 130, 0)]]
        cv2.imwrite(str(tmp_path / "img1" / ("%06d.png" % n)), picture)
    (tmp_path / "gt" / "gt.txt").write_text("".join(truth))
    (tmp_path / "det" / "good.txt").write_text("".join(found))
    (tmp_path / "det" / "raw.txt").write_text("1,-1,5,5,20,50,47.5,-1,-1,-1\n")
    return tmp_path


def test_figures_of_a_drawn_sequence(sequence, capsys):
    out = sequence / "result.txt"
    assert main(["--sequence", str(sequence), "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["detections"] == "good.txt" and record["appearance"] == "off"
    assert (record["misses"], record["false_positives"], record["switches"]) == (0, FRAMES, 0)
    assert record["mota"] == pytest.approx(0.5) and record["idf1"] == pytest.approx(4 / 5)
    assert record["tracker_ms"] > 0 and record["motion_ms"] > 0
    rows = read_mot(out)
    assert len(rows.frame) == 3 * FRAMES and set(rows.id) == {1, 2, 3}


def test_text_output(sequence, capsys):
    assert main(["--sequence", str(sequence), "--still-camera"]) == 0
    said = capsys.readouterr().out
    assert "IDF1 0.800" in said and "switches 0" in said


def test_truth_that_does_not_count(sequence):
    lines = (sequence / "gt" / "gt.txt").read_text().replace(",1.0000,", ",0,", 1)
    (sequence / "gt" / "gt.txt").write_text(lines)
    opened = Sequence.open(sequence)
    assert len(opened.ground_truth().frame) == 2 * FRAMES
    assert len(opened.ground_truth(counted_only=True).frame) == 2 * FRAMES - 1
    (sequence / "gt" / "gt.txt").write_text(
        "1,1,0,0,9,9,1,1,1\n1,2,0,0,9,9,1,7,1\n1,3,0,0,9,9,0,1,1\n"
    )
    assert opened.ground_truth().id.tolist() == [1]


def test_appearance_is_asked_for_good_detections(sequence):
    asked = []

    def embed(crops):
        asked.append([c.shape for c in crops])
        return np.tile(np.array([[1, 0]], np.float32), (len(crops), 1))

    opened = Sequence.open(sequence)
    run = track_sequence(opened, opened.detections()[1], camera_motion=False, embed=embed)
    assert len(asked) == FRAMES and asked[0] == [(80, 30, 3)] * 3
    assert all(t.embedding is not None for t in run.tracks[-1])


def test_bad_input(sequence, tmp_path_factory, capsys):
    assert main(["--sequence", str(tmp_path_factory.mktemp("none"))]) == 2
    assert "seqinfo.ini" in capsys.readouterr().err
    opened = Sequence.open(sequence)
    with pytest.raises(ReidEdgeError, match="from 0 to 1"):
        opened.detections(sequence / "det" / "raw.txt")
    (sequence / "det" / "good.txt").rename(sequence / "good.txt")
    with pytest.raises(ReidEdgeError, match="none; choose one"):
        opened.detections()
    (sequence / "seqinfo.ini").write_text("[Sequence]\nname=x\n")
    with pytest.raises(ReidEdgeError, match="lacks"):
        Sequence.open(sequence)


def test_without_motmetrics(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "motmetrics", None)
    with pytest.raises(ReidEdgeError, match="pip install motmetrics"):
        tracking._motmetrics()


@pytest.mark.parametrize(
    "name, idf1, mota", [("ETH-Sunnyday", 0.88, 0.67), ("TUD-Stadtmitte", 0.85, 0.772)]
)
def test_real_sequences(shared, name, idf1, mota):
    """The references are BoT-SORT's MOTA on the same detections; the settings are one set."""
    sequence = Sequence.open(shared / "video" / name)
    _, detections = sequence.detections(sequence.folder / "det" / "yolox_nano.txt")
    run = track_sequence(sequence, detections, TrackerSettings())
    figures = tracking.score(sequence.ground_truth(), run.tracks)
    assert figures["idf1"] >= idf1 and figures["mota"] >= mota
