"""``follow-robot``: what is asked for is configured, and a mistake is one sentence with nothing moved."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from follow_robot import cli
from follow_robot.choices import BOX, FRONT, GALLERY, GO
from follow_robot.config import Config, config_from_text
from follow_robot.eyes import Eyes
from tests.follow_robot.pty_car import ROOT, PtyCar
from tests.follow_robot.recorded_run import entries, file_of
from tests.follow_robot.sim_bench import WALK


def parsed(*arguments):
    return cli.parser().parse_args(arguments)


class TestConfiguration:
    def test_options_go_before_set_and_set_before_the_file(self, tmp_path):
        file = tmp_path / "car.yaml"
        file.write_text(
            "chassis: {open: 'wheeltec:/dev/a'}\nsource: {input: '1'}\nsafety: {speed_mps: 0.3}\n"
        )
        arguments = ["--config", str(file), "--set", "chassis.open=wheeltec:/dev/b"]
        config = cli.configuration(parsed(*arguments, "--chassis", "wheeltec:/dev/c"))
        assert config.chassis.open == "wheeltec:/dev/c"
        assert config.source.input == "1" and config.safety.speed_mps == 0.3
        assert cli.configuration(parsed(*arguments)).chassis.open == "wheeltec:/dev/b"

    def test_every_option(self, tmp_path):
        config = cli.configuration(
            parsed("--bundle", "b", "--detector", "d.onnx", "--source", "0", "--record", "2026")
        )
        assert config.bundle.path == "b" and config.detector.model == "d.onnx"
        assert config.source.input == "0" and config.recording.folder == "2026"
        config = cli.configuration(parsed("--port", "0", "--no-dashboard"))
        assert config.dashboard.port == 0 and config.dashboard.enabled is False

    def test_a_dry_run_drives_nothing(self, tmp_path):
        file = tmp_path / "car.yaml"
        file.write_text("chassis: {open: 'wheeltec:/dev/a'}")
        assert cli.configuration(parsed("--config", str(file), "--dry-run")).chassis.open == "null"


class TestFirst:
    def kinds(self, *arguments, embed=None):
        first = cli._first(parsed(*arguments), Eyes(None, None, embed))
        target = first._target
        return target and (target.kind, target.numbers), [c.kind for c in first.due(None)]

    def test_whom_and_whether(self, tmp_path):
        assert self.kinds() == (None, [])
        assert self.kinds("--front", "--go") == ((FRONT, ()), [GO])
        assert self.kinds("--target", "320,90,420.5,400") == (
            (BOX, (320.0, 90.0, 420.5, 400.0)),
            [],
        )

    def test_photos(self, tmp_path):
        import cv2

        rng = np.random.default_rng(0)
        for number in range(3):
            image = rng.integers(0, 256, (64, 32, 3), np.uint8)
            cv2.imwrite(str(tmp_path / ("%d.png" % number)), image)
        seen = []

        def embed(crops):
            seen.extend(crop.shape for crop in crops)
            return np.eye(len(crops), 4, dtype=np.float32)

        target, due = self.kinds("--gallery", str(tmp_path), embed=embed)
        assert target == (GALLERY, ()) and due == [GALLERY]
        assert seen == [(64, 32, 3)] * 3


# -- mistakes ------------------------------------------------------------------------------------


def mistake(capfd, *arguments):
    """Run the command; its one sentence."""
    arguments = [str(a) for a in arguments]
    if arguments[:1] and arguments[0] not in cli.SUBCOMMANDS and "--seconds" not in arguments:
        arguments += ["--seconds", "60"]  # lest a mistake that is not found runs for ever
    code = cli.main(arguments)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("follow-robot")]
    assert code == 2 and out == "", err
    assert len(lines) == 1 and err.count("\n") == len(err.splitlines()), err
    assert "Traceback" not in err and lines[0].endswith("."), err
    return lines[0].partition(": ")[2]


@pytest.fixture
def sim(tmp_path):
    """Options of a run in a simulated world."""
    scenario = tmp_path / "corridor.yaml"
    # What a scenario sets goes before the command line.
    config = {name: fields for name, fields in WALK["config"].items() if name != "dashboard"}
    scenario.write_text(yaml.safe_dump({**WALK, "config": config}), encoding="utf-8")
    return ["--sim", str(scenario), "--port", "0"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--chassis", "tank:/dev/ttyUSB0"], "tank"),
        (["--chassis", "wheeltec"], "wheeltec"),
        (["--chassis", "wheeltec:/dev/x?colour=red"], "colour"),
        (["--set", "safety.sped_mps=0.4"], "did you mean speed_mps"),
        (["--set", "safty.speed_mps=0.4"], "did you mean safety"),
        (["--set", "safety.speed_mps=fast"], "speed_mps"),
        (["--set", "safety.speed_mps=0.4 m/s"], "speed_mps"),
        (["--set", "safety.speed_mps=9"], "hard cap"),
        (["--set", "safety.frame_age_s=5"], "hard cap"),
        (["--set", "camera.height_cm=30"], "height_m"),
        (["--set", "speed"], "section.field=value"),
        (["--port", "99999"], "port"),
        (["--source", ""], "source"),
        (["--config", "/nowhere/car.yaml"], "/nowhere/car.yaml"),
        (["--dry-run", "--chassis", "wheeltec:/dev/x"], "--dry-run"),
        (["--no-dashboard"], "--go"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--threads", "0"], "--threads"),
        ([], "--bundle"),
        (["--bundle", "/nowhere/bundle"], "/nowhere/bundle"),
        (["--sim", "--chassis", "wheeltec:/dev/x"], "--sim"),
        (["--sim", "--source", "0"], "--sim"),
        (["--sim", "--dry-run"], "--sim"),
        (["--sim", "nowhere"], "nowhere"),
        (["--sim", "--bundle", "/nowhere/bundle"], "/nowhere/bundle"),
        (["--sim", "--detector", "/nowhere/d.onnx"], "/nowhere/d.onnx"),
        (["--sim", "--target", "1,2,3"], "left,top,right,bottom"),
        (["--sim", "--target", "1,2,3,nan"], "left,top,right,bottom"),
        (["replay", "/nowhere/run.blackbox"], "/nowhere/run.blackbox"),
        (["config", "/nowhere/car.yaml"], "/nowhere/car.yaml"),
        (["simulate", "nowhere"], "nowhere"),
    ],
)
def test_one_sentence(capfd, arguments, said):
    assert said in mistake(capfd, *arguments)


def test_a_configuration_that_does_not_fit(capfd, tmp_path):
    file = tmp_path / "car.yaml"
    file.write_text("safety:\n  speed_mps: 0.4\n  reverse: yes\n")
    sentence = mistake(capfd, "--config", file)
    assert str(file) in sentence and "line 3" in sentence and "reverse" in sentence


def test_a_gallery_without_photos(capfd, tmp_path, sim):
    (tmp_path / "photos").mkdir()
    assert "photos" in mistake(capfd, *sim, "--gallery", tmp_path / "photos")
    assert "nowhere" in mistake(capfd, *sim, "--gallery", "/nowhere")


def test_a_recording_that_breaks_off_says_so(capfd, tmp_path):
    data = file_of(entries(40))
    path = tmp_path / "half.blackbox"
    path.write_bytes(data[: len(data) // 2])
    assert cli.main(["replay", str(path)]) == 0
    out, err = capfd.readouterr()
    assert "breaks off after" in out and "exactly as recorded" in out and err == ""
    path.write_bytes(data[:200])
    assert "half.blackbox" in mistake(capfd, "replay", path)
    path.write_bytes(b"GIF89a")
    assert "half.blackbox" in mistake(capfd, "replay", path)


class TestPort:
    """The real application up to the port; with a simulated world, whose chassis is named here."""

    @pytest.fixture
    def with_chassis(self, sim, monkeypatch):
        from dataclasses import replace

        from follow_robot.settings import ChassisSettings
        from follow_robot.simulator.live import SimCar

        def with_chassis(spec):
            configuration = SimCar.configuration
            monkeypatch.setattr(
                SimCar,
                "configuration",
                lambda car, config: replace(
                    configuration(car, config), chassis=ChassisSettings(spec)
                ),
            )
            return sim

        return with_chassis

    def test_missing(self, capfd, with_chassis):
        sentence = mistake(capfd, *with_chassis("wheeltec:/dev/nowhere"))
        assert "/dev/nowhere" in sentence

    def test_busy(self, capfd, with_chassis, tmp_path):
        import fcntl

        car = PtyCar(tmp_path)
        file = os.open(car.path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            sentence = mistake(capfd, *with_chassis(car.spec))
            assert car.path in sentence and "busy" in sentence
            assert car.quiet() == []
        finally:
            os.close(file)
            car.close()

    def test_of_the_page_is_in_use(self, capfd, sim):
        import socket

        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            assert "in use" in mistake(capfd, *sim[:2], "--port", port)

    def test_wrong_baud_is_a_warning(self, with_chassis, tmp_path, caplog):
        """A board at another speed sends what looks like noise, and hears noise."""
        import threading

        car, done = PtyCar(tmp_path), threading.Event()
        rng = np.random.default_rng(0)

        def babble():
            while not done.wait(0.02):
                car.say(rng.bytes(40))

        thread = threading.Thread(target=babble)
        thread.start()
        try:
            options = [*with_chassis(car.spec), "--seconds", "6", "--no-dashboard", "--go"]
            assert cli.main(options) == 0
        finally:
            done.set()
            thread.join()
            car.close()
        assert any("baud" in r.getMessage() for r in caplog.records if r.levelname == "WARNING")


# -- what it prints ------------------------------------------------------------------------------


def test_defaults_are_printed_and_are_a_configuration(capfd, tmp_path):
    assert cli.main(["config"]) == 0
    text = capfd.readouterr().out
    assert config_from_text(text, "test") == Config()
    file = tmp_path / "car.yaml"
    file.write_text(text)
    assert cli.main(["config", str(file)]) == 0
    assert config_from_text(capfd.readouterr().out, "test") == Config()
    assert cli.main(["config", "--json", str(file)]) == 0
    assert json.loads(capfd.readouterr().out) == Config().to_dict()


def test_a_checked_file_shows_no_secrets(capfd, tmp_path):
    file = tmp_path / "car.yaml"
    file.write_text(
        "source: {input: 'rtsp://me:geheim12@camera/1'}\ndashboard: {token: geheim1234567890ab}\n"
    )
    assert cli.main(["config", str(file)]) == 0
    assert "geheim" not in capfd.readouterr().out


@pytest.mark.parametrize("subcommand", [None, *cli.SUBCOMMANDS])
def test_help(subcommand):
    arguments = ["--help"] if subcommand is None else [subcommand, "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "follow_robot.cli", *arguments],
        cwd=str(ROOT),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: follow-robot" + (" " + subcommand if subcommand else ""))


def test_help_loads_no_network():
    """The command answers at once, also on a board."""
    code = (
        "import sys; from follow_robot import cli; cli.parser().format_help();"
        "print(sorted(m for m in ('cv2', 'onnxruntime', 'aiohttp', 'torch') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=str(ROOT), stdout=subprocess.PIPE, timeout=120
    )
    assert b"onnxruntime" not in done.stdout and b"torch" not in done.stdout


class TestRun:
    """In this process, in a simulated world."""

    def test_a_short_run(self, capfd, sim, tmp_path):
        runs = tmp_path / "runs"
        options = [*sim, "--seconds", "4", "--front", "--go", "--record", str(runs)]
        assert cli.main([*options, "--json"]) == 0
        out, _ = capfd.readouterr()
        summary = json.loads(out)
        assert summary["frames"] > 5 and summary["latency"]["frames"] > 5
        assert set(summary["latency"]["own"]) == {"p50_ms", "p90_ms", "p99_ms"}
        (recording,) = runs.iterdir()
        assert recording.suffix == ".blackbox"
        assert cli.main(["replay", str(recording), "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["identical"] is True

    def test_the_end_for_people(self, capfd, sim):
        assert cli.main([*sim, "--seconds", "2"]) == 0
        out, err = capfd.readouterr()
        assert out == "" and "frames were answered" in err
        assert "without the networks: p50" in err

    def test_a_part_that_fails_is_exit_4(self, capfd, sim, monkeypatch):
        from follow_robot.simulator.detector import SimDetector

        def fail(self, image):
            raise RuntimeError("it broke")

        monkeypatch.setattr(SimDetector, "detect", fail)
        assert cli.main([*sim, "--json"]) == 4
        out, err = capfd.readouterr()
        assert json.loads(out)["frames"] == 0
        (sentence,) = [line for line in err.splitlines() if line.startswith("follow-robot: ")]
        assert "20 frames in a row" in sentence and "it broke" in sentence
        assert "Traceback" not in err
