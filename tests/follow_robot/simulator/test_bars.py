"""The simulator's bars: many seeded scenarios, in which somebody crosses, hides or resembles the target."""

import time

import pytest

from follow_robot.simulator.generator import KINDS, random_scenario
from follow_robot.simulator.run import play

LATEST_S, DISTANCE_RMS_M = 0.35, 0.3
SEEDS = {
    "steady": 6,
    "crossing": 9,
    "occlusion": 8,
    "lookalike": 11,
    "leave_and_return": 4,
    "corridor_turn": 4,
    "crowd": 8,
}


def check(result):
    assert result.wrong_frames == [], result.summary()
    assert result.after_target_s <= LATEST_S, result.summary()
    assert result.after_frames_s <= LATEST_S, result.summary()
    assert result.enrolled_s is not None, result.summary()
    assert not set(result.collisions) - {"wall"}, result.summary()


@pytest.mark.parametrize("kind", ["crossing", "lookalike", "leave_and_return"])
def test_one_of_a_kind(viewer, kind):
    check(play(random_scenario(kind, 100), viewer))


@pytest.mark.slow
def test_the_bars_hold_over_fifty_scenarios(viewer):
    assert sum(SEEDS.values()) >= 50
    started_s, simulated_s, results = time.process_time(), 0.0, []
    for kind in KINDS:
        for seed in range(SEEDS[kind]):
            result = play(random_scenario(kind, seed), viewer)
            check(result)
            results.append(result)
            simulated_s += result.duration_s
    took_s = time.process_time() - started_s
    steady = [r for r in results if r.kind == "steady"]
    for result in steady:
        assert result.steady_s > 2 and result.distance_rms_m <= DISTANCE_RMS_M, result.summary()
    # The car does follow: nothing above is met by standing still.
    assert all(r.way_m > 0.5 for r in results)
    assert sum(r.following_share for r in results) / len(results) > 0.8
    assert sum(r.following_share for r in steady) / len(steady) > 0.95
    assert simulated_s / took_s >= 5, "%.0f s took %.0f s" % (simulated_s, took_s)
    print(
        "%d scenarios, %.0f simulated s in %.0f s of one core: %.1f times real time; "
        "worst distance RMS %.2f m; latest command %.2f s after the target"
        % (
            len(results),
            simulated_s,
            took_s,
            simulated_s / took_s,
            max(r.distance_rms_m for r in steady),
            max(r.after_target_s for r in results),
        )
    )
