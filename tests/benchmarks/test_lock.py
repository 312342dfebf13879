"""The lock benchmark on a drawn sequence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.footage import read_footage
from benchmarks.lock import CachedEmbedder, TrackOnly, main, run, summary
from benchmarks.lock_verdict import Verdict
from runtime.errors import ReidEdgeError
from runtime.lock_types import Person
from runtime.perception import Perception
from runtime.preprocess import read_image
from tests.benchmarks.drawn_sequence import FRAMES, write_sequence
from tests.runtime.drawn import ColourNetwork, perception
from tests.runtime.drawn_onnx import colour_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sequence(tmp_path_factory.mktemp("sequence") / "Drawn")


@pytest.fixture(scope="module")
def footage(folder):
    return read_footage(folder)


def test_everybody_is_followed_and_nobody_else(footage):
    red, green, blue = run(footage, [1, 2, 3], perception)
    for verdict in (red, green, blue):
        assert verdict.enrolled and verdict.wrong == 0 and verdict.wrong_frames == []
        assert verdict.lock_ratio >= 0.8 and verdict.judged == sum(verdict.states.values())
    assert red.judged == green.judged == FRAMES - 10 and blue.judged < FRAMES - 25
    # Blue passes in front of both, who are hidden for a few frames and found again.
    for verdict in (red, green):
        assert FRAMES - 20 < verdict.visible < FRAMES - 10
        assert verdict.right >= verdict.visible - 5 and verdict.states["occluded"] > 0


def test_the_same_behind_a_cut(footage):
    (red,) = run(footage, [1], perception, cut=10)
    assert red.wrong == 0 and red.after_cut is not None and red.after_cut <= 10
    assert red.judged == FRAMES - 20


def test_without_a_network_a_track_is_followed_to_its_end(footage):
    (red,) = run(footage, [1], lambda: Perception(lock=TrackOnly()))
    assert red.enrolled and red.embedded == 0 and red.right > 0
    assert set(red.states) <= {"locked", "searching"}


def test_the_lock_without_a_network():
    lock = TrackOnly()
    nobody = lock.update([Person(7, (0, 0, 9, 9))], 0.0)
    assert nobody.state == "idle" and lock.wanted([Person(7, (0, 0, 9, 9))], 0.0) == []
    lock.enrol(7)
    first = lock.update([Person(3, (5, 5, 9, 9)), Person(7, (0, 0, 9, 9))], 0.1)
    assert (first.state, first.track, first.box, first.event) == (
        "locked",
        7,
        (0, 0, 9, 9),
        "enrolled",
    )
    assert lock.update([Person(7, (1, 0, 9, 9))], 0.2).event is None
    assert lock.update([Person(3, (0, 0, 9, 9))], 0.3) == (
        "searching",
        None,
        None,
        None,
        None,
        None,
    )
    assert lock.update([Person(7, (1, 0, 9, 9))], 0.4).state == "locked"


def test_crops_are_embedded_once(footage):
    network = ColourNetwork()
    cached = CachedEmbedder(network)
    picture = read_image(footage.frames[0])
    crops = [picture[80:200, 90:130], picture[80:190, 240:280], picture[80:200, 90:130].copy()]
    first = cached(crops)
    assert len(network.crops) == 2  # the same pixels twice are one crop
    np.testing.assert_array_equal(first, ColourNetwork()(crops))
    np.testing.assert_array_equal(cached(crops[::-1]), first[::-1])
    assert len(network.crops) == 2
    # The same bytes in another shape are another crop.
    cached([np.ascontiguousarray(crops[0]).reshape(60, 80, 3)])
    assert len(network.crops) == 3


def test_sums():
    a = Verdict(1, True, 10, 8, 6, 1, 2, embedded=3, seen=20, reacquired=[2, 9])
    b = Verdict(2, False, 30, 12, 4, 0, 1, embedded=1, seen=20, reacquired=[4])
    assert summary([a, b]) == {
        "people": 2,
        "enrolled": 1,
        "lock_ratio": 0.5,
        "wrong_lock_ratio": 0.025,
        "wrong_frames": 1,
        "judged_frames": 40,
        "visible_frames": 20,
        "loose_ratio": 0.075,
        "reacquired": 3,
        "reacquire_median_frames": 4,
        "reacquire_max_frames": 9,
        "embeddings_per_person_frame": 0.1,
    }
    nothing = summary([Verdict(1)])
    assert nothing["lock_ratio"] == 0 and nothing["reacquire_median_frames"] is None


def test_who_is_never_visible_cannot_be_followed(footage):
    hidden = replace(footage, visible=[people - {3} for people in footage.visible])
    with pytest.raises(ReidEdgeError, match="Person 3 of Drawn is never visible"):
        run(hidden, [3], perception, cut=5)


# -- the command ---------------------------------------------------------------------------------


def test_the_command_with_a_bundle(folder, tmp_path, capsys):
    bundle = colour_bundle(tmp_path / "bundle")
    capsys.readouterr()
    assert main(["--sequence", str(folder), "--bundle", str(bundle), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["sequence"], said["reid"], said["cut"], said["people"]) == ("Drawn", True, 0, 2)
    assert [each["person"] for each in said["each"]] == [1, 2]  # blue is not there for long enough
    assert said["wrong_frames"] == 0 and said["lock_ratio"] > 0.8 and said["enrolled"] == 2
    assert 0 < said["embeddings_per_person_frame"] < 1
    args = ["--person", "1", "--person", "3", "--cut", "10", "--real-time"]
    assert main(["--sequence", str(folder), "--bundle", str(bundle), *args]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("person  judged  visible  lock ratio  wrong")
    assert [line.split()[0] for line in said[1:3]] == ["1", "3"]
    assert said[3].startswith("2 people: lock ratio ") and "wrong-lock 0.00% (0 of" in said[3]


def test_the_command_without_a_network(folder, capsys):
    assert main(["--sequence", str(folder), "--no-reid", "--min-seconds", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["reid"] is False and said["people"] == 3
    assert said["embeddings_per_person_frame"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give either --bundle or --no-reid."),
        (["--no-reid", "--bundle", "b"], "Give either --bundle or --no-reid."),
        (["--bundle", "nowhere"], "nowhere"),
        (["--no-reid", "--person", "9"], "Drawn annotates [1, 2, 3]; no person [9]."),
        (["--no-reid", "--min-seconds", "60"], "Nobody in Drawn is visible for 610 frames"),
        (["--no-reid", "--min-seconds", "nan"], "must be at least 0"),
        (["--no-reid", "--cut", "-3"], "must be at least 0"),
        (["--no-reid", "--threads", "0"], "--threads at least 1"),
        (["--no-reid", "--person", "1", "--cut", "60"], "Cannot leave out 60 frames"),
        (["--no-reid", "--detections", "none.txt"], "No such file"),
    ],
)
def test_what_the_command_refuses(folder, capsys, arguments, said):
    assert main(["--sequence", str(folder), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("benchmarks.lock: ") and said in err
    assert err.count("\n") == 1


def test_a_sequence_that_is_none(tmp_path, capsys):
    assert main(["--sequence", str(tmp_path), "--no-reid"]) == 2
    assert "seqinfo.ini" in capsys.readouterr().err
