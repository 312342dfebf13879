"""The command that measures the camera."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from follow_robot.camera_calibration import camera_yaml, collect, read_camera, run
from follow_robot.camera_model import CameraModel
from follow_robot.config import load_config
from follow_robot.lens_calibration import Board
from follow_robot.ranging import PersonPrior
from runtime.errors import ReidEdgeError
from runtime.sources import open_source
from tests.follow_robot.chessboards import TRUE, VIEWS, render
from tests.follow_robot.figures import figure_box

BOARD = Board(7, 5, 0.03)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of the board, and one of nothing."""
    folder = tmp_path_factory.mktemp("boards")
    for i, pose in enumerate(VIEWS):
        cv2.imwrite(str(folder / ("%02d.png" % i)), render(BOARD, pose))
    cv2.imwrite(str(folder / "blank.png"), np.full((480, 640, 3), 90, np.uint8))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_a_camera_survives_its_yaml(tmp_path):
    camera = replace(TRUE, height_m=0.31, pitch_rad=-0.123456)
    path = tmp_path / "camera.yaml"
    path.write_text(camera_yaml(camera, ["one", "two"]), encoding="utf-8")
    assert path.read_text().startswith("# one\n# two\ncamera:\n")
    assert read_camera(path) == camera
    path.write_text(camera_yaml(CameraModel()))
    assert read_camera(path) == CameraModel()


def test_lens_then_mount_then_configuration(folder, tmp_path, capsys):
    out = tmp_path / "camera.yaml"
    assert run(["lens", str(folder), "--board", "7x5", "--square-mm", "30", "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "not used: blank.png shows no board" in said
    assert "not used: broken.jpg cannot be read" in said
    assert "14 pictures used, 2 not" in said
    lens = read_camera(out)
    assert lens.f_x_px == pytest.approx(TRUE.f_x_px, rel=0.01)

    true = replace(lens, height_m=0.28, pitch_rad=-0.18)
    at = []
    for distance in (2.5, 4.5):
        box = figure_box(true, (480, 640), distance, 0.05, PersonPrior(height_m=1.82))
        at += ["--at", "%g:%s" % (distance, ",".join("%.2f" % v for v in box))]
    arguments = ["mount", "--camera", str(out), "--frame", "640x480", "--person-height-m", "1.82"]
    assert run([*arguments, *at, "--out", str(out)]) == 0
    assert "height 0.28 m" in capsys.readouterr().err
    mounted = read_camera(out)
    assert mounted.height_m == pytest.approx(0.28, abs=0.002)
    assert mounted.pitch_rad == pytest.approx(-0.18, abs=0.002)
    assert mounted.f_x_px == lens.f_x_px

    config = tmp_path / "car.yaml"
    config.write_text("camera: camera.yaml\n")
    assert load_config(config).camera == mounted

    # Calibrating the lens again keeps the mount.
    run(["lens", str(folder), "--board", "7x5", "--square-mm", "30", "--out", str(out)])
    assert read_camera(out).height_m == mounted.height_m
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_weak_mount_is_warned_about(tmp_path, capsys):
    camera = CameraModel(height_m=0.25, pitch_rad=-0.2)
    box = figure_box(camera, (480, 640), 3.5)
    at = "3.5:" + ",".join("%.2f" % v for v in box)
    arguments = ["mount", "--frame", "640x480", "--person-height-m", "1.7", "--at", at]
    run([*arguments, "--out", str(tmp_path / "a.yaml")])
    assert "Warning: that is uncertain" in capsys.readouterr().err
    run([*arguments, "--camera-height-m", "0.25", "--out", str(tmp_path / "b.yaml")])
    assert "Warning" not in capsys.readouterr().err
    assert read_camera(tmp_path / "b.yaml").pitch_rad == pytest.approx(-0.2, abs=0.002)


def test_pictures_from_a_source_are_chosen(folder):
    """Frames without a board, or with one that did not move, are passed over."""
    said = []
    with open_source(str(folder / "00.png")) as source:
        views = collect(source, BOARD, 1, 60.0, said.append)
    assert views.names == ["frame 0"] and len(said) == 1

    class Camera:
        """Every picture twice, blank ones in between; then nothing, for ever."""

        ended = False

        def __init__(self):
            files = [
                folder / name for name in ("00.png", "00.png", "blank.png", "01.png", "02.png")
            ]
            self.images = [cv2.imread(str(f)) for f in files]
            self.now_s = 0.0
            self.index = -1

        def read(self, timeout_s=None):
            self.now_s += 1.0
            self.index += 1
            if self.index >= len(self.images):
                return None
            return type("Frame", (), dict(image=self.images[self.index], index=self.index))

    camera = Camera()
    views = collect(camera, BOARD, 20, 30.0, said.append, clock=lambda: camera.now_s)
    assert views.names == ["frame 0", "frame 3", "frame 4"]
    assert 30 <= camera.now_s < 33  # then time was up


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["lens"], "Give either pictures or --source"),
        (["lens", "nowhere.png"], "no picture or folder"),
        (["lens", "."], "There are no pictures"),
        (["lens", "{folder}", "--board", "9x6"], "at least 8 pictures"),
        (["lens", "{folder}", "--board", "6x6"], "inner corners"),
        (["mount", "--camera", "nowhere.yaml"], "Cannot read camera file"),
        (["mount", "--camera", "x", "--fov-deg", "60"], "either --camera or --fov-deg"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [a.format(folder=folder) for a in arguments]
    if arguments[0] == "mount":
        arguments += ["--frame", "640x480", "--person-height-m", "1.7", "--at", "2:1,2,3,4"]
    with pytest.raises(ReidEdgeError, match=words):
        run(arguments)
    assert not Path("camera.yaml").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("camera: 3\n", "section 'camera:'"),
        ("camera:\n  focal: 3\n", "'focal'"),
        ("camera:\n  height_m: high\n", "'high'"),
        ("camera:\n  height_m: true\n", "True"),
        ("camera:\n  height_m: 30\n", "0.02 to 3"),
        ("camera: [\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_camera(text, words, tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ReidEdgeError, match=words):
        read_camera(path)


def test_a_file_that_cannot_be_written(tmp_path):
    arguments = ["mount", "--frame", "640x480", "--person-height-m", "1.7", "--at"]
    camera = CameraModel(height_m=0.25, pitch_rad=-0.2)
    at = "3.5:" + ",".join("%.2f" % v for v in figure_box(camera, (480, 640), 3.5))
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        run([*arguments, at, "--out", str(tmp_path / "no" / "camera.yaml")])


def test_wrong_forms_are_explained(capsys):
    for wrong in (["--at", "here"], ["--frame", "640"]):
        with pytest.raises(SystemExit):
            run(["mount", "--person-height-m", "1.7", *wrong])
    said = capsys.readouterr().err
    assert "DISTANCE_M:LEFT,TOP,RIGHT,BOTTOM" in said and "9x6 expected" in said
