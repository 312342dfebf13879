"""The whole car in a simulated world, through its real driver process, port and protocol."""

import time

import pytest

from follow_robot.app import PartFailed
from follow_robot.estop import StopSource
from runtime.errors import ReidEdgeError
from tests.follow_robot.pty_car import last_stops
from tests.follow_robot.sim_bench import STOP_S, WALK, SimBench, corridor, say


class Button(StopSource):
    """Somebody with a finger on the emergency stop."""

    name = "button"

    def start(self, press):
        self.press = press

    def stop(self):
        pass


@pytest.fixture(scope="module")
def button():
    return Button()


@pytest.fixture(scope="module")
def waiting(button):
    """A car that nobody has told anything."""
    with SimBench(go=False, front=False, stops=[button]) as bench:
        yield bench
    assert bench.error is None
    assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats


@pytest.fixture
def going(waiting):
    """The same, following."""
    bench, app = waiting, waiting.app
    if app.link.status().pressed:
        bench.rearm()
    if app.pilot.perception.lock.state == "idle":
        bench.choose()
    bench.wish("go")
    bench.moves()
    return bench


def test_choose_then_go(waiting):
    """Nothing moves before both; then the car itself moves, and keeps its distance."""
    bench = waiting
    bench.wire.wait_for(lambda frames: len(frames) > 20)
    bench.choose()
    bench.until(lambda: bench.app.pilot.perception.lock.state == "locked")
    count = len(bench.wire.frames)
    bench.wire.wait_for(lambda frames: len(frames) > count + 20)
    assert bench.wire.last_move_s() == 0.0
    bench.wish("go")
    bench.moves()
    bench.until(lambda: bench.real_velocity() > 0.2)
    bench.until(lambda: abs(bench.distance_m() - 1.7) < 0.4)


def test_hold_stops_and_go_goes_on(going):
    began_s = say(going, "hold")
    last_s = going.stands()
    assert last_s - began_s < 2.0  # a wish waits for a frame, then the car brakes
    assert going.app.pilot.perception.lock.state in ("locked", "occluded")
    going.wish("go")
    going.moves()


def test_the_page_stops_at_once_and_latches(going):
    began_s = time.monotonic()
    going.app.hub.stop("page 1")
    last_s = going.stands()
    print("STOP: last move %.0f ms after" % (1e3 * (last_s - began_s)))
    assert last_s - began_s < 0.25
    assert going.app.link.status().pressed == ("STOP pressed by page 1",)


@pytest.mark.parametrize("who", ["page", "button"])
def test_after_a_stop_both_rearming_and_go_are_needed(going, button, who):
    bench = going
    if who == "page":
        bench.app.hub.stop("page 1")
    else:
        button.press("button")
    bench.stands(for_s=0.3)
    bench.until(lambda: bench.app.hub.newest().status["stop"]["pressed"])
    with pytest.raises(ReidEdgeError, match="re-arm it first"):
        bench.wish("go")
    assert bench.app.hub.newest().status["mode"] == "hold"
    bench.rearm()
    rearmed_s = time.monotonic()
    bench.until(lambda: time.monotonic() - rearmed_s > 1.0)
    assert bench.wire.last_move_s() < rearmed_s
    bench.wish("go")
    bench.moves()


def test_release_stops(going):
    began_s = say(going, "release")
    assert going.stands() - began_s < 2.0
    assert going.app.pilot.perception.lock.state == "idle"


def test_settings_of_the_page_are_taken(going):
    going.wish("set", values={"distance_m": 2.4, "speed_mps": 0.6})
    going.until(lambda: going.app.pilot.follower.controller.settings.distance_m == 2.4)
    going.until(lambda: abs(going.distance_m() - 2.4) < 0.4)
    count = len(going.wire.frames)
    going.wire.wait_for(lambda frames: len(frames) > count + 20)
    assert max(f.vx_mps for f in going.wire.frames[count + 5 :]) <= 0.6


def test_somebody_who_is_not_there_cannot_be_chosen(going):
    going.wish("choose", box=(2.0, 2.0, 6.0, 6.0))
    going.until(
        lambda: any(
            "Nobody is seen at [2.0, 2.0" in event.text for event in going.app.hub.events_since(0)
        )
    )
    going.moves()  # the target is still the one it was


def test_a_target_that_vanishes_stops_the_car():
    """Gone from one moment to the next, while the camera goes on looking."""
    people = [dict(WALK["people"][0], present_to_s=9.0)]
    with SimBench(corridor(people=people)) as bench:
        bench.moves()
        last_s = bench.stands(30.0)
        gone_s = bench.monotonic_of(9.0)
    assert bench.error is None
    print("target gone: last move %.0f ms after" % (1e3 * (last_s - gone_s)))
    assert last_s - gone_s < STOP_S + 0.25
    assert last_stops(bench.wire.frames) >= 5


def test_the_end_of_the_source_is_the_end_of_the_run():
    with SimBench() as bench:
        bench.moves()
        bench.car._source.close()
        assert bench.wait() is None
    assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats
    assert bench.app.frames > 10


def test_end_from_another_thread():
    with SimBench() as bench:
        bench.moves()
        began_s = time.monotonic()
        bench.app.end()
        assert bench.wait() is None
        last_s = bench.wire.last_move_s()
    print("end: last move %.0f ms after" % (1e3 * (last_s - began_s)))
    assert last_s - began_s < STOP_S + 0.25
    assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats


def test_what_cannot_be_opened_moves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    for section in (
        "obstacle: {open: 'lines:%s'}" % (tmp_path / "none"),
        "estop: {devices: ['joystick:%s']}" % (tmp_path / "none"),
        "recording: {folder: '%s'}" % (tmp_path / "file" / "below"),
    ):
        with SimBench(config=section) as bench:
            error = bench.wait()
        assert isinstance(error, ReidEdgeError) and not isinstance(error, PartFailed)
        assert not bench.app.started and bench.wire.last_move_s() == 0.0
        assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats
        assert "\n" not in str(error) and str(error).endswith(".")
