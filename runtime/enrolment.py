"""Learning the chosen person: a few good crops that agree with each other."""

from typing import Hashable, List, Tuple

import numpy as np

from runtime.lock_guards import clear, look_of, shows
from runtime.lock_types import LockSettings, Person
from runtime.memory import SceneMean


class Enrolment:
    """Collects crops of one track.

    Attributes:
        samples: (embedding, bucket) of the crops so far.
    """

    def __init__(self, time_s: float):
        self.samples: List[Tuple[np.ndarray, Hashable]] = []
        self._started_s = self._newest_s = time_s
        self._foreign = 0  # crops that are not of the person the others are of

    def failed(self, time_s: float, s: LockSettings) -> bool:
        """Whether it took too long, or the track has changed hands."""
        late = time_s - self._started_s > s.enrol_timeout_s
        stale = time_s - self._newest_s > s.enrol_gap_s
        return late or stale or self._foreign >= s.reject_hits

    def take(self, person: Person, scene: SceneMean, time_s: float, s: LockSettings) -> bool:
        """Take in one frame of the track; true once there are enough crops."""
        if person.embedding is not None and shows(person, s) and clear(person, s):
            self._newest_s = time_s
            if self._agrees(look_of(person), scene, s):
                self.samples.append((look_of(person), person.bucket))
            else:
                self._foreign += 1
        return len(self.samples) >= s.enrol_samples

    def _agrees(self, embedding: np.ndarray, scene: SceneMean, s: LockSettings) -> bool:
        if not self.samples:
            return True
        known = scene.without(np.stack([sample for sample, _ in self.samples]))
        alike = known @ scene.without(embedding[None])[0]
        return float(alike.max()) >= s.enrol_keep
