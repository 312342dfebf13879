"""What the target looks like, and what people look like who are known to be somebody else.

All embeddings are L2-normalised, so a dot product is a cosine.
"""

from collections import OrderedDict
from typing import Dict, Hashable, List, Optional

import numpy as np

SAME_VIEW = 0.95  # two embeddings this close show nothing new


class TargetMemory:
    """Prototypes of one person, several per bucket of view and distance.

    Enrolled prototypes stay for ever, so the memory cannot drift to somebody else step by step.
    Learned ones are added in use, up to a limit per bucket; beyond it the two most alike are
    merged, which keeps what differs. A full bucket of one view never pushes out another view.

    Args:
        per_bucket: Learned prototypes kept per bucket.
        enrolled: Enrolled prototypes kept per bucket.
    """

    def __init__(self, per_bucket: int = 6, enrolled: int = 12):
        self.per_bucket, self.per_bucket_enrolled = per_bucket, enrolled
        self.enrolled: Dict[Hashable, List[np.ndarray]] = {}
        self.learned: Dict[Hashable, List[np.ndarray]] = {}
        self._all: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return sum(len(v) for part in (self.enrolled, self.learned) for v in part.values())

    @property
    def buckets(self) -> List[Hashable]:
        """Buckets that hold something, enrolled ones first."""
        return list(OrderedDict.fromkeys([*self.enrolled, *self.learned]))

    def enrol(self, embedding: np.ndarray, bucket: Hashable = None) -> None:
        """Keep one (D,) embedding for ever."""
        self._add(self.enrolled.setdefault(bucket, []), embedding, self.per_bucket_enrolled)

    def learn(self, embedding: np.ndarray, bucket: Hashable = None) -> None:
        """Add one (D,) embedding that is certainly the target's."""
        self._add(self.learned.setdefault(bucket, []), embedding, self.per_bucket)

    def similarity(self, embeddings: np.ndarray) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the prototype nearest to it: (N,); -1 if empty."""
        embeddings = np.atleast_2d(embeddings)
        if self._all is None:
            rows = [e for part in (self.enrolled, self.learned) for v in part.values() for e in v]
            self._all = np.stack(rows) if rows else np.empty((0, embeddings.shape[1]), np.float32)
        if not len(self._all):
            return np.full(len(embeddings), -1.0)
        return (embeddings @ self._all.T).max(1)

    def _add(self, prototypes: List[np.ndarray], embedding: np.ndarray, limit: int) -> None:
        self._all = None
        add_prototype(prototypes, embedding, limit)


class BystanderBank:
    """People seen together with the target, who therefore are not the target.

    Args:
        people: How many are remembered; the one not seen for longest is forgotten.
        per_person: Prototypes of each.
    """

    def __init__(self, people: int = 64, per_person: int = 4):
        self.people, self.per_person = people, per_person
        self._bank: OrderedDict[int, List[np.ndarray]] = OrderedDict()
        self._all: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self._bank)

    def __contains__(self, person: int) -> bool:
        return person in self._bank

    def add(self, person: int, embedding: np.ndarray) -> None:
        """Remember one (D,) embedding of bystander ``person`` (a track's number)."""
        add_prototype(self._bank.setdefault(person, []), embedding, self.per_person)
        self._bank.move_to_end(person)
        while len(self._bank) > self.people:
            self._bank.popitem(last=False)
        self._all = None

    def forget(self, person: int) -> None:
        """Take back what was said about ``person``."""
        if self._bank.pop(person, None) is not None:
            self._all = None

    def similarity(self, embeddings: np.ndarray) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the most similar bystander: (N,); -1 if none."""
        embeddings = np.atleast_2d(embeddings)
        if not self._bank:
            return np.full(len(embeddings), -1.0)
        if self._all is None:
            self._all = np.stack([e for v in self._bank.values() for e in v])
        return (embeddings @ self._all.T).max(1)


def add_prototype(prototypes: List[np.ndarray], embedding: np.ndarray, limit: int) -> None:
    """Add to a list of at most ``limit`` unit vectors, in place.

    One that is as good as there already is averaged into its neighbour; when the list is full, the
    two most alike become one.
    """
    if prototypes:
        nearest = int(np.argmax(np.stack(prototypes) @ embedding))
        if float(prototypes[nearest] @ embedding) >= SAME_VIEW:
            prototypes[nearest] = _unit(0.9 * prototypes[nearest] + 0.1 * embedding)
            return
    prototypes.append(np.array(embedding, np.float32))
    if len(prototypes) > limit:
        stacked = np.stack(prototypes)
        alike = stacked @ stacked.T
        np.fill_diagonal(alike, -2.0)
        a, b = sorted(divmod(int(alike.argmax()), len(prototypes)))
        prototypes[a] = _unit(prototypes[a] + prototypes[b])
        del prototypes[b]


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm > 0 else vector).astype(np.float32)
