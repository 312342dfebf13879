"""Sequences in which a followed person is likely to be lost or mistaken, of real crops and streets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np

from runtime.detection import iou
from runtime.lock_types import LOCKED
from runtime.perception import Perception
from tests.runtime.composed import SIZE, Actor, Scenario, Somebody, stand, walk

KINDS = ("crossing", "occlusion", "leave_and_return", "lookalike", "lighting")
RATE_HZ = 10.0
ENROL_FRAME = 3
START = 25  # frame on which something happens; the target is known by then


@dataclass
class Outcome:
    """How a scenario went.

    Attributes:
        wrong: Frames on which somebody else was followed.
        enrolled: Whether the target was learned at all.
        regained: Whether the target is followed on the last frames.
        followed: Share of the frames with the target in sight on which it was followed.
        per_person_frame: Embeddings.
        events: (frame, event) of the lock.
    """

    wrong: List[int]
    enrolled: bool
    regained: bool
    followed: float
    per_person_frame: float
    events: List[Tuple[int, str]]


def play(scenario: Scenario, perception: Perception) -> Outcome:
    """Choose the first actor by its box, as a user would, and follow it to the end."""
    wrong: List[int] = []
    events: List[Tuple[int, str]] = []
    followed = in_sight = 0
    last: List[bool] = []
    for number in range(scenario.frames):
        picture, detections, truth = scenario.frame(number)
        record = perception.step(picture, number / RATE_HZ, detections)
        if number == ENROL_FRAME:
            perception.choose_box(truth[0])
        if record.lock.event:
            events.append((number, record.lock.event))
        right = False
        if record.lock.state == LOCKED and record.lock.box is not None:
            names = list(truth)
            overlaps = iou(
                np.array([record.lock.box], float),
                np.array([truth[i] for i in names], float).reshape(-1, 4),
            )[0]
            right = 0 in names and overlaps[names.index(0)] >= 0.5
            if not right:
                wrong.append(number)
        if 0 in truth and number > START:
            in_sight += 1
            followed += right
        last.append(right)
    return Outcome(
        wrong,
        any(event == "enrolled" for _, event in events),
        any(last[-5:]),
        followed / max(in_sight, 1),
        perception.schedule.per_person_frame,
        events,
    )


# -- kinds ---------------------------------------------------------------------------------------


class Casting:
    """Who there is, and who looks like whom.

    Args:
        people: Identities in cameras.
        looks: (N, D) mean embedding of each.
        backgrounds: Frames of real videos.
    """

    def __init__(
        self, people: Sequence[Somebody], looks: np.ndarray, backgrounds: Sequence[np.ndarray]
    ):
        self.people = list(people)
        self.looks = looks - looks.mean(axis=0)
        self.looks /= np.linalg.norm(self.looks, axis=1, keepdims=True)
        self.backgrounds = [
            cv2.resize(b, SIZE[::-1], interpolation=cv2.INTER_AREA) for b in backgrounds
        ]

    def scenario(self, kind: str, seed: int) -> Scenario:
        """The scenario of a kind and seed; the same each time."""
        rng = np.random.default_rng((KINDS.index(kind), seed))
        target = int(rng.integers(len(self.people)))
        others = self._others(target, rng)
        if kind == "lookalike" or rng.random() < 0.2:
            others.insert(0, self._double(target))
        height = float(rng.integers(130, 210))
        bottom = float(rng.integers(360, 420))
        who = [self.people[target], *(self.people[i] for i in others)]
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        actors, frames = getattr(self, "_" + kind)(who, height, bottom, rng)
        scenario = Scenario(kind, seed, actors, background, frames)
        if kind == "lighting":
            end = rng.uniform(0.4, 0.6) if rng.random() < 0.5 else rng.uniform(1.4, 1.7)
            cast = end * rng.uniform(0.85, 1.15, 3)
            length = float(rng.integers(3, 20))
            scenario.gain = lambda n: 1 + (cast - 1) * float(np.clip((n - START) / length, 0, 1))
        return scenario

    def _others(self, target: int, rng: np.random.Generator) -> List[int]:
        """Three other people of the target's camera."""
        camera, identity = self.people[target].camera, self.people[target].identity
        there = [
            i for i, p in enumerate(self.people) if p.camera == camera and p.identity != identity
        ]
        return [int(i) for i in rng.choice(there, 3, replace=False)]

    def _double(self, target: int) -> int:
        """Whose look is nearest to the target's, in the same camera."""
        camera, identity = self.people[target].camera, self.people[target].identity
        alike = self.looks @ self.looks[target]
        for i, p in enumerate(self.people):
            if p.camera != camera or p.identity == identity:
                alike[i] = -2
        return int(alike.argmax())

    def _crossing(self, who, height, bottom, rng):
        """Somebody passes in front of the target or behind it, and somebody stands by."""
        x = rng.uniform(220, 420)
        near = rng.random() < 0.6
        speed = rng.uniform(0.35, 1.0) * height / RATE_HZ
        start, end = (-60.0, 700.0) if rng.random() < 0.5 else (700.0, -60.0)
        last = START + (end - start) / (speed if end > start else -speed)
        passer = walk(
            [(START, start), (int(last), end)],
            bottom + (15 if near else -15),
            height * (1.08 if near else 0.93),
        )
        beside = x + (150 if x < 320 else -150)
        actors = [
            Actor(who[0], stand(x, bottom, height, sway=0.05)),
            Actor(who[1], passer),
            Actor(who[2], stand(beside, bottom - 25, height * 0.85)),
        ]
        return actors, int(last) + 25

    def _occlusion(self, who, height, bottom, rng):
        """Somebody stops in front of the target and hides it; the target walks on behind."""
        x, stay = rng.uniform(240, 400), int(rng.integers(8, 25))
        side = 1 if rng.random() < 0.5 else -1
        onward = side if rng.random() < 0.5 else -side
        hidden = START + 15
        aim = float(np.clip(x + onward * 1.3 * height, 80, 560))
        target = walk(
            [(0, x), (hidden + stay, x), (hidden + stay + 15, aim), (hidden + stay + 45, aim)],
            bottom,
            height,
        )
        cover = walk(
            [(START, x - side * 420), (hidden, x), (hidden + stay + 12, x)]
            + [(hidden + stay + 40, x - side * 420)],
            bottom + 20,
            height * 1.15,
        )
        actors = [
            Actor(who[0], target),
            Actor(who[1], cover),
            Actor(who[2], stand(60 if aim > 320 else 580, bottom - 30, height * 0.8)),
        ]
        return actors, hidden + stay + 45

    def _leave_and_return(self, who, height, bottom, rng):
        """The target leaves, a stranger enters where it left, the target comes back."""
        x, side = rng.uniform(250, 390), 1 if rng.random() < 0.5 else -1
        edge = 320 + side * 420
        seconds = abs(edge - x) / (rng.uniform(0.7, 1.0) * height)
        left = START + int(seconds * RATE_HZ)
        away = int(rng.integers(20, 60))
        back = edge if rng.random() < 0.5 else 640 - edge
        home = left + away + int(abs(back - 640 + x) / (0.9 * height) * RATE_HZ)
        target = walk([(0, x), (START, x), (left, edge)], bottom, height)
        again = walk([(left + away, back), (home, 640 - x), (home + 30, 640 - x)], bottom, height)
        across = int(abs(edge - x) / (0.9 * height) * RATE_HZ)
        stranger = walk(
            [(left + 3, edge), (left + 3 + across, x), (left + away + 20, x)]
            + [(left + away + 60, 640 - edge)],
            bottom - 5,
            height * rng.uniform(0.92, 1.08),
        )
        actors = [
            Actor(who[0], lambda n: target(n) or again(n)),
            Actor(who[1], stranger),
            Actor(who[2], stand(320 - side * 200, bottom - 30, height * 0.8)),
        ]
        return actors, home + 30

    def _lookalike(self, who, height, bottom, rng):
        """One of the other kinds with the person who looks most like the target."""
        kind = ("crossing", "occlusion", "leave_and_return")[int(rng.integers(3))]
        return getattr(self, "_" + kind)(who, height, bottom, rng)

    def _lighting(self, who, height, bottom, rng):
        """The light changes while somebody crosses."""
        return self._crossing(who, height, bottom, rng)


# -- real material -------------------------------------------------------------------------------


def read_people(folder: Path, identities: Sequence[int], least: int = 5) -> List[Somebody]:
    """The test identities of Market-1501 in each camera that saw them on ``least`` crops."""
    found: Dict[Tuple[int, int], List[Path]] = {}
    for path in sorted((folder / "bounding_box_test").iterdir()):
        if path.suffix == ".jpg" and path.name[:4].isdigit():
            identity, camera = int(path.name[:4]), int(path.name[6])
            if identity in identities:
                found.setdefault((identity, camera), []).append(path)
    return [
        Somebody(i, c, tuple(cv2.imread(str(p)) for p in paths[:14]))
        for (i, c), paths in sorted(found.items())
        if len(paths) >= least
    ]


def split_identities(folder: Path) -> Tuple[List[int], List[int]]:
    """The identities of the evaluation split in two halves: for thresholds, and for scenarios."""
    names = {int(p.name[:4]) for p in (folder / "query").iterdir() if p.name[:4].isdigit()}
    order = np.random.default_rng(5).permutation(sorted(names - {0}))
    half = len(order) // 2
    return [int(i) for i in order[:half]], [int(i) for i in order[half:]]
