"""``follow-robot simulate``."""

import json

import cv2
import pytest
import yaml

from follow_robot.simulator import command
from follow_robot.simulator.generator import random_scenario
from follow_robot.simulator.scenario import parse_scenario

QUICK = {
    "name": "quick",
    "duration_s": 3,
    "walls": [[-3, -4, 9, -4], [9, -4, 9, 4], [9, 4, -3, 4], [-3, 4, -3, -4]],
    "people": [{"name": "target", "look": {"seed": 7}, "path": [{"at": [1.9, 0.1]}]}],
}


@pytest.fixture
def quick(tmp_path):
    file = tmp_path / "quick.yaml"
    file.write_text(yaml.safe_dump(QUICK))
    return str(file)


def test_a_run_is_a_line_a_record_and_a_video(quick, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    assert command.run([quick, "--out", str(out), "--video"]) == 0
    said = capsys.readouterr()
    assert "quick" in said.out and "real time" in said.out and "wrong 0" in said.out
    assert "not by a ReID network" in caplog.text
    assert sorted(path.name for path in out.iterdir()) == ["quick.json", "quick.mp4"]
    record = json.loads((out / "quick.json").read_text())
    assert record["schema"] == 1
    assert parse_scenario(record["scenario"], "x") == parse_scenario(QUICK, "x")
    assert record["result"]["frames"] == 30
    video = cv2.VideoCapture(str(out / "quick.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= 25
    good, scene = video.read()
    assert good and scene.shape == (360, 960, 3)


def test_results_are_printed_as_json(quick, capsys):
    assert command.run([quick, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in results] == ["quick"] and "series" not in results[0]


def test_scenarios_can_be_printed_and_read_again(capsys):
    assert command.run(["crossing", "--seed", "4", "--runs", "2", "--yaml"]) == 0
    texts = capsys.readouterr().out.split("---\n")
    found = [parse_scenario(yaml.safe_load(text), "printed") for text in texts]
    assert found == [random_scenario("crossing", 4), random_scenario("crossing", 5)]


def test_settings_of_the_car_reach_the_run(quick, capsys):
    assert command.run([quick, "--set", "safety.speed_mps=9"]) == 2
    assert "speed_mps" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "no scenario file nowhere"),
        (["crossing", "--video"], "give --out"),
        (["crossing", "--runs", "0"], "--runs must be at least 1"),
        (["crossing", "crossing", "--out", "x"], "there are two of crossing-0"),
        (["crossing", "--bundle", "/nowhere"], "/nowhere"),
        (["crossing", "--detector", "/nowhere.onnx"], "/nowhere.onnx"),
    ],
)
def test_mistakes_are_one_sentence(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.run(arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("follow-robot simulate: ") and said in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_sentence(quick, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert command.run([quick, "--out", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_that_fails_leaves_no_half_of_a_video(quick, tmp_path, monkeypatch, capsys):
    from runtime.errors import ReidEdgeError

    real, out = command.play, tmp_path / "out"

    def fails(*args, **kwargs):
        real(*args, **kwargs)
        raise ReidEdgeError("It broke.")

    monkeypatch.setattr(command, "play", fails)
    assert command.run([quick, "--out", str(out), "--video"]) == 2
    assert list(out.iterdir()) == []


def test_a_run_in_which_somebody_else_is_followed_fails(quick, monkeypatch, capsys):
    from dataclasses import replace

    def wrong(*args, **kwargs):
        return replace(real(*args, **kwargs), wrong_frames=[1.0])

    real = command.play
    monkeypatch.setattr(command, "play", wrong)
    assert command.run([quick]) == 3
    assert "somebody else was followed in quick" in capsys.readouterr().err


def test_a_command_that_comes_too_late_fails(quick, monkeypatch, capsys):
    from dataclasses import replace

    real = command.play
    monkeypatch.setattr(command, "play", lambda *a, **k: replace(real(*a, **k), after_frames_s=0.4))
    assert command.run([quick]) == 3
    assert "moved without a target or frames in quick" in capsys.readouterr().err


def test_the_real_network_follows_too(tmp_path, shared, capsys):
    """With a bundle of reid-export in place of colours."""
    import os

    bundle = os.environ.get("REID_EDGE_BUNDLE")
    if bundle is None:
        pytest.skip("set REID_EDGE_BUNDLE to a bundle of this machine")
    assert command.run(["crossing", "lookalike", "--bundle", bundle, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert all(r["enrolled_s"] is not None and r["following_share"] > 0.5 for r in results)
