"""A recording decided again: the same to the last bit, or the difference is named."""

import copy
import io
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest

from follow_robot.black_box import PART, BlackBox, RecordingSettings
from follow_robot.black_box_codec import encode
from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    DriveEntry,
    FrameEntry,
    HeaderEntry,
)
from follow_robot.replay import replay, replay_of
from follow_robot.replay_cli import run as command
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.recorded_run import CONFIG, entries, file_of, file_of_records

RUN = entries()


def recorded(folder: Path, run, numbers=None) -> Path:
    path = folder / "run.blackbox"
    path.write_bytes(file_of(run, numbers))
    return path


def position(run, kind, which=0) -> int:
    """Place of the ``which``-th entry of a kind."""
    return [index for index, entry in enumerate(run) if isinstance(entry, kind)][which]


def changed(which: int, kind, change) -> list:
    """The run with one entry changed."""
    run = list(RUN)
    index = position(run, kind, which)
    run[index] = change(run[index])
    return run


def test_the_run_is_worth_replaying():
    """It locks, crosses, loses, moves, is pressed and unplugged; else the tests below say little."""
    decisions = [e.data for e in RUN if isinstance(e, DecisionEntry)]
    ticks = [e for e in RUN if isinstance(e, DriveEntry)]
    events = {d["lock"]["event"] for d in decisions}
    assert {"enrolled", "occluded", "reacquired"} <= events
    assert any(d["command"]["velocity"]["vx_mps"] > 0.2 for d in decisions)
    assert any(t.velocity.vx_mps > 0.2 for t in ticks)
    assert any(t.pressed for t in ticks) and any(not t.written for t in ticks)
    reasons = " ".join(r for t in ticks for r in t.reasons)
    assert all(s in reasons for s in ("emergency stop: button", "obstacle near", "as fast as"))
    assert any(isinstance(e, CommandEntry) for e in RUN)


def test_everything_comes_out_as_it_was(tmp_path):
    report = replay(recorded(tmp_path, RUN))
    assert report.identical, report.text()
    assert report.first is None and report.cut is None and report.broken is None
    assert (report.frames, report.decisions) == (120, 119)  # one frame failed
    assert report.ticks == sum(isinstance(e, DriveEntry) for e in RUN)
    assert report.not_recorded == report.ticks_without_command == 0
    assert "Every decision came out exactly as recorded." in report.text()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_runs_too(tmp_path, seed):
    report = replay(recorded(tmp_path, entries(60, seed=seed)))
    assert report.identical, report.text()


def test_a_target_from_photos(tmp_path):
    run = entries(40, gallery=True)
    assert any(e.data["lock"]["state"] == "locked" for e in run if isinstance(e, DecisionEntry))
    report = replay(recorded(tmp_path, run))
    assert report.identical, report.text()


def test_through_the_writer(tmp_path):
    settings = RecordingSettings(folder=str(tmp_path), min_free_mb=0)
    with BlackBox(settings, RUN[0]) as box:
        for entry in RUN[1:-1]:
            assert box.put(entry)
    assert box.path.suffix == ".blackbox"
    report = replay(box.path)
    assert report.identical and report.decisions == 119, report.text()


def test_a_decision_that_was_another_is_named_with_both_values(tmp_path):
    def change(entry):
        data = copy.deepcopy(entry.data)
        data["command"]["velocity"]["vx_mps"] = np.nextafter(
            data["command"]["velocity"]["vx_mps"], 9.0
        )  # by one bit
        return DecisionEntry(data)

    run = changed(30, DecisionEntry, change)
    was = RUN[position(RUN, DecisionEntry, 30)].data["command"]["velocity"]["vx_mps"]
    report = replay(recorded(tmp_path, run))
    assert was > 0
    assert report.counts == {"command.velocity.vx_mps": 1}
    assert report.first is not None
    assert report.first.field == "command.velocity.vx_mps"
    assert (report.first.recorded, report.first.replayed) == (np.nextafter(was, 9.0), was)
    assert report.first.time_s == pytest.approx(30 / 15)
    assert "command.velocity.vx_mps: %r -> %r" % (report.first.recorded, was) in report.text()
    assert replay(recorded(tmp_path, run), tolerance=1e-9).identical


def test_a_small_change_of_an_embedding_is_noticed(tmp_path):
    frames = [e for e in RUN if isinstance(e, FrameEntry)]
    which = next(i for i, e in enumerate(frames) if i > 20 and 0 in e.rows)

    def change(entry):
        return entry._replace(embeddings=entry.embeddings * np.float32(1 + 1e-6))

    report = replay(recorded(tmp_path, changed(which, FrameEntry, change)))
    assert not report.identical
    assert "lock.similarity" in report.counts


def test_a_tick_that_was_another_is_named(tmp_path):
    moving = [
        i
        for i, e in enumerate(e for e in RUN if isinstance(e, DriveEntry))
        if e.velocity.vx_mps > 0.2
    ]

    def change(entry):
        return entry._replace(velocity=Velocity(0.1), reasons=("as it pleased",))

    report = replay(recorded(tmp_path, changed(moving[0], DriveEntry, change)))
    assert report.first is not None and report.first.field.startswith("drive.")
    assert report.counts["drive.velocity.vx_mps"] == 1
    assert report.counts["drive.reasons"] >= 1


def test_bytes_that_do_not_say_the_velocity_are_named(tmp_path):
    def change(entry):
        return entry._replace(sent=b"\x7b" * 11)

    report = replay(recorded(tmp_path, changed(5, DriveEntry, change)))
    assert report.counts == {"drive.sent": 1}


def test_a_choice_that_was_not_recorded_shows(tmp_path):
    run = [e._replace(choices=()) if isinstance(e, FrameEntry) else e for e in RUN]
    report = replay(recorded(tmp_path, run))
    assert report.first is not None and report.first.field.startswith(("lock.", "rows", "people."))


def test_other_settings_show_what_they_would_have_changed(tmp_path):
    path = recorded(tmp_path, RUN)
    report = replay(path, ["controller.speed_mps=0.2"])
    assert not report.identical
    assert all(name.startswith(("command.", "drive.")) for name in report.counts), report.counts
    assert "with controller.speed_mps=0.2" in report.text()
    slower = replay(path, ["safety.speed_mps=0.1"])
    assert all(name.startswith("drive.") for name in slower.counts) and slower.counts
    pickier = replay(path, ["lock.strict=0.99", "lock.accept=0.98"])
    assert any(name.startswith("lock.") for name in pickier.counts)
    assert any(was != now for _, was, now in pickier.lock_events)
    with pytest.raises(ReidEdgeError, match="give distance_m in metres"):
        replay(path, ["controller.distance_cm=200"])


def test_a_changed_setting_beats_what_the_user_set_by_hand_then(tmp_path):
    path = recorded(tmp_path, RUN)  # at frame 40 the distance was set to 1 m

    def last_difference_s(*overrides):
        found = replay(path, overrides, keep=10**6).found
        return max((f.time_s for f in found if f.field.startswith("command.")), default=0.0)

    assert last_difference_s("controller.distance_m=3.5") > 90 / 15


def test_crops_that_the_run_did_not_embed_are_counted(tmp_path):
    path = recorded(tmp_path, RUN)
    report = replay(path, ["bundle.schedule.share=1.0", "bundle.schedule.refresh_s=0.1"])
    assert report.not_recorded > 50
    assert "crops were wanted that the recorded run had not embedded" in report.text()


def test_a_recording_without_any_embedding(tmp_path):
    run = [RUN[0]._replace(strangers=None)]
    run += [
        e._replace(embeddings=None, rows=(), choices=()) for e in RUN if isinstance(e, FrameEntry)
    ]
    report = replay(recorded(tmp_path, run))
    assert report.frames == 120 and report.not_recorded > 0 and report.decisions == 0


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_recording_that_breaks_off_is_replayed_up_to_there(tmp_path, share):
    whole = file_of(RUN)
    path = tmp_path / ("run.blackbox" + PART)
    path.write_bytes(whole[: int(share * len(whole))])
    report = replay(path)
    assert report.identical, report.text()
    assert report.cut is not None and "breaks off" in report.cut and report.cut in report.text()
    assert report.frames == pytest.approx(120 * share, abs=25)


def test_what_a_slow_disk_cost_ends_the_replay(tmp_path):
    kept = position(RUN, FrameEntry, 60)
    numbers = [*range(kept), *range(kept + 3, len(RUN) + 3)]
    report = replay(recorded(tmp_path, RUN, numbers))
    assert report.identical and report.frames == 60
    assert report.broken is not None and report.broken.startswith("3 records are missing")
    assert report.broken in report.text()


def test_an_empty_run_has_nothing_to_compare(tmp_path):
    report = replay(recorded(tmp_path, [RUN[0], RUN[-1]]))
    assert report.identical and "There was nothing to compare." in report.text()


def test_time_that_runs_backwards_is_a_difference(tmp_path):
    def change(entry):
        return entry._replace(observation=entry.observation._replace(time_s=1.0))

    report = replay(recorded(tmp_path, changed(10, FrameEntry, change)))
    assert report.first is not None and report.first.field == "frame"
    assert "Frames must come in the order of their times" in report.first.replayed


def test_settings_of_another_version_are_refused(tmp_path):
    config = CONFIG.to_dict()
    config["lock"]["charm"] = 1.0
    path = recorded(tmp_path, [RUN[0]._replace(config=config), *RUN[1:]])
    with pytest.raises(ReidEdgeError, match="unknown field charm") as caught:
        replay(path)
    assert str(path) in str(caught.value)


def test_progress_counts_frames(tmp_path):
    seen: list = []
    replay(recorded(tmp_path, RUN[:200]), progress=seen.append)
    assert seen == list(range(1, len(seen) + 1)) and len(seen) > 20


# -- the command ------------------------------------------------------------------------------------


def test_command_says_that_all_is_the_same(tmp_path, capsys):
    assert command([str(recorded(tmp_path, RUN))]) == 0
    assert "exactly as recorded" in capsys.readouterr().out


def test_command_ends_with_3_on_a_difference_and_0_if_it_was_wanted(tmp_path, capsys):
    path = recorded(tmp_path, RUN)
    assert command([str(path), "--set", "controller.speed_mps=0.2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identical"] is False and told["changed"] == ["controller.speed_mps=0.2"]
    assert told["first"][0]["field"] in told["counts"]
    wrong = changed(3, DecisionEntry, lambda e: DecisionEntry({**e.data, "index": 99}))
    assert command([str(recorded(tmp_path, wrong)), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    (first,) = told["first"]
    assert first.pop("time_s") == pytest.approx(0.2)
    assert first == {"field": "index", "recorded": 99, "replayed": 3}


def test_command_dumps_records_as_json_lines(tmp_path, capsys):
    whole = file_of(RUN)
    path = tmp_path / "run.blackbox"
    path.write_bytes(whole[:-5])
    assert command([str(path), "--dump"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(RUN)  # without the end, which is cut, but with the note about it
    assert lines[0]["kind"] == "header" and lines[-1]["kind"] == "cut"
    frame = next(line for line in lines if line["kind"] == "frame")
    assert np.shape(frame["boxes"]) == (3, 4)


def test_command_says_in_one_sentence_what_is_no_recording(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    for arguments in ([str(path)], [str(path), "--dump"], [str(tmp_path / "none")]):
        assert command(arguments) == 2
        told = capsys.readouterr().err
        assert told.startswith("follow-robot replay: ") and told.count("\n") == 1
    assert command([str(path), "--tolerance", "-1"]) == 2


def test_the_header_is_the_first_entry():
    assert isinstance(RUN[0], HeaderEntry)


# -- recordings that nobody recorded ------------------------------------------------------------------


@pytest.mark.parametrize("dim", [4, 20])
def test_embeddings_of_another_network_are_a_difference(tmp_path, dim):
    strangers = np.ones((2, dim), np.float32)
    report = replay(recorded(tmp_path, [RUN[0]._replace(strangers=strangers), *RUN[1:200]]))
    assert report.first is not None and report.first.field == "recording"
    assert "refused" in report.text()


def test_impossible_numbers_end_in_differences():
    """Mutations with right checksums: whatever they say, a replay reports."""
    rng = random.Random(4)
    run = entries(12)
    path = Path("run.blackbox")
    records = [encode(entry, number) for number, entry in enumerate(run)]
    outcomes = {True: 0, False: 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of overflows
        for _ in range(60):
            changed = list(records)
            at = rng.randrange(1, len(records))
            changed[at] = impossible(records[at], rng)
            reader = BlackBoxReader(path, io.BytesIO(file_of_records(changed)))
            outcomes[replay_of(reader).identical] += 1
    assert outcomes[False] > 5


def impossible(record, rng: random.Random):
    """A record with one number that no car records."""
    wild = rng.choice((0.0, -1.0, 1e308, -1e308, 1e-320, 65536.0, 123456789.0))
    names = [
        name for name, array in record.arrays.items() if array.dtype.kind == "f" and array.size
    ]
    if names and rng.random() < 0.6:
        name = rng.choice(names)
        array = record.arrays[name].copy()
        most = float(np.finfo(array.dtype).max)
        array.flat[rng.randrange(array.size)] = max(min(wild, most), -most)
        return record._replace(arrays={**record.arrays, name: array})
    numbers = [name for name, value in record.data.items() if isinstance(value, float)]
    if not numbers:
        return record
    return record._replace(data={**record.data, rng.choice(numbers): wild})
