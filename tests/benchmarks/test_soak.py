"""The soak: a looped source, samples of memory, and the verdict."""

import itertools
import json
import mmap

import numpy as np
import pytest

from benchmarks.soak import Looped, Rss, Sample, main, resident_mb, soak
from runtime.errors import ReidEdgeError
from runtime.sources import Frame, Source, open_source
from tests.benchmarks.drawn_sequence import FRAMES, scene, write_sequence
from tests.runtime.drawn import found, perception
from tests.runtime.drawn_onnx import colour_bundle, colour_detector


class Clock:
    """Time that passes by ``step_s`` whenever it is asked for."""

    def __init__(self, step_s=0.0):
        self.now_s, self.step_s = 100.0, step_s

    def __call__(self):
        self.now_s += self.step_s
        return self.now_s


class Reel(Source):
    """Frames of these times."""

    name, fps = "reel", 10.0

    def __init__(self, times_s, live=False):
        self.times_s, self.live, self.closed = list(times_s), live, 0

    @property
    def ended(self):
        return not self.times_s

    def read(self, timeout_s=None):
        if not self.times_s or self.closed:
            return None
        return Frame(np.zeros((2, 2, 3), np.uint8), 0, self.times_s.pop(0))

    def close(self):
        self.closed += 1


def test_a_reel_goes_on_where_it_ended():
    reels, clock = [], Clock()

    def reopen():
        reels.append(Reel([0.0, 0.1, 0.2]))
        return reels[-1]

    looped = Looped(reopen, 60.0, clock)
    assert (looped.name, looped.live, looped.fps, looped.rounds) == ("reel", False, 10.0, 1)
    frames = [looped.read() for _ in range(7)]
    assert [f.index for f in frames] == list(range(7))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(7) / 10)
    assert looped.rounds == 3 and [reel.closed for reel in reels] == [1, 1, 0]
    assert not looped.ended
    clock.now_s += 60
    assert looped.ended and looped.read() is None
    looped.close()
    assert reels[-1].closed == 1


def test_closed_it_gives_nothing_more():
    looped = Looped(lambda: Reel([0.0]), 60.0, Clock())
    looped.close()
    assert looped.ended and looped.read() is None


def test_a_source_without_frames_ends():
    looped = Looped(lambda: Reel([]), 60.0, Clock())
    assert looped.read() is None and looped.rounds == 2


def test_a_camera_is_not_looped():
    opened = []

    def camera():
        opened.append(Reel([5.0, 5.3], live=True))
        return opened[-1]

    looped = Looped(camera, 60.0, Clock())
    assert looped.live and [looped.read().time_s for _ in range(2)] == [5.0, 5.3]
    assert looped.ended and looped.read() is None and len(opened) == 1


def test_samples_once_per_interval():
    clock, told = Clock(), []
    memory = iter([100.0, 104.0, 103.0])
    rss = Rss(60.0, told.append, lambda: next(memory), clock)
    assert rss.growth is None
    for frames in range(1, 37):
        clock.now_s += 5
        rss.after(frames)
    assert rss.samples == told == [Sample(60, 100, 12), Sample(120, 104, 24), Sample(180, 103, 36)]
    assert rss.growth == pytest.approx(0.04)  # the worst of the later ones


def test_memory_that_shrinks_has_not_grown():
    clock = Clock()
    memory = iter([100.0, 90.0])
    rss = Rss(1.0, rss_mb=lambda: next(memory), clock_s=clock)
    for _ in range(2):
        clock.now_s += 1
        rss.after(1)
    assert rss.growth == pytest.approx(-0.1)


def test_resident_memory(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t  2000 kB\nVmData: 1 kB\n")
    assert resident_mb(status) == pytest.approx(2.048)
    with pytest.raises(ReidEdgeError, match="run this on Linux"):
        resident_mb(tmp_path / "none")
    before = resident_mb()
    with mmap.mmap(-1, 64_000_000) as block:  # fresh pages: an array may get memory that was freed
        block.write(b"x" * 64_000_000)
        assert 50 < resident_mb() - before < 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sequence(tmp_path_factory.mktemp("sequence") / "Drawn")


def test_a_run_through_everything(folder):
    asked = []

    def detect(picture):
        asked.append(picture.shape)
        return found(list(scene((len(asked) - 1) % FRAMES).values()))

    chain = perception(detect=detect)
    # Time passes by 1/8 s per frame (a sum of these is exact), and memory is read every 5 s.
    source = Looped(lambda: open_source(str(folder)), 15.0, Clock(0.125))
    memory = iter([100.0, 101.0, 102.0])
    clock = Clock(0.125)
    result = soak(source, chain, Rss(5.0, rss_mb=lambda: next(memory), clock_s=clock))
    assert result["frames"] == len(asked) > 2 * FRAMES and source.rounds >= 3
    assert result["growth"] == pytest.approx(0.01) and len(result["samples"]) == 2
    assert result["samples"][0] == {"seconds": 5, "rss_mb": 100, "frames": 40}
    assert result["events"]["enrolled"] >= 1 and result["tracks"] >= 3
    assert 0 < result["embeddings_per_person_frame"] < 1
    assert result["stages"]["output"]["p50_ms"] > 0
    json.dumps(result)


def test_too_few_samples_say_nothing(folder):
    source = Looped(lambda: open_source(str(folder)), 0.5, Clock(0.125))
    with pytest.raises(ReidEdgeError, match="from two samples on, got 0 in 3 frames"):
        soak(source, perception(detect=lambda picture: found([])), Rss(60.0))


def test_a_lost_target_is_replaced(folder):
    """After ten seconds in which nobody is there who looks like the target, another is chosen."""
    number = iter(range(10**6))

    def detect(picture):
        n = next(number)
        return found([scene(0)["red"]] if n < 20 else [scene(0)["green"]] if n > 40 else [])

    chain = perception(detect=detect)
    source = Looped(lambda: open_source(str(folder)), 25.0, Clock(0.125))
    memory = iter([1.0] * 99)
    events = soak(source, chain, Rss(4.0, rss_mb=lambda: next(memory), clock_s=Clock(0.125)))[
        "events"
    ]
    assert events["lost"] == 1 and events["enrolled"] == 2


# -- the command ---------------------------------------------------------------------------------


def test_the_command(folder, tmp_path, capsys):
    bundle = colour_bundle(tmp_path / "bundle")
    detector = colour_detector(tmp_path / "net.onnx", [scene(0)["red"], scene(0)["green"]])
    capsys.readouterr()
    arguments = ["--source", str(folder), "--detector", str(detector), "--bundle", str(bundle)]
    # A few seconds show that it runs; in these, memory is still being built up.
    arguments += ["--minutes", "0.1", "--interval", "2", "--limit", "0.5"]
    assert main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 5 and out[0].split()[1:3:2] == ["s"] and " MB " in out[0]
    assert "lock events {'enrolled': 1" in out[3] and out[4].endswith(" % later: passed")


def test_growth_fails(folder, tmp_path, capsys, monkeypatch):
    bundle = colour_bundle(tmp_path / "bundle")
    memory = itertools.chain([100.0], itertools.repeat(106.0))
    monkeypatch.setattr("benchmarks.soak.resident_mb", lambda: next(memory))
    arguments = ["--source", str(folder), "--bundle", str(bundle), "--minutes", "0.03"]
    arguments += ["--interval", "0.2", "--limit", "0.05"]
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["passed"] is False and said["growth"] == pytest.approx(0.06)
    assert said["machine"]["usable_cores"] >= 1 and said["rounds"] >= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--minutes", "1"], "at least two of them in its minutes"),
        (["--interval", "0"], "an interval above 0 s"),
        (["--limit", "-0.1"], "a limit of at least 0"),
        (["--minutes", "nan"], "at least two of them"),
        ([], "nowhere"),
    ],
)
def test_what_the_command_refuses(capsys, arguments, said):
    assert main(["--source", "nowhere.mp4", "--bundle", "nowhere", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("benchmarks.soak: ") and said in err
