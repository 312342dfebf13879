"""``reid-track`` in this process: every kind of bad input is one sentence and leaves nothing behind."""

import cv2
import numpy as np
import pytest

from runtime import track_cli, track_outputs
from runtime.detectors.kinds import KINDS
from tests.runtime.detectors.test_runner import save
from tests.runtime.drawn import ColourNetwork, draw, street
from tests.runtime.fake_bundle import make_bundle
from tests.runtime.track_material import RED, Camera, FakeEmbedder, names, walk


@pytest.fixture
def refused(track, tmp_path, monkeypatch):
    """Runs the command, which must refuse; gives its sentence."""

    def run(*arguments, expected=2, **options):
        before = names(tmp_path)
        monkeypatch.chdir(tmp_path)
        status, out, err = track(*arguments, **options)
        said = err.splitlines()[-1]
        assert status == expected and out == "" and "Traceback" not in err
        assert said.startswith("reid-track: ") and said.endswith(".")
        assert names(tmp_path) == before  # not even an empty folder
        return said[len("reid-track: ") :]

    return run


def test_sources(refused, tmp_path):
    assert "does not exist and is none of" in refused(source="nowhere.mp4")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    assert "is not a video that OpenCV can decode" in refused(source=tmp_path / "noise.mp4")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(source=tmp_path / "empty")
    assert "Frames per second must be more than 0" in refused("--fps", "nan")


def test_a_video_without_its_end(refused, tmp_path):
    video = tmp_path / "whole.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    for number in range(10):
        writer.write(draw(street(), walk(number)))
    writer.release()
    video.write_bytes(video.read_bytes()[:-600])  # the index at the end is damaged
    assert "is not a video that OpenCV can decode" in refused(source=video)


def test_an_image_in_the_middle_that_is_none(refused, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(9):
        cv2.imwrite(str(folder / ("%d.png" % number)), street())
    (folder / "5.png").write_bytes(b"nothing")
    assert "5.png is not an image that OpenCV can decode" in refused(source=folder)


def test_detectors(refused, tmp_path):
    options = {"detections": None}
    assert "missing.onnx is not a file" in refused("--detector", "missing.onnx", **options)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07garbage")
    assert "broken.onnx" in refused("--detector", broken, **options)
    assert "needs a model file" in refused("--detector-kind", "yolox", **options)
    assert "must be 0 to 1" in refused("--min-score", "7", **options)
    assert "Give either --detections or a detector" in refused("--detector", broken)


def test_a_detector_of_an_unknown_signature(refused, tmp_path):
    file = save(tmp_path / "net.onnx", [np.zeros((1, 7, 7), np.float32)])
    said = refused("--detector", file, detections=None)
    assert "signature of no known detector: got outputs (1, 7, 7)" in said and all(
        kind in said for kind in KINDS
    )


def test_detections(refused, tmp_path):
    assert "No such file" in refused(detections="none.txt")
    odd = tmp_path / "odd.txt"
    odd.write_text("1,-1,5,5,20,50,47.5,-1,-1,-1\n1,-1,9,5,20,50,0.5,-1,-1,-1\n")
    assert "from 0 to 1, those of %s are from 0.5 to 47.5" % odd in refused(detections=odd)
    odd.write_text("1,-1,5,5,20\n")
    assert "odd.txt:1 must be at least 7 finite numbers" in refused(detections=odd)


def test_bundles(refused, tmp_path):
    def with_bundle(path, expected=2):
        return refused("--bundle", path, bundle=False, expected=expected)

    assert "nowhere" in with_bundle("nowhere")
    folder = make_bundle(tmp_path / "bundle")
    (folder / "golden.npz").write_bytes(b"changed")
    assert "golden.npz in bundle" in with_bundle(folder, expected=3)  # is not what was exported
    (folder / "manifest.json").write_text("{")
    assert "manifest.json" in with_bundle(folder)


def test_targets(refused):
    assert "Nobody is seen at [0.0, 0.0, 9.0, 9.0]" in refused("--target", "0,0,9,9")
    assert "frame of 320 x 240 pixels" in refused("--target", "400,10,450,100@3")
    assert "must be left,top,right,bottom in pixels" in refused("--target", "1,2,3")
    assert "ended before frame 99, on which the target" in refused("--target", RED + "@99")
    late = refused("--target", RED + "@5", "--max-frames", "5")
    assert "chosen on frame 5, which is behind the last one with --max-frames 5" in late
    for flags in (["--target", RED], ["--front"], ["--gallery", "photos"]):
        assert refused(*flags, bundle=False).endswith("with a ReID network; give --bundle.")


def test_a_target_where_nobody_is_seen(refused, tmp_path):
    (tmp_path / "none.txt").write_text("")
    said = refused("--target", RED + "@1", detections=tmp_path / "none.txt")
    assert said == "Nobody can be chosen: no person is seen on frame 1."


def test_galleries(refused, tmp_path, track_material):
    folder = tmp_path / "photos"
    assert refused("--gallery", folder) == "--gallery must be a folder of photos, got %s." % folder
    folder.mkdir()
    assert refused("--gallery", folder).endswith("but %s has none." % folder)
    (folder / "1.jpg").write_bytes(b"nothing")
    assert "1.jpg is not an image" in refused("--gallery", folder)
    assert "must be a folder" in refused("--gallery", track_material / "photos" / "0.png")


def test_numbers(refused):
    assert refused("--max-frames", "0") == "--max-frames must be at least 1, got 0."
    assert refused("--threads", "-2") == "--threads must be at least 1, got -2."


def test_outputs(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    assert "must be a new or empty folder" in refused("--out", tmp_path / "mine", "--force")
    assert "Cannot write to" in refused("--out", tmp_path / "mine" / "letter.txt" / "out")
    assert "must be a new or empty folder" in refused("--out", tmp_path / "mine" / "letter.txt")
    assert names(tmp_path / "mine") == {"letter.txt"}


def test_embeddings_that_are_not_finite(refused, monkeypatch):
    def nan(crops):
        return np.full((len(crops), 64), np.nan, np.float32)

    monkeypatch.setattr(FakeEmbedder, "network", staticmethod(nan))
    assert "embeddings that are not finite" in refused("--front")
    assert isinstance(ColourNetwork()([street()]), np.ndarray)


def test_a_disk_that_is_full_in_the_middle(refused, monkeypatch, tmp_path):
    wrote = []

    def full(*arguments):
        wrote.append(arguments)
        if len(wrote) > 20:
            raise OSError(28, "No space left on device")
        return ""

    monkeypatch.setattr(track_outputs, "mot_line", full)
    said = refused("--out", tmp_path / "new" / "out")
    assert said == "Cannot write to %s: No space left on device." % (tmp_path / "new" / "out")


def test_a_source_without_a_frame(refused, monkeypatch):
    camera = Camera([])
    monkeypatch.setattr(Camera, "read", lambda self, timeout_s=None: None)
    monkeypatch.setattr(track_cli, "open_source", lambda text, fps: camera)
    assert refused(source="0") == "camera 0 gave no frame."
