"""A run of the real car, with everything that people and faults did to it, is decided again exactly."""

import time

import pytest

from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.black_box_records import CommandEntry, DecisionEntry, DriveEntry, FrameEntry
from follow_robot.replay import replay
from follow_robot.replay_cli import run
from follow_robot.simulator.scenario_model import FREEZE, SERIAL_UNPLUG, UNPLUG
from tests.follow_robot.sim_bench import WALK, SimBench, corridor

# Now with a range sensor, and somebody who crosses.
SCENARIO = {
    "car": {"range_sensor": True},
    "people": [
        *WALK["people"],
        {"name": "passer", "look": {"seed": 5}, "passing": {"at_s": 8, "share": 0.6}},
    ],
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    failed = []

    def change(eyes):
        def embed(crops):
            if failed and failed[-1] > 0:
                failed[-1] -= 1
                raise RuntimeError("out of memory")
            return eyes.embed(crops)

        return eyes._replace(embed=embed)

    config = "recording: {folder: '%s'}" % folder
    with SimBench(corridor(**SCENARIO), False, False, config, change) as bench:
        bench.until(lambda: bench.app.frames > 3)
        bench.choose()
        bench.wish("go")
        bench.moves()
        bench.wish("set", values={"distance_m": 1.5})
        failed.append(2)
        bench.until(lambda: failed[-1] == 0)
        bench.moves()
        bench.app.hub.stop("page 1")
        bench.until(lambda: bench.app.link.status().pressed)
        bench.follows()
        for fault in (FREEZE, UNPLUG, SERIAL_UNPLUG):
            bench.begin(fault)
            time.sleep(0.6)
            bench.mend()
            bench.follows()
        bench.wish("release")
        bench.until(lambda: bench.app.pilot.perception.lock.state == "idle")
        bench.frames = bench.app.frames
    assert bench.error is None
    (path,) = folder.iterdir()
    return path


def test_the_run_has_all_of_it(recording):
    with BlackBoxReader(recording) as reader:
        found = list(reader)
        assert reader.cut is None and reader.missing == 0
    frames = [e for e in found if isinstance(e, FrameEntry)]
    ticks = [e for e in found if isinstance(e, DriveEntry)]
    assert sum(e.failed for e in frames) == 2
    assert {c.kind for e in frames for c in e.choices} >= {"choose_front", "go", "hold", "set"}
    assert any(e.frame_time_s < e.observation.time_s for e in frames)  # frozen
    assert any(e.pressed for e in ticks) and any(not e.written for e in ticks)
    assert any(e.obstacle is not None for e in ticks) and any(e.velocity.vx_mps > 0 for e in ticks)
    assert sum(isinstance(e, CommandEntry) for e in found) >= 3  # two failures and the end
    assert any(isinstance(e, DecisionEntry) for e in found)
    assert ticks[-1].velocity.is_stop  # the last word of the run


def test_it_is_decided_again_exactly(recording):
    report = replay(recording)
    assert report.identical, report.text()
    assert report.cut is None and report.broken is None
    assert report.frames > 20 and report.decisions >= report.frames - 2
    assert report.ticks > report.frames and report.ticks_without_command == 0
    assert report.not_recorded == 0


def test_the_command_says_so(recording, capsys):
    assert run([str(recording)]) == 0
    assert "exactly as recorded" in capsys.readouterr().out


def test_other_settings_are_seen(recording):
    report = replay(recording, ["controller.speed_mps=0.3"])
    assert not report.identical
    assert any("velocity" in name for name in report.counts)


def test_every_cut_is_replayed_up_to_there(recording, tmp_path):
    data = recording.read_bytes()
    path = tmp_path / "cut.blackbox"
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        report = replay(path)
        assert report.identical and report.cut is not None, report.text()
