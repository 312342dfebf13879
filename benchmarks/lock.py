"""``python -m benchmarks.lock``: does the target lock keep to the right person?

Every person of an annotated sequence who is visible long enough is chosen in turn by its box. It is
learned on the first ten frames on which it is visible and found by the detector; all that follow are
judged (benchmarks.lock_verdict), also those behind the person's last one.

The lock ratio is the share of right frames among those on which the target is visible, the wrong-lock
ratio that of wrong frames among all judged; a re-acquire time is the number of visible frames on which
the target was not followed before it was followed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.footage import Footage, read_footage
from benchmarks.lock_verdict import ENROL_FRAMES, Verdict, follow
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.lock import TargetLock
from runtime.lock_types import LOCKED, LockOutput, Person
from runtime.perception import Perception
from runtime.preprocess import read_image

_EPILOG = """examples:
  python -m benchmarks.lock --sequence ETH-Sunnyday --bundle osnet_cpu
      everybody visible for at least 3 s after the enrolment
  python -m benchmarks.lock --sequence ETH-Sunnyday --bundle osnet_cpu --person 4 --person 5 --cut 30
      two people, without the 30 frames in the middle of each one's visible time
  python -m benchmarks.lock --sequence ETH-Sunnyday --no-reid
      what the tracker alone does: a track is followed until it ends

exit status: 0 done, 2 the input cannot be used
"""


class CachedEmbedder:
    """An embedder that computes each crop once, for runs that repeat the same frames."""

    def __init__(self, embed: Callable[[Sequence[np.ndarray]], np.ndarray]):
        self._embed = embed
        self._cache: dict[bytes, np.ndarray] = {}

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """As the embedder itself."""
        keys = [
            hashlib.blake2b(crop.tobytes() + repr(crop.shape).encode(), digest_size=16).digest()
            for crop in crops
        ]
        new = {key: crop for key, crop in zip(keys, crops) if key not in self._cache}
        if new:
            self._cache.update(zip(new, self._embed(list(new.values()))))
        return np.stack([self._cache[key] for key in keys])


class TrackOnly(TargetLock):
    """The lock without a network: follows a track until it ends, and never finds it again."""

    def wanted(self, people: Sequence[Person], time_s: float) -> list[int]:
        return []

    def update(
        self,
        people: Sequence[Person],
        time_s: float,
        motion: np.ndarray | None = None,
        cut: bool = False,
    ) -> LockOutput:
        for person in people:
            if person.track == self._track:
                event = None if self.state == LOCKED else "enrolled"
                self.state = LOCKED
                return LockOutput(LOCKED, person.track, person.box, event=event)
        return LockOutput("idle" if self._track is None else "searching")


def run(
    footage: Footage,
    people: Iterable[int],
    make: Callable[[], Perception],
    cut: int = 0,
    real_time: bool = False,
) -> list[Verdict]:
    """Follow each of several people through the sequence, each with a perception of its own.

    Args:
        footage: The sequence; its frames are held in memory.
        people: Of its ground truth.
        make: Gives a fresh perception.
        cut: Frames removed from the middle of the time in which the person is visible.
        real_time: As in ``follow``.

    Raises:
        ReidEdgeError: A person is never visible, or the sequence is too short for the cut.
    """
    frames = [read_image(path) for path in footage.frames]
    verdicts = []
    for person in people:
        rows = footage.visible_rows(person)
        if not rows:
            raise ReidEdgeError("Person %d of %s is never visible." % (person, footage.name))
        shown, pictures, row = footage, frames, None
        if cut:
            row = (rows[0] + rows[-1] + 1 - cut) // 2
            shown, pictures = footage.without(row, cut), frames[:row] + frames[row + cut :]
        verdicts.append(follow(shown, person, make(), pictures, real_time, row))
    return verdicts


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The sums over people, JSON-able."""
    total: Counter[str] = Counter()
    for v in verdicts:
        for name in ("judged", "visible", "right", "wrong", "loose", "embedded", "seen"):
            total[name] += getattr(v, name)
    times = sorted(t for v in verdicts for t in v.reacquired)
    return {
        "people": len(verdicts),
        "enrolled": sum(v.enrolled for v in verdicts),
        "lock_ratio": total["right"] / max(total["visible"], 1),
        "wrong_lock_ratio": total["wrong"] / max(total["judged"], 1),
        "wrong_frames": total["wrong"],
        "judged_frames": total["judged"],
        "visible_frames": total["visible"],
        "loose_ratio": total["loose"] / max(total["judged"], 1),
        "reacquired": len(times),
        "reacquire_median_frames": float(np.median(times)) if times else None,
        "reacquire_max_frames": times[-1] if times else None,
        "embeddings_per_person_frame": total["embedded"] / max(total["seen"], 1),
    }


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.lock",
        description="Follow every annotated person of a sequence in turn and judge the target lock.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--sequence", type=Path, required=True, metavar="DIR", help="MOTChallenge layout"
    )
    p.add_argument("--detections", type=Path, metavar="FILE", help="default: DIR/det/det.txt")
    p.add_argument("--bundle", type=Path, help="bundle of the ReID network")
    p.add_argument("--no-reid", action="store_true", help="follow the track alone")
    p.add_argument("--person", type=int, action="append", help="only this person; may be repeated")
    p.add_argument("--min-seconds", type=float, default=3.0, help="visible time (default: 3)")
    p.add_argument("--cut", type=int, default=0, metavar="N", help="remove N frames in the middle")
    p.add_argument("--real-time", action="store_true", help="a cut takes the time it stands for")
    p.add_argument("--threads", type=int, default=1, help="of the network (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(argv: list[str] | None = None) -> int:
    a = parser().parse_args(argv)
    try:
        if a.no_reid == bool(a.bundle):
            raise ReidEdgeError("Give either --bundle or --no-reid.")
        if not 0 <= a.min_seconds < math.inf or a.cut < 0 or a.threads < 1:
            raise ReidEdgeError(
                "--min-seconds and --cut must be at least 0 and --threads at least 1, got %g, %d and "
                "%d." % (a.min_seconds, a.cut, a.threads)
            )
        footage = read_footage(a.sequence, a.detections)
        least = ENROL_FRAMES + round(a.min_seconds * footage.rate_hz) + a.cut
        people = a.person or [p for p in footage.people if len(footage.visible_rows(p)) >= least]
        unknown = sorted(set(people) - set(footage.people))
        if unknown or not people:
            raise ReidEdgeError(
                "%s annotates %s; %s" % (footage.name, footage.people, "no person %s." % unknown)
                if unknown
                else "Nobody in %s is visible for %d frames; lower --min-seconds."
                % (footage.name, least)
            )
        if a.no_reid:
            make = _without_network
        else:
            bundle = Bundle.open(a.bundle)
            network = Embedder(bundle, open_backend(bundle, threads=a.threads))
            embed = CachedEmbedder(network.embed)

            def make() -> Perception:
                return Perception.with_bundle(bundle, embed=embed)

        verdicts = run(footage, people, make, a.cut, a.real_time)
    except ReidEdgeError as error:
        print("benchmarks.lock: %s" % error, file=sys.stderr)
        return error.exit_code
    sums = summary(verdicts)
    if a.json:
        record = {"sequence": footage.name, "reid": not a.no_reid, "cut": a.cut, **sums}
        print(json.dumps({**record, "each": [asdict(v) for v in verdicts]}))
        return 0
    print("person  judged  visible  lock ratio  wrong  re-acquired after (frames)  behind the cut")
    for v in verdicts:
        print(
            "%6d  %6d  %7d  %9.1f%%  %5d  %-26s  %s"
            % (
                v.person,
                v.judged,
                v.visible,
                100 * v.lock_ratio,
                v.wrong,
                ", ".join(map(str, v.reacquired)) or "-",
                "-" if v.after_cut is None else v.after_cut,
            )
        )
    print(
        "%d people: lock ratio %.1f%%, wrong-lock %.2f%% (%d of %d frames), %.3f embeddings per person "
        "and frame"
        % (
            sums["people"],
            100 * sums["lock_ratio"],
            100 * sums["wrong_lock_ratio"],
            sums["wrong_frames"],
            sums["judged_frames"],
            sums["embeddings_per_person_frame"],
        )
    )
    return 0


def _without_network() -> Perception:
    return Perception(lock=TrackOnly())


if __name__ == "__main__":
    sys.exit(main())
