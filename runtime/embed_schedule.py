"""Which people are embedded on this frame, so that the ReID network runs seldom and where it matters."""

import math
from dataclasses import dataclass
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from runtime.errors import ReidEdgeError
from runtime.lock_types import Person


@dataclass(frozen=True)
class ScheduleSettings:
    """How much is embedded, and when.

    Attributes:
        budget: Crops per frame at most, whoever asks.
        share: Embeddings per person and frame that the tracker may spend in the long run. What the
            lock asks for comes first and counts, so that a busy lock leaves less for the tracker.
        burst: Embeddings that may be saved up while little happens.
        quality: The tracker embeds no crop of lower quality; the lock knows what it asks for.
        contest: Overlap from which somebody may be mistaken for a neighbour.
        ambiguous_s: Who overlaps somebody is embedded at most this often.
        better: Improvement of quality over the last embedded crop that is worth another.
        refresh_s: Everybody is embedded this often, if the share allows.
        forget_s: A track that was not embedded for this long, or for ``refresh_s`` if that is longer,
            may count as new.
    """

    budget: int = 4
    share: float = 0.1
    burst: float = 8.0
    quality: float = 0.4
    contest: float = 0.15
    ambiguous_s: float = 0.5
    better: float = 0.3
    refresh_s: float = 3.0
    forget_s: float = 10.0

    def __post_init__(self):
        if self.budget < 1 or not 0 <= self.share <= 1 or not self.burst >= 1:
            raise ReidEdgeError(
                "Embedding needs a budget of at least 1, a share of 0..1 and a burst of at least 1, "
                "got %r, %r and %r." % (self.budget, self.share, self.burst)
            )
        times = (self.ambiguous_s, self.refresh_s, self.forget_s)
        if not all(time_s >= 0 for time_s in times):
            raise ReidEdgeError(
                "Embedding needs ambiguous_s, refresh_s and forget_s of at least 0, got %r, %r and "
                "%r." % times
            )


class _Embedded(NamedTuple):
    """The last embedded crop of a track."""

    time_s: float
    quality: float


class EmbedSchedule:
    """Chooses crops: those the lock waits for, then those that help to tell tracks apart.

    schedule = EmbedSchedule()
    rows = schedule.choose(people, lock.wanted(people, time_s), time_s)
    # embed the crops of those people, then for each of their tracks
    schedule.embedded(track, quality, time_s)
    """

    def __init__(self, settings: ScheduleSettings = ScheduleSettings()):
        self.settings = settings
        self.crops = 0
        self.person_frames = 0
        self._known: Dict[int, _Embedded] = {}
        self._saved = settings.burst
        self._swept_s = -math.inf

    def choose(
        self,
        people: Sequence[Person],
        wanted: Sequence[int],
        time_s: float,
        returning: Iterable[int] = (),
    ) -> List[int]:
        """Rows of ``people`` to embed now, most urgent first, at most ``budget``.

        Args:
            people: Everybody seen, with quality and overlap.
            wanted: Tracks the lock asks for, most urgent first.
            time_s: Monotonic time of the frame.
            returning: Tracks among ``people`` that may be an earlier track come back.
        """
        s = self.settings
        row_of = {person.track: row for row, person in enumerate(people)}
        rows = [row_of[track] for track in dict.fromkeys(wanted) if track in row_of][: s.budget]
        self.person_frames += len(people)
        self._saved = min(s.burst, self._saved + s.share * len(people)) - len(rows)
        # Ten shares of 0.1 add up to a little less than 1.
        room = min(s.budget - len(rows), int(max(self._saved, 0) + 1e-6))
        if room > 0:
            taken, back = set(rows), set(returning)
            needs = sorted(
                (need, row)
                for row, person in enumerate(people)
                for need in (self._need(person, time_s, back),)
                if need is not None and row not in taken
            )
            rows += [row for _, row in needs[:room]]
            self._saved -= min(len(needs), room)
        # A lock that searches may overdraw; the tracker pays back, but not for ever.
        self._saved = max(self._saved, -s.burst)
        self.crops += len(rows)
        self._sweep(time_s)
        return rows

    def embedded(self, track: int, quality: float, time_s: float) -> None:
        """Say that a crop of ``track`` was embedded."""
        self._known[track] = _Embedded(time_s, quality)

    @property
    def per_person_frame(self) -> float:
        """Embeddings per person and frame so far."""
        return self.crops / max(self.person_frames, 1)

    def _need(
        self, person: Person, time_s: float, returning: Set[int]
    ) -> Optional[Tuple[int, float]]:
        """(kind, waiting time) that sorts the most urgent first, or None."""
        s, known = self.settings, self._known.get(person.track)
        if person.quality < s.quality:
            return None
        if known is None:
            return (0 if person.track in returning else 1, -person.quality)
        age_s = time_s - known.time_s
        if person.overlap >= s.contest and age_s >= s.ambiguous_s:
            return (2, -age_s)
        if person.quality >= known.quality + s.better:
            return (3, -age_s)
        if age_s >= s.refresh_s:
            return (4, -age_s)
        return None

    def _sweep(self, time_s: float) -> None:
        s = self.settings
        if time_s - self._swept_s >= s.forget_s:
            oldest_s = time_s - max(s.forget_s, s.refresh_s)
            self._known = {t: k for t, k in self._known.items() if k.time_s >= oldest_s}
            self._swept_s = time_s
