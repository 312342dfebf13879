"""``python -m benchmarks.soak``: does the whole chain keep its memory for half an hour?

A video is run again and again through everything that a robot runs on its frames: decoding, detector,
camera motion, tracker, ReID network, target lock, drawing and the record of each frame. Whoever is in
front is followed, and somebody else once that person is lost. The process's resident memory is read
every ``--interval`` seconds; none of the later figures may exceed the first one by more than
``--limit``. The first interval is for what is built once: arenas of the networks, caches, threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from benchmarks.latency import machine_record
from runtime.annotate import annotate
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.detectors import open_detector
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.lock_types import IDLE, LOST
from runtime.perception import Perception
from runtime.pipeline import run_pipeline
from runtime.sources import Frame, Source, open_source

_STATUS = Path("/proc/self/status")
_GREW = 3  # exit status

_EPILOG = """example:
  python -m benchmarks.soak --source walk.mp4 --detector yolox_nano.onnx --bundle osnet_cpu

exit status: 0 memory stayed, 2 the input cannot be used, 3 memory grew by more than --limit
"""


class Sample(NamedTuple):
    """Resident memory at one moment.

    Attributes:
        seconds: Since the start.
        rss_mb: Resident memory of this process in megabytes (1e6 bytes).
        frames: Frames that went through so far.
    """

    seconds: float
    rss_mb: float
    frames: int


class Looped(Source):
    """A file from its beginning again and again, with time and numbers that go on; a camera as it is.

    Args:
        reopen: Opens the source.
        seconds: After this much time there are no more frames.
        clock_s: Monotonic time.
    """

    def __init__(
        self,
        reopen: Callable[[], Source],
        seconds: float,
        clock_s: Callable[[], float] = time.monotonic,
    ):
        self._reopen, self._clock_s = reopen, clock_s
        self._end_s = clock_s() + seconds
        self._source = reopen()
        self.name, self.live, self.fps = self._source.name, self._source.live, self._source.fps
        self.rounds = 1
        self._shift_s, self._next_s, self._count = 0.0, 0.0, 0

    @property
    def ended(self) -> bool:
        return self._clock_s() >= self._end_s or (self.live and self._source.ended)

    def read(self, timeout_s: Optional[float] = None) -> Optional[Frame]:
        if self.ended:
            return None
        frame = self._source.read(timeout_s)
        if self.live:
            return frame
        if frame is None:
            self._source.close()
            self._source = self._reopen()
            self.rounds += 1
            self._shift_s = self._next_s
            frame = self._source.read(timeout_s)
            if frame is None:
                return None  # closed meanwhile: a file that can be opened has a frame
        time_s = self._shift_s + frame.time_s
        self._next_s = time_s + 1 / (self.fps or 1.0)
        self._count += 1
        return Frame(frame.image, self._count - 1, time_s)

    def close(self) -> None:
        self._end_s = self._clock_s()
        self._source.close()


class Rss:
    """Samples of resident memory, one per interval.

    Args:
        interval_s: Between two samples.
        tell: Called with each.
        rss_mb: Resident memory now.
        clock_s: Monotonic time.
    """

    def __init__(
        self,
        interval_s: float,
        tell: Callable[[Sample], None] = lambda sample: None,
        rss_mb: Optional[Callable[[], float]] = None,
        clock_s: Callable[[], float] = time.monotonic,
    ):
        self.samples: List[Sample] = []
        self._interval_s, self._tell = interval_s, tell
        self._rss_mb, self._clock_s = rss_mb or resident_mb, clock_s
        self._started_s = clock_s()

    def after(self, frames: int) -> None:
        """Call behind every frame with how many there were."""
        seconds = self._clock_s() - self._started_s
        if seconds >= (len(self.samples) + 1) * self._interval_s:
            self.samples.append(Sample(seconds, self._rss_mb(), frames))
            self._tell(self.samples[-1])

    @property
    def growth(self) -> Optional[float]:
        """The largest later figure over the first, less 1; None with fewer than two figures."""
        if len(self.samples) < 2:
            return None
        return max(s.rss_mb for s in self.samples[1:]) / self.samples[0].rss_mb - 1


def soak(source: Source, perception: Perception, rss: Rss) -> Dict[str, Any]:
    """Run a source through everything, from frames to records and drawings.

    Args:
        source: Opened; it decides when it is over.
        perception: A fresh one.
        rss: Takes the samples.

    Returns:
        JSON-able: ``frames``, ``fps``, ``stages``, ``tracks``, ``embeddings_per_person_frame``,
        ``events`` of the lock, ``samples`` and ``growth``.

    Raises:
        ReidEdgeError: As the source and the perception raise it, or there were fewer than two
            samples.
    """
    events: Counter[str] = Counter()
    tracks = 0

    def step(frame: Frame) -> FrameRecord:
        record = perception.step(frame.image, frame.time_s)
        if record.lock.state == LOST:
            perception.lock.release()
        if perception.lock.state == IDLE and record.people:
            perception.choose_front()
        return record

    def sink(frame: Frame, record: FrameRecord) -> None:
        nonlocal tracks
        annotate(frame.image, record)
        json.dumps(record.to_dict())
        tracks = max([tracks, *(person.track for person in record.people)])
        if record.lock.event:
            events[record.lock.event] += 1

    timing = run_pipeline(source, step, sink, progress=rss.after)
    growth = rss.growth
    if growth is None:
        raise ReidEdgeError(
            "Memory can be judged from two samples on, got %d in %d frames; run for longer."
            % (len(rss.samples), timing.frames)
        )
    return {
        **timing.summary(),
        "tracks": tracks,
        "embeddings_per_person_frame": perception.schedule.per_person_frame,
        "events": dict(events),
        "samples": [sample._asdict() for sample in rss.samples],
        "growth": growth,
    }


def resident_mb(status: Path = _STATUS) -> float:
    """Resident memory of this process in megabytes (1e6 bytes), from Linux's /proc/self/status.

    Raises:
        ReidEdgeError: There is no such file, as on another system.
    """
    try:
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        raise ReidEdgeError(
            "Resident memory is read from %s, which has none here; run this on Linux." % status
        ) from None


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Run a video again and again through the whole chain and watch the memory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--source", required=True, help="video, folder of images or camera")
    p.add_argument("--detector", type=Path, help="ONNX file (default: OpenCV's HOG, slow)")
    p.add_argument("--bundle", type=Path, required=True, help="ReID network")
    p.add_argument("--minutes", type=float, default=30.0, help="how long (default: %(default)g)")
    p.add_argument(
        "--interval",
        type=float,
        default=60.0,
        help="seconds between samples (default: %(default)g)",
    )
    p.add_argument(
        "--limit", type=float, default=0.05, help="growth allowed (default: %(default)g)"
    )
    p.add_argument("--threads", type=int, default=1, help="of each network (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(argv: Optional[List[str]] = None) -> int:
    a = parser().parse_args(argv)
    try:
        if not (a.interval > 0 and 60 * a.minutes >= 2 * a.interval and a.limit >= 0):
            raise ReidEdgeError(
                "A soak needs an interval above 0 s, at least two of them in its minutes, and a limit "
                "of at least 0, got %g s, %g minutes and %g." % (a.interval, a.minutes, a.limit)
            )
        bundle = Bundle.open(a.bundle)
        embed = Embedder(bundle, open_backend(bundle, threads=a.threads)).embed
        detector = open_detector(a.detector, threads=a.threads)
        rss = Rss(a.interval, _nothing if a.json else _tell)
        # The sample at the very end needs a frame behind it.
        source = Looped(lambda: open_source(a.source), 60 * a.minutes + 0.1 * a.interval)
        with source:
            result = soak(source, Perception.with_bundle(bundle, detector.detect, embed), rss)
            result["rounds"] = source.rounds
    except ReidEdgeError as error:
        print("benchmarks.soak: %s" % error, file=sys.stderr)
        return error.exit_code
    passed = result["growth"] <= a.limit
    if a.json:
        print(json.dumps({"passed": passed, "machine": machine_record(), **result}))
    else:
        print(
            "%d frames in %.1f minutes, %d tracks, lock events %s, %.3f embeddings per person and frame"
            % (
                result["frames"],
                result["seconds"] / 60,
                result["tracks"],
                result["events"],
                result["embeddings_per_person_frame"],
            )
        )
        print(
            "resident memory %.1f MB after the first %g s, at most %+.1f %% later: %s"
            % (
                result["samples"][0]["rss_mb"],
                a.interval,
                100 * result["growth"],
                "passed" if passed else "more than %g %%" % (100 * a.limit),
            )
        )
    return 0 if passed else _GREW


def _nothing(sample: Sample) -> None:
    pass


def _tell(sample: Sample) -> None:
    line = "%7.0f s  %8.1f MB  %d frames" % (sample.seconds, sample.rss_mb, sample.frames)
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
