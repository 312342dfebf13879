"""The target lock on people whose embeddings are drawn: each transition and its guard.

Similarities are like those of a real network on real crops: about 0.8 between crops of one person and
0.36 between people.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from runtime.lock import TargetLock
from runtime.lock_types import STATES, LockSettings, Person
from runtime.memory import SceneMean

DIM, FPS = 128, 10.0
COMMON = np.random.default_rng(99).standard_normal(DIM)
COMMON /= np.linalg.norm(COMMON)


class Cast:
    """People with looks: ``crop(name)`` draws one embedding of a person."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.looks = {}

    def look(self, name, like=None, likeness=0.0):
        own = self.rng.standard_normal(DIM)
        own /= np.linalg.norm(own)
        if like is not None:
            own = likeness * self.looks[like] + np.sqrt(1 - likeness**2) * own
        self.looks[name] = own
        return self

    def crop(self, name, noise=0.4):
        vector = 0.68 * COMMON + 0.72 * self.looks[name]
        vector = vector + noise * self.rng.standard_normal(DIM) / np.sqrt(DIM)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def strangers(count=8):
    """Embeddings of other people, as a bundle brings them."""
    cast = Cast(1234)
    return np.stack([cast.look(str(i)).crop(str(i)) for i in range(count)])


class Scene:
    """Feeds frames to a lock, embedding only what it wants, and remembers what it said."""

    def __init__(self, cast, lock=None):
        self.cast, self.time_s = cast, 0.0
        self.lock = lock or TargetLock(scene=SceneMean(strangers()))
        self.said, self.embedded, self.shown = [], 0, 0

    def frame(self, *people, embed=None):
        """``people``: (track, name, further fields of Person)."""
        shown = [Person(t, (10 * t, 0, 10 * t + 8, 20), **extra) for t, _, extra in people]
        wanted = set(self.lock.wanted(shown, self.time_s)) if embed is None else set(embed)
        self.embedded += len(wanted)
        self.shown += len(shown)
        crops = [
            p._replace(embedding=self.cast.crop(name)) if p.track in wanted else p
            for p, (_, name, _) in zip(shown, people)
        ]
        out = self.lock.update(crops, self.time_s)
        names = {t: name for t, name, _ in people}
        self.said.append((out, names.get(out.track)))
        self.time_s += 1 / FPS
        return out

    def frames(self, count, *people):
        return [self.frame(*people) for _ in range(count)][-1]

    def events(self):
        return [out.event for out, _ in self.said if out.event]

    def followed(self):
        return {name for out, name in self.said if out.state == "locked"}


def seen(track, name, **extra):
    return (track, name, extra)


@pytest.fixture
def scene():
    made = Scene(Cast().look("target").look("other").look("third"))
    made.lock.enrol(1)
    made.frames(40, seen(1, "target"), seen(2, "other"))
    assert made.events() == ["enrolled"]
    return made


def test_drawn_similarities_are_like_real_ones():
    cast = Cast(5).look("a").look("b")
    same = [float(cast.crop("a") @ cast.crop("a")) for _ in range(50)]
    other = [float(cast.crop("a") @ cast.crop("b")) for _ in range(50)]
    assert 0.7 < np.mean(same) < 0.9 and 0.25 < np.mean(other) < 0.5


def test_idle_wants_and_follows_nothing():
    scene = Scene(Cast().look("a"))
    assert scene.frame(seen(1, "a")).state == "idle"
    assert scene.lock.wanted([Person(1, (0, 0, 1, 1))], 1.0) == []


def test_enrolment_needs_its_samples_and_shows_the_box_meanwhile():
    scene = Scene(Cast().look("a"))
    scene.lock.enrol(1)
    outs = [scene.frame(seen(1, "a")) for _ in range(8)]
    assert [o.state for o in outs] == ["enrolling"] * 7 + ["locked"]
    assert outs[0].box is not None and outs[-1].event == "enrolled"


@pytest.mark.parametrize(
    "extra",
    [{"quality": 0.1}, {"overlap": 0.5, "rivals": (2,), "behind": True}],
    ids=["poor", "covered"],
)
def test_poor_or_covered_crops_enrol_nobody(extra):
    scene = Scene(Cast().look("a").look("b"))
    scene.lock.enrol(1)
    out = scene.frames(60, seen(1, "a", **extra), seen(2, "b"))
    assert out.state == "idle" and scene.events() == ["enrolment_failed"]
    assert len(scene.lock.memory) == 0


def test_enrolment_fails_when_the_person_is_gone_or_the_track_changes_hands():
    gone = Scene(Cast().look("a"))
    gone.lock.enrol(1)
    gone.frame(seen(1, "a"))
    assert gone.frames(8).state == "idle" and gone.events() == ["enrolment_failed"]
    swapped = Scene(Cast().look("a").look("b"))
    swapped.lock.enrol(1)
    swapped.frames(4, seen(1, "a"))
    swapped.frames(4, seen(1, "b"))
    assert swapped.events() == ["enrolment_failed"]


COVERED = {"overlap": 0.8, "behind": True, "rivals": (2,)}


def test_full_occlusion_and_return_under_the_same_track(scene):
    hidden_frames = int(scene.lock.settings.hidden_s * FPS)
    out = scene.frames(hidden_frames, seen(1, "target", **COVERED), seen(2, "other"))
    assert out.state == "locked"  # a track is not lost the moment somebody passes
    out = scene.frames(2, seen(1, "target", **COVERED), seen(2, "other"))
    assert out.state == "occluded" and out.box is None
    scene.frames(3, seen(2, "other"))
    first = scene.frame(seen(1, "target"), seen(2, "other"))
    assert first.state == "occluded"  # one look is not enough
    scene.frames(3, seen(1, "target"), seen(2, "other"))
    assert scene.said[-1][0].state == "locked" and scene.events()[-1] == "reacquired"
    assert scene.followed() == {"target"}


def test_the_occluder_that_inherits_the_track_is_not_followed(scene):
    scene.frame(seen(1, "target", **COVERED), seen(2, "other"))
    scene.frames(40, seen(1, "other"))
    assert scene.lock.state == "searching" and scene.followed() == {"target"}


def test_somebody_in_front_who_looks_like_the_target_ends_the_lock_at_once(scene):
    """The tracks were exchanged while one person hid the other."""
    out = scene.frame(
        seen(1, "other", overlap=0.8, behind=True, rivals=(9,)), seen(9, "target", rivals=(1,))
    )
    assert out.state == "occluded"
    scene.frames(4, seen(1, "other"), seen(9, "target"))
    assert scene.said[-1][1] == "target" and scene.followed() == {"target"}


def test_target_leaves_and_comes_back_as_a_new_track(scene):
    assert scene.frames(3, seen(2, "other")).state == "occluded"
    assert scene.frames(10, seen(2, "other")).state == "searching"
    assert scene.frames(150, seen(2, "other"), seen(3, "third")).state == "lost"
    before = len(scene.said)
    scene.frames(30, seen(2, "other"), seen(9, "target"))
    assert scene.said[-1][1] == "target" and scene.events()[-1] == "reacquired"
    locked_after = next(i for i, (o, _) in enumerate(scene.said[before:]) if o.state == "locked")
    assert 5 <= locked_after <= 15  # twice the usual hits, since it was lost
    assert scene.followed() == {"target"}


def test_a_track_that_passes_to_somebody_else_is_rejected_and_the_target_found(scene):
    scene.frames(20, seen(1, "other"), seen(7, "target"))
    assert "rejected" in scene.events()
    assert scene.said[-1][1] == "target" and scene.lock.state == "locked"
    wrong = sum(name == "other" and o.state == "locked" for o, name in scene.said)
    assert wrong <= FPS * scene.lock.settings.verify_s  # the first look ends it


def test_crossing_in_which_the_tracks_are_exchanged_follows_the_person(scene):
    for _ in range(3):
        scene.frame(
            seen(1, "target", overlap=0.3, rivals=(2,)),
            seen(2, "other", overlap=0.3, rivals=(1,)),
        )
    out = scene.frames(6, seen(1, "other"), seen(2, "target"))
    assert out.track == 2 and scene.said[-1][1] == "target" and scene.followed() == {"target"}


def test_crossing_in_which_nothing_happens_keeps_the_track(scene):
    for _ in range(5):
        scene.frame(
            seen(1, "target", overlap=0.3, rivals=(2,)),
            seen(2, "other", overlap=0.3, rivals=(1,)),
        )
    scene.frames(30, seen(1, "target"), seen(2, "other"))
    assert scene.events() == ["enrolled"] and scene.lock.state == "locked"


def test_a_lookalike_seen_beside_the_target_is_never_taken_for_it():
    cast = Cast(3).look("target").look("twin", like="target", likeness=0.85)
    scene = Scene(cast)
    scene.lock.enrol(1)
    scene.frames(60, seen(1, "target"), seen(2, "twin"))
    scene.frames(200, seen(5, "twin"))
    assert scene.followed() == {"target"}
    assert scene.lock.state == "lost"


def test_two_candidates_that_are_hard_to_tell_apart_are_both_left(scene):
    scene.frames(10)
    scene.cast.look("double", like="target", likeness=0.995)
    scene.frames(20, seen(8, "target"), seen(9, "double"))
    assert scene.lock.state == "searching"


def test_uncertain_crops_teach_nothing(scene):
    known, people = len(scene.lock.memory), len(scene.lock.bystanders)
    scene.cast.look("fourth")
    for _ in range(20):
        scene.frame(
            seen(1, "target", overlap=0.3, rivals=(6,)),
            seen(6, "fourth", overlap=0.3, rivals=(1,)),
            embed=[1, 6],
        )
    assert len(scene.lock.memory) == known and len(scene.lock.bystanders) == people


def test_gallery_of_photos_finds_the_person():
    cast = Cast(4).look("target").look("other")
    scene = Scene(cast)
    scene.lock.enrol_gallery(np.stack([cast.crop("target") for _ in range(4)]))
    scene.frames(10, seen(1, "other"), seen(2, "target"))
    assert scene.events() == ["reacquired"] and scene.said[-1][1] == "target"
    with pytest.raises(ReidEdgeError, match="at least one finite embedding"):
        scene.lock.enrol_gallery(np.full((1, DIM), np.nan))


def test_steady_following_embeds_little(scene):
    scene.embedded = scene.shown = 0
    scene.frames(200, seen(1, "target"), *(seen(t, "other") for t in (2, 3, 4)))
    assert scene.embedded / scene.shown <= 0.1


def test_release_forgets_everything(scene):
    scene.lock.release()
    assert scene.lock.state == "idle" and not len(scene.lock.memory)
    assert not len(scene.lock.bystanders)


def test_misuse_is_refused(scene):
    person = Person(1, (0, 0, 1, 1))
    with pytest.raises(ReidEdgeError, match="order of time"):
        scene.lock.update([], -1.0)
    with pytest.raises(ReidEdgeError, match="once per frame"):
        scene.lock.update([person, person], 100.0)
    with pytest.raises(ReidEdgeError, match="not finite"):
        scene.lock.update([person._replace(embedding=np.full(DIM, np.nan))], 100.0)
    with pytest.raises(ReidEdgeError, match="keep <= accept"):
        LockSettings(accept=0.2, keep=0.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 7), min_size=5, max_size=40))
def test_whatever_happens_nobody_else_is_followed_for_long(seed, script):
    """Random comings, goings, coverings and exchanges of tracks."""
    rng = np.random.default_rng(seed)
    cast = Cast(seed).look("target").look("a").look("b")
    scene = Scene(cast)
    scene.lock.enrol(1)
    scene.frames(20, seen(1, "target"), seen(2, "a"))
    tracks, next_track = {"target": 1, "a": 2}, 3
    for action in script:
        if action == 0 and len(tracks) > 1:  # two tracks exchange their people
            x, y = rng.choice(sorted(tracks), 2, replace=False)
            tracks[x], tracks[y] = tracks[y], tracks[x]
        elif action == 1 and tracks:
            tracks.pop(str(rng.choice(sorted(tracks))))
        elif action == 2:
            name = str(rng.choice(["target", "a", "b"]))
            if name not in tracks:
                tracks[name], next_track = next_track, next_track + 1
        covered = action in (3, 4)
        others = tuple(tracks.values())
        extra = {"overlap": 0.7 if action == 4 else 0.3, "behind": action == 4} if covered else {}
        people = [
            seen(t, name, rivals=tuple(o for o in others if o != t), **extra)
            if covered
            else seen(t, name)
            for name, t in tracks.items()
        ]
        for _ in range(int(rng.integers(1, 12))):
            out = scene.frame(*people)
            assert out.state in STATES
            assert (out.box is not None) == (out.track is not None)
            assert out.track is None or out.state in ("locked", "enrolling")
    longest = run = 0
    for out, name in scene.said:
        run = run + 1 if out.state == "locked" and name != "target" else 0
        longest = max(longest, run)
    s = scene.lock.settings
    assert longest <= FPS * (s.verify_s + s.uneasy_s) + 2
