"""Frames through three threads: one captures, one infers, one writes; in order, with bounded queues.

    capture ──queue──> step (the caller's thread) ──queue──> sink

The caller's thread infers, so that an interrupt from the keyboard reaches it. A live source is its own
capture thread and is asked for its newest frame only when the step is free; frames of a file are all
used.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from array import array
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional

import numpy as np

from runtime.frame_record import STAGES, FrameRecord
from runtime.sources import Frame, Source

_POLL_S = 0.1  # how often a waiting thread looks whether another has failed
_AHEAD = 4  # frames decoded ahead
_BEHIND = 8  # frames that wait to be written
_KEPT = 50000  # newest times of a stage that are kept: half an hour, and a camera may run for days


@dataclass
class Timing:
    """How long each stage took, per frame.

    Attributes:
        frames: Frames that went through.
        took_s: Seconds from the first frame to the last.
        stages_ms: Stage -> milliseconds of each of the newest 50,000 frames, in any order: those of
            the perception, "capture" (waiting for the source), "output" (drawing and writing).
    """

    frames: int = 0
    took_s: float = 0.0
    stages_ms: Dict[str, array[float]] = field(default_factory=dict)
    _added: Dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, stage: str, ms: float) -> None:
        """Take in one time; of one stage always from the same thread."""
        times, count = self.stages_ms.setdefault(stage, array("f")), self._added.get(stage, 0)
        if count < _KEPT:
            times.append(ms)
        else:
            times[count % _KEPT] = ms
        self._added[stage] = count + 1

    def summary(self) -> Dict[str, Any]:
        """Frames per second, and p50, p90 and p99 of every stage in milliseconds."""
        stages = {}
        for name in ("capture", *STAGES, "output"):
            if name in self.stages_ms:
                p50, p90, p99 = np.percentile(self.stages_ms[name], (50, 90, 99)).tolist()
                stages[name] = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
        fps = self.frames / self.took_s if self.took_s > 0 else None
        return {"frames": self.frames, "seconds": self.took_s, "fps": fps, "stages": stages}


class _Worker(threading.Thread):
    """A thread whose error is kept for the one who waits for it."""

    def __init__(self, name: str, work: Callable[[], None]):
        super().__init__(name=name, daemon=True)
        self._work = work
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # handed to the caller's thread, which raises it
            self.error = error


def run_pipeline(
    source: Source,
    step: Callable[[Frame], FrameRecord],
    sink: Callable[[Frame, FrameRecord], None],
    max_frames: Optional[int] = None,
    progress: Callable[[int], None] = lambda frames: None,
    timing: Optional[Timing] = None,
    end: Optional[threading.Event] = None,
) -> Timing:
    """Run until the source ends.

    Args:
        source: Opened.
        step: Called in this thread, frame after frame.
        sink: Called in a thread of its own, in the same order.
        max_frames: End after so many.
        progress: Called with the number of frames done.
        timing: Filled and returned; give one to have it also behind an interrupt.
        end: Once this is set no more frames are taken. For signal handlers: an exception of theirs may
            come in the middle of anything.

    Raises:
        KeyboardInterrupt: As it comes, after what was inferred has been written.
        Exception: The first error of the source, the step or the sink.
    """
    timing, end = timing or Timing(), end or threading.Event()
    stop = threading.Event()
    ahead: queue.Queue[Optional[Frame]] = queue.Queue(_AHEAD)
    behind: queue.Queue[Any] = queue.Queue(_BEHIND)

    def capture() -> None:
        try:
            for frame in source:
                if not _put(ahead, frame, stop):
                    return
        finally:
            _put(ahead, None, stop)

    written = 0

    def output() -> None:
        nonlocal written
        while True:
            item = behind.get()
            if item is None:
                return
            started = time.perf_counter()
            sink(*item)
            written += 1
            timing.add("output", 1e3 * (time.perf_counter() - started))

    def take() -> Optional[Frame]:
        """The next frame; None at the end."""
        while not end.is_set():
            if source.live:
                frame = source.read(_POLL_S)
                if frame is not None or source.ended:
                    return frame
            else:
                with contextlib.suppress(queue.Empty):
                    return ahead.get(timeout=_POLL_S)
        return None

    reader = None if source.live else _Worker("capture", capture)
    writer = _Worker("output", output)
    for worker in (reader, writer):
        if worker is not None:
            worker.start()
    begun = time.perf_counter()
    try:
        while max_frames is None or timing.frames < max_frames:
            started = time.perf_counter()
            frame = take()
            timing.add("capture", 1e3 * (time.perf_counter() - started))
            if frame is None:
                break
            record = step(frame)
            for stage, ms in record.took_ms.items():
                timing.add(stage, ms)
            if not _put(behind, (frame, record), stop, writer):
                break
            timing.frames += 1
            timing.took_s = time.perf_counter() - begun
            progress(timing.frames)
    finally:
        stop.set()
        if writer.is_alive():
            _put(behind, None, threading.Event(), writer)
        writer.join()
        timing.frames = written  # an interrupt may come between handing a frame on and counting it
        if reader is not None:
            source.close()
            reader.join()
    for worker in (reader, writer):
        if worker is not None and worker.error is not None:
            raise worker.error
    return timing


def _put(
    where: queue.Queue[Any],
    item: Any,
    stop: threading.Event,
    reader: Optional[threading.Thread] = None,
) -> bool:
    """Wait for room; False if nobody will take the item any more."""
    while not stop.is_set() and (reader is None or reader.is_alive()):
        try:
            where.put(item, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False
