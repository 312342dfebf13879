"""The target lock in composed scenes in which it is likely to lose or mistake the person.

Crossing, occlusion, leaving and coming back, a look-alike, a change of light; real crops of people
before real streets. The thresholds were set on other seeds, and on other identities.
"""

import cv2
import numpy as np
import pytest

from runtime.perception import Perception
from tests.runtime.scenarios import KINDS, Casting, play, read_people, split_identities

SEEDS = range(100, 140)


@pytest.fixture(scope="module")
def stage(shared, osnet):
    """Casting, and what makes a fresh perception."""
    bundle, embedder = osnet
    folder = shared / "data" / "market1501"
    people = read_people(folder, split_identities(folder)[1])
    looks = np.stack([embedder.embed(list(person.crops)).mean(axis=0) for person in people])
    streets = []
    for name in ("ETH-Sunnyday", "TUD-Stadtmitte"):
        files = sorted((shared / "video" / name / "img1").glob("*.jpg"))
        streets += [cv2.imread(str(file)) for file in files[:: len(files) // 4]]
    casting = Casting(people, looks, streets)
    return casting, lambda: Perception.with_bundle(bundle, embed=embedder.embed)


def played(stage, kind, seeds):
    """Outcome per seed; none may follow somebody else for a single frame."""
    casting, make = stage
    outcomes = {seed: play(casting.scenario(kind, seed), make()) for seed in seeds}
    wrong = {seed: outcome.wrong for seed, outcome in outcomes.items() if outcome.wrong}
    assert not wrong, "%s: wrong frames by seed: %s" % (kind, wrong)
    assert all(outcome.enrolled for outcome in outcomes.values())
    return list(outcomes.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_of_each_kind(stage, kind):
    outcomes = played(stage, kind, SEEDS[:2])
    assert sum(outcome.regained for outcome in outcomes) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_else_is_ever_followed(stage, kind):
    outcomes = played(stage, kind, SEEDS)
    # To stand still for ever would be no lock either.
    assert np.mean([outcome.regained for outcome in outcomes]) >= 0.85
    assert np.mean([outcome.followed for outcome in outcomes]) >= 0.55
