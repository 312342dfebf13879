"""What the lock remembers of each track: when it was seen, how it looked, who it cannot be."""

from collections import deque
from dataclasses import dataclass, field
from typing import Deque, Dict, Iterable, Tuple

from runtime.lock_types import Person

NEVER_S = -1e9
_LOOKS = 8  # newest crops of a track that are judged together
_FORGET_S = 30.0  # what is known of a track that is gone


@dataclass
class Acquaintance:
    """One track.

    Attributes:
        seen_s, looked_s: When it was last seen, and last embedded.
        similarity: Of its newest crop to the target.
        beside: Seen at once with the target, so it is somebody else.
        proven: The same at a moment when the target was recognised by what was enrolled of it.
        looks: Quality and similarity of its newest crops.
    """

    seen_s: float
    looked_s: float = NEVER_S
    similarity: float = -1.0
    beside: bool = False
    proven: bool = False
    looks: Deque[Tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LOOKS))

    @property
    def usual(self) -> float:
        """Similarity of the newest crops on average, better ones counting more."""
        weight = sum(quality for quality, _ in self.looks)
        return sum(quality * alike for quality, alike in self.looks) / weight if weight else -1.0

    def looked(self, quality: float, similarity: float) -> None:
        """Take in what a crop looked like."""
        self.similarity = similarity
        self.looks.append((quality, similarity))


class Acquaintances:
    """All tracks of the last half minute."""

    def __init__(self) -> None:
        self._known: Dict[int, Acquaintance] = {}

    def __getitem__(self, track: int) -> Acquaintance:
        return self._known[track]

    def get(self, track: int, time_s: float) -> Acquaintance:
        """What is known of a track; of a new one nothing."""
        return self._known.get(track) or Acquaintance(time_s)

    def see(self, people: Iterable[Person], time_s: float, apart_s: float) -> None:
        """Note who is there. Who was gone for longer than ``apart_s`` may be somebody else now."""
        present = 0
        for person in people:
            present += 1
            known = self._known.setdefault(person.track, Acquaintance(time_s))
            if time_s - known.seen_s > apart_s:
                known.beside = known.proven = False
            known.seen_s = time_s
        if len(self._known) > 4 * present + 64:
            oldest_s = time_s - _FORGET_S
            self._known = {t: k for t, k in self._known.items() if k.seen_s >= oldest_s}

    def doubt(self) -> None:
        """The target was not who it seemed: only what was proven about others stays."""
        for known in self._known.values():
            known.beside = known.proven

    def clear(self) -> None:
        """Tracks mean nothing any more."""
        self._known.clear()
