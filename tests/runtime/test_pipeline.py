"""Frames through three threads: their order, what waits for what, and where errors go."""

import itertools
import threading

import numpy as np
import pytest

from runtime import pipeline
from runtime.frame_record import STAGES, FrameRecord
from runtime.lock_types import LockOutput
from runtime.pipeline import Timing, run_pipeline
from runtime.sources import Frame, Source

PATIENCE_S = 20.0  # what must happen happens long before


class Numbers(Source):
    """Frames whose pixels are their number; may raise, and may wait for a permission per frame."""

    name, live, fps = "numbers", False, 10.0

    def __init__(self, count, error=None, gate=None):
        self.count, self.error, self.gate = count, error, gate
        self.given, self.closed = 0, 0

    @property
    def ended(self):
        return self.given >= self.count or bool(self.closed)

    def read(self, timeout_s=None):
        if self.gate is not None:
            assert self.gate.acquire(timeout=PATIENCE_S)
        if self.closed:
            return None
        if self.given >= self.count:
            if self.error is not None:
                raise self.error
            return None
        self.given += 1
        number = self.given - 1
        return Frame(np.full((2, 2, 3), number % 256, np.uint8), number, number / 10)

    def close(self):
        self.closed += 1
        if self.gate is not None:
            self.gate.release()


def record(frame):
    took_ms = {stage: float(i) for i, stage in enumerate(STAGES)}
    return FrameRecord(
        frame.index, frame.time_s, (2, 2), [], LockOutput("idle"), [0.0] * 6, took_ms
    )


class Written:
    """A sink that keeps what came, and may wait or fail."""

    def __init__(self, gate=None, fail_at=None):
        self.numbers, self.gate, self.fail_at = [], gate, fail_at
        self.threads = set()

    def __call__(self, frame, said):
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        self.threads.add(threading.current_thread().name)
        assert frame.index == said.index and frame.image[0, 0, 0] == frame.index % 256
        if frame.index == self.fail_at:
            raise OSError(28, "No space left on device")
        self.numbers.append(frame.index)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_every_frame_in_order():
    source, sink, done, steps = Numbers(50), Written(), [], []

    def step(frame):
        steps.append((frame.index, threading.current_thread()))
        return record(frame)

    timing = run_pipeline(source, step, sink, progress=done.append)
    assert [number for number, _ in steps] == sink.numbers == list(range(50))
    assert {thread for _, thread in steps} == {threading.current_thread()}
    assert sink.threads == {"output"}
    assert done == list(range(1, 51)) and timing.frames == 50 and source.closed
    assert set(timing.stages_ms) == {"capture", "output", *STAGES}
    assert len(timing.stages_ms["output"]) == len(timing.stages_ms["lock"]) == 50


def test_no_more_than_asked_for():
    source, sink = Numbers(10**9), Written()
    assert run_pipeline(source, record, sink, max_frames=7).frames == 7
    assert sink.numbers == list(range(7))
    # Decoded ahead at most: the queue, and one in the reader's hands.
    assert source.given <= 7 + pipeline._AHEAD + 1
    assert run_pipeline(Numbers(3), record, sink, max_frames=0).frames == 0


def test_an_empty_source():
    timing = run_pipeline(Numbers(0), record, Written())
    assert timing.frames == 0 and timing.summary()["fps"] is None


def test_a_slow_step_does_not_let_frames_pile_up():
    gate = threading.Semaphore(0)
    source = Numbers(100, gate=gate)
    for _ in range(100):
        gate.release()
    seen = []

    def step(frame):
        # Wait until the reader has decoded what it may, and then a little for what it may not.
        limit = min(frame.index + 1 + pipeline._AHEAD + 1, 100)
        for _ in range(200):
            if source.given >= limit:
                break
            threading.Event().wait(0.01)
        seen.append(source.given - frame.index)
        return record(frame)

    run_pipeline(source, step, Written(), max_frames=10)
    assert max(seen) <= 1 + pipeline._AHEAD + 1


def test_a_slow_sink_holds_the_steps_back():
    gate, steps = threading.Event(), []

    def step(frame):
        steps.append(frame.index)
        if len(steps) == pipeline._BEHIND + 1:
            # One is in the sink's hands and eight wait: this one's successor must wait for room.
            threading.Timer(0.2, lambda: (held.append(len(steps)), gate.set())).start()
        return record(frame)

    held, sink = [], Written(gate)
    run_pipeline(Numbers(40), step, sink)
    assert held[0] <= pipeline._BEHIND + 2 and sink.numbers == list(range(40))


@pytest.mark.parametrize("at", [0, 5, 39])
def test_the_sources_error_comes_out_and_all_before_is_written(at):
    sink = Written()
    with pytest.raises(ValueError, match="damaged"):
        run_pipeline(Numbers(at, ValueError("damaged")), record, sink)
    assert sink.numbers == list(range(at))


@pytest.mark.parametrize("at", [0, 5, 39])
def test_the_steps_error_comes_out_and_all_before_is_written(at):
    def step(frame):
        if frame.index == at:
            raise ValueError("no detections")
        return record(frame)

    sink, source = Written(), Numbers(40)
    with pytest.raises(ValueError, match="no detections"):
        run_pipeline(source, step, sink)
    assert sink.numbers == list(range(at)) and source.closed


@pytest.mark.parametrize("at", [0, 5, 39])
def test_the_sinks_error_comes_out(at):
    sink, source = Written(fail_at=at), Numbers(40)
    with pytest.raises(OSError, match="No space left"):
        run_pipeline(source, record, sink)
    assert sink.numbers == list(range(at)) and source.closed


def test_the_sinks_error_ends_an_endless_run():
    source = Numbers(10**9)
    with pytest.raises(OSError, match="No space left"):
        run_pipeline(source, record, Written(fail_at=3))
    # After the fourth frame at most what the queues hold.
    assert source.given <= 4 + pipeline._BEHIND + pipeline._AHEAD + 4


def test_an_interrupt_keeps_what_was_inferred():
    gate, timing = threading.Event(), Timing()

    def step(frame):
        if frame.index == 6:
            gate.set()  # until now nothing was written
            raise KeyboardInterrupt
        return record(frame)

    sink = Written(gate)
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(Numbers(10**9), step, sink, timing=timing)
    assert sink.numbers == list(range(6)) and timing.frames == 6 and timing.took_s > 0


class InterruptedCount(Timing):
    """Ctrl-C between handing the third frame on and counting it."""

    def __setattr__(self, name, value):
        if name == "frames" and value == 3 and not hasattr(self, "came"):
            self.came = True
            raise KeyboardInterrupt
        super().__setattr__(name, value)


def test_an_interrupt_before_counting_counts_what_was_written():
    sink, timing = Written(), InterruptedCount()
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(Numbers(10), record, sink, timing=timing)
    assert sink.numbers == [0, 1, 2] and timing.frames == 3


def test_an_end_from_outside_keeps_what_was_inferred():
    end, sink = threading.Event(), Written()

    def step(frame):
        if frame.index == 6:
            end.set()
        return record(frame)

    timing = run_pipeline(Numbers(10**9), step, sink, end=end)
    assert sink.numbers == list(range(7)) and timing.frames == 7


class Newest(Numbers):
    """A camera: frames come by themselves, and who asks gets the newest."""

    live = True

    def __init__(self):
        super().__init__(10**9)
        self.arrived, self.readers = 0, set()

    def read(self, timeout_s=None):
        self.readers.add(threading.current_thread())
        return Frame(np.full((2, 2, 3), self.arrived, np.uint8), self.arrived, 0.0)


def test_a_camera_is_asked_for_its_newest_frame_when_the_step_is_free():
    # While a step works three more frames arrive; a thread that reads ahead would hold an old one.
    source, sink, arrived = Newest(), Written(), []

    def step(frame):
        arrived.append(source.arrived)
        source.arrived += 3
        return record(frame)

    run_pipeline(source, step, sink, max_frames=5)
    assert sink.numbers == arrived == [0, 3, 6, 9, 12]
    assert source.readers == {threading.current_thread()} and not source.closed


def test_a_camera_that_gives_nothing_can_be_ended():
    end = threading.Event()

    class Silent(Newest):
        def read(self, timeout_s=None):
            assert timeout_s is not None, "nobody could end this"
            end.set()

    assert run_pipeline(Silent(), record, Written(), end=end).frames == 0


def test_timing():
    timing = Timing(frames=4, took_s=2.0)
    for ms in (1.0, 2.0, 3.0, 4.0):
        timing.add("embed", ms)
    said = timing.summary()
    assert (said["frames"], said["seconds"], said["fps"]) == (4, 2.0, 2.0)
    assert list(said["stages"]) == ["embed"]
    assert said["stages"]["embed"] == pytest.approx({"p50_ms": 2.5, "p90_ms": 3.7, "p99_ms": 3.97})


def test_timing_keeps_the_newest_frames_only(monkeypatch):
    monkeypatch.setattr(pipeline, "_KEPT", 10)
    timing = Timing()
    for ms in range(25):
        timing.add("lock", ms)
    assert sorted(timing.stages_ms["lock"]) == list(range(15, 25))
    for ms in itertools.repeat(7.0, 4):
        timing.add("track", ms)
    assert list(timing.stages_ms["track"]) == [7.0] * 4
