"""What the target looks like, what people look like who are somebody else, and what all have in common.

All embeddings are L2-normalised, so a dot product is a cosine.
"""

from collections import OrderedDict, deque
from typing import Dict, Hashable, Iterable, List, Optional, Tuple

import numpy as np

SAME_VIEW = 0.95  # two embeddings this close show nothing new


class SceneMean:
    """The mean look of the people of a scene, which says where they are and not who.

    Light, camera and background give all crops of a scene a common part. It lifts the cosine between
    strangers from 0.37 on Market-1501, where OSNet x0.25 was trained, to 0.55 and 0.62 in the two
    streets of MOTChallenge's ETH-Sunnyday and TUD-Stadtmitte, so that the threshold for one stranger
    in a thousand on Market-1501 accepts 74 and 228 there. With the mean taken out of each place, the
    threshold found so accepts 12 and 11: cosines of one place mean nearly the same in another.

    Each person counts once, however often it was seen. The target counts too: it is one of those who
    share the scene, and as long as it is alone everything near to it is doubtful.

    Args:
        prior: (K, D) embeddings of other people from elsewhere, to begin with; None for a prior of
            zero, which shortens the mean of few people and so takes less away.
        prior_weight: How many people of the scene the prior counts for.
        people: How many are remembered; the one not seen for longest is forgotten.
    """

    def __init__(
        self, prior: Optional[np.ndarray] = None, prior_weight: float = 2.0, people: int = 64
    ):
        self.prior_weight, self.people = prior_weight, people
        self._prior = None if prior is None else np.atleast_2d(prior).mean(axis=0)
        self._looks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._mean: Optional[np.ndarray] = None
        self.version = 0

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, person: int, embedding: np.ndarray) -> None:
        """Take in one (D,) embedding of ``person`` (a track's number)."""
        before = self._looks.get(person)
        # A copy, because a row of a batch would keep the whole batch.
        self._looks[person] = (
            np.array(embedding) if before is None else before + 0.2 * (embedding - before)
        )
        self._looks.move_to_end(person)
        while len(self._looks) > self.people:
            self._looks.popitem(last=False)
        total = np.sum(list(self._looks.values()), axis=0)
        if self._prior is not None:
            total = total + self.prior_weight * self._prior
        mean = total / (len(self._looks) + self.prior_weight)
        # What is computed from the mean is kept until it has moved by more than a look's noise.
        if self._mean is None or float(np.linalg.norm(mean - self._mean)) > 0.02:
            self._mean, self.version = mean, self.version + 1

    def without(self, embeddings: np.ndarray) -> np.ndarray:
        """What is left of (N, D) embeddings without the mean, of unit length."""
        mean = self._prior if self._mean is None else self._mean
        if mean is None:
            return embeddings
        left = embeddings - mean
        return left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-6)


class _Prototypes:
    """Rows of unit vectors, stacked once and compared often."""

    def __init__(self, rows: Iterable[np.ndarray]):
        self._rows = np.array(list(rows), np.float32)
        self._left: Optional[np.ndarray] = None
        self._of: Tuple[Optional[SceneMean], int] = (None, 0)

    def nearest(self, embeddings: np.ndarray, scene: Optional[SceneMean]) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the nearest row: (N,); -1 if there is none."""
        embeddings = np.atleast_2d(embeddings)
        if not len(self._rows):
            return np.full(len(embeddings), -1.0)
        if scene is None:
            return (embeddings @ self._rows.T).max(axis=1)
        of, version = self._of
        if self._left is None or of is not scene or version != scene.version:
            self._left, self._of = scene.without(self._rows), (scene, scene.version)
        return (scene.without(embeddings) @ self._left.T).max(axis=1)


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
        self._stacked: Optional[_Prototypes] = None
        self._anchors: Optional[_Prototypes] = None

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

    def similarity(self, embeddings: np.ndarray, scene: Optional[SceneMean] = None) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the prototype nearest to it: (N,); -1 if empty.

        With ``scene``, both without what its people have in common.
        """
        if self._stacked is None:
            parts = (self.enrolled, self.learned)
            self._stacked = _Prototypes(e for part in parts for v in part.values() for e in v)
        return self._stacked.nearest(embeddings, scene)

    def enrolled_similarity(
        self, embeddings: np.ndarray, scene: Optional[SceneMean] = None
    ) -> np.ndarray:
        """The same to enrolled prototypes alone, which are the person's beyond doubt: (N,)."""
        if self._anchors is None:
            self._anchors = _Prototypes(e for v in self.enrolled.values() for e in v)
        return self._anchors.nearest(embeddings, scene)

    def _add(self, prototypes: List[np.ndarray], embedding: np.ndarray, limit: int) -> None:
        self._stacked = self._anchors = None
        add_prototype(prototypes, embedding, limit)


class RecentLooks:
    """The newest embeddings of the target's track: what it must look like a moment later.

    Args:
        count: How many are kept.
    """

    def __init__(self, count: int = 4):
        self._looks: deque[Tuple[float, np.ndarray]] = deque(maxlen=count)

    def add(self, embedding: np.ndarray, time_s: float) -> None:
        """Keep one (D,) embedding."""
        self._looks.append((time_s, np.array(embedding)))

    def similarity(self, embeddings: np.ndarray, scene: SceneMean, oldest_s: float) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the nearest look from ``oldest_s`` on, or -1."""
        rows = [look for time_s, look in self._looks if time_s >= oldest_s]
        return _Prototypes(rows).nearest(embeddings, scene)


class _Nobody:
    """Stands for the number of a bystander who has none any more."""


class BystanderBank:
    """People seen together with the target, who therefore are not the target.

    Args:
        people: How many are remembered; the one not seen for longest is forgotten.
        per_person: Prototypes of each.
    """

    def __init__(self, people: int = 64, per_person: int = 4):
        self.people, self.per_person = people, per_person
        self._bank: OrderedDict[Hashable, List[np.ndarray]] = OrderedDict()
        self._stacked: Optional[_Prototypes] = None

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
        self._stacked = None

    def rename(self, person: int, new: int) -> None:
        """What was known of ``person`` is of ``new``: the two exchanged their tracks.

        Added to what is known of ``new`` already.
        """
        looks = self._bank.pop(person, [])
        if new in self._bank:
            for look in looks:
                add_prototype(self._bank[new], look, self.per_person)
            self._stacked = None
        elif looks:
            self._bank[new] = looks

    def detach(self) -> None:
        """Keep the looks, but of nobody by number: the numbers may be other people's from now on."""
        for person in [person for person in self._bank if not isinstance(person, _Nobody)]:
            self._bank[_Nobody()] = self._bank.pop(person)

    def forget(self, person: int) -> None:
        """Take back what was said about ``person``."""
        if self._bank.pop(person, None) is not None:
            self._stacked = None

    def similarity(self, embeddings: np.ndarray, scene: Optional[SceneMean] = None) -> np.ndarray:
        """Cosine of each of (N, D) embeddings to the most similar bystander: (N,); -1 if none.

        With ``scene``, both without what its people have in common.
        """
        if self._stacked is None:
            self._stacked = _Prototypes(e for v in self._bank.values() for e in v)
        return self._stacked.nearest(embeddings, scene)


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
