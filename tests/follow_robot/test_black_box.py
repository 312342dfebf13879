"""The writer: whatever the disk does, the car does not notice."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List, Optional

import pytest

from follow_robot.black_box import PART, BlackBox, RecordingSettings, header_of
from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.black_box_records import EndEntry, EventEntry, FrameEntry
from follow_robot.config import Config
from runtime.errors import ReidEdgeError
from tests.conftest import ROOT
from tests.follow_robot.recorded_run import entries, header

HEADER = header()
SOON_S = 20.0  # for things that take far less on an idle machine


def settings(folder: Path, **more) -> RecordingSettings:
    return RecordingSettings(**{"folder": str(folder), "min_free_mb": 0.0, **more})


def event(number: int) -> EventEntry:
    return EventEntry(float(number), "event %d" % number)


def texts(path: Path):
    with BlackBoxReader(path) as reader:
        return [e.text for e in reader if isinstance(e, EventEntry)], reader


def wait_for(condition) -> None:
    end_s = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end_s, "this took too long"
        time.sleep(0.01)


class Disk:
    """A file that can be made to fail or to wait."""

    def __init__(self, path: Path):
        self.file = open(path, "xb", buffering=0)
        self.error: Optional[int] = None
        self.least: Optional[int] = None  # bytes it takes at once
        self.free = threading.Event()
        self.free.set()

    def write(self, data):
        assert self.free.wait(SOON_S)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return self.file.write(data if self.least is None else data[: self.least])

    def fileno(self):
        return self.file.fileno()

    def close(self):
        self.file.close()


def on_disk(tmp_path, **more):
    """A black box on a Disk, the disk, and the warnings."""
    disks: List[Disk] = []
    warnings: List[str] = []

    def open_file(path):
        disks.append(Disk(path))
        return disks[0]

    box = BlackBox(settings(tmp_path, **more), HEADER, warnings.append, open_file=open_file)
    return box, disks[0], warnings


# -- a good disk --------------------------------------------------------------------------------------


def test_a_run_is_read_back_in_order(tmp_path):
    run = entries(20)
    with BlackBox(settings(tmp_path / "new" / "folder"), HEADER) as box:
        assert box.path.name.endswith(".blackbox" + PART)
        assert all(box.put(entry) for entry in run[1:-1])
        assert box.ended is None
    assert box.ended == "closed" and box.lost == 0
    assert [p.name for p in box.path.parent.iterdir()] == ["follow-20260114T153012.blackbox"]
    assert box.path.stat().st_size == box.written_bytes
    with BlackBoxReader(box.path) as reader:
        read = list(reader)
    assert reader.cut is None and reader.missing == 0
    assert [type(e) for e in read] == [type(e) for e in run[1:]]
    assert read[-1] == EndEntry("closed", len(run) - 1)
    assert [e.observation.time_s for e in read if isinstance(e, FrameEntry)] == [
        e.observation.time_s for e in run if isinstance(e, FrameEntry)
    ]


def test_what_is_put_reaches_the_file_without_closing(tmp_path):
    box = BlackBox(settings(tmp_path), HEADER)
    before = box.written_bytes
    box.put(event(1))
    wait_for(lambda: box.written_bytes > before)
    read, reader = texts(box.path)
    assert read == ["event 1"]
    assert reader.cut is not None and "without the writer's last words" in reader.cut
    box.close("enough")
    assert texts(box.path)[1].end == EndEntry("enough", 2)


def test_after_closing_nothing_is_taken(tmp_path):
    box = BlackBox(settings(tmp_path), HEADER)
    box.close()
    size = box.path.stat().st_size
    assert box.put(event(1)) is False
    box.close("again")
    assert box.path.stat().st_size == size and box.ended == "closed"


def test_an_exception_is_named_as_the_end(tmp_path):
    with pytest.raises(RuntimeError), BlackBox(settings(tmp_path), HEADER) as box:
        raise RuntimeError("boom")
    assert texts(box.path)[1].end.reason == "ended by RuntimeError"


def test_no_recording_is_overwritten(tmp_path):
    names = []
    for _ in range(3):
        with BlackBox(settings(tmp_path), HEADER) as box:
            pass
        names.append(box.path.name)
    first = BlackBox(settings(tmp_path), HEADER)
    second = BlackBox(settings(tmp_path), HEADER)
    names += [first.path.name, second.path.name]
    first.close()
    second.close()
    assert len(set(names)) == 5 and len(list(tmp_path.iterdir())) == 5


def test_entries_of_several_threads_are_all_there(tmp_path):
    with BlackBox(settings(tmp_path, queue_records=10000), HEADER) as box:
        threads = [
            threading.Thread(target=lambda n=n: [box.put(event(1000 * n + k)) for k in range(500)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read, reader = texts(box.path)
    assert reader.missing == 0 and reader.cut is None
    assert sorted(read) == sorted("event %d" % (1000 * n + k) for n in range(4) for k in range(500))
    for n in range(4):  # each thread's in its order
        own = [int(t.split()[1]) for t in read if int(t.split()[1]) // 1000 == n]
        assert own == sorted(own)


def test_a_disk_that_takes_little_at_once(tmp_path):
    box, disk, warnings = on_disk(tmp_path)
    disk.least = 7
    for number in range(20):
        box.put(event(number))
    box.close()
    assert texts(box.path)[0] == ["event %d" % n for n in range(20)] and not warnings


def test_the_file_is_forced_onto_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(time.monotonic()))
    box = BlackBox(settings(tmp_path, sync_s=0.1), HEADER)
    box.put(event(1))
    wait_for(lambda: len(synced) >= 3)
    box.close()


# -- bad disks ----------------------------------------------------------------------------------------


def test_put_never_waits_for_the_disk(tmp_path):
    box, disk, warnings = on_disk(tmp_path, queue_records=100)
    disk.free.clear()  # it hangs
    box.put(event(0))
    took = []
    for number in range(1, 1000):
        started = time.perf_counter()
        box.put(event(number))
        took.append(time.perf_counter() - started)
    assert sorted(took)[len(took) // 2] < 1e-4  # 0.1 ms; the median, as the machine may be busy
    assert sum(took) < 1.0
    assert box.lost >= 899 - 64
    disk.free.set()
    wait_for(lambda: warnings)
    box.close()
    assert warnings == ["The disk is too slow: the recording %s has gaps." % (box.path.name + PART)]
    read, reader = texts(box.path)
    assert reader.missing == box.lost and len(read) == 1000 - box.lost
    assert reader.cut is None and reader.end == EndEntry("closed", 1001)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_ends_the_recording_with_one_warning(tmp_path, number):
    box, disk, warnings = on_disk(tmp_path)
    box.put(event(0))
    size = box.written_bytes
    wait_for(lambda: box.written_bytes > size)
    disk.error = number
    box.put(event(1))
    wait_for(lambda: warnings)
    assert warnings == ["Recording ended: %s. The car goes on without." % os.strerror(number)]
    assert box.ended == os.strerror(number)
    assert box.put(event(2)) is False
    box.close()
    assert len(warnings) == 1
    assert box.path.name.endswith(PART)  # not closed well
    assert texts(box.path)[0] == ["event 0"]


def test_a_disk_that_hangs_at_the_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("follow_robot.black_box._CLOSE_S", 0.2)
    box, disk, warnings = on_disk(tmp_path)
    disk.free.clear()
    box.put(event(0))
    started = time.monotonic()
    box.close()
    assert time.monotonic() - started < SOON_S / 2
    assert warnings == [
        "Recording ended: the disk did not take the end in 0.2 s. The car goes on without."
    ]
    disk.free.set()
    box._thread.join(SOON_S)


def test_a_warning_that_cannot_be_given_harms_nothing(tmp_path):
    def warn(text):
        raise RuntimeError("nobody listens")

    room = [1e12]
    box = BlackBox(settings(tmp_path), HEADER, warn, free_bytes=lambda folder: room[0])
    room[0] = -1.0
    wait_for(lambda: box.ended)
    box.close()
    assert texts(box.path)[1].end is not None


def test_recording_ends_well_while_there_is_still_room(tmp_path):
    room = [1e9]
    warnings: List[str] = []
    box = BlackBox(
        settings(tmp_path, min_free_mb=100.0),
        HEADER,
        warnings.append,
        free_bytes=lambda folder: room[0],
    )
    box.put(event(0))
    room[0] = 99e6
    wait_for(lambda: box.ended)
    wait_for(lambda: warnings)
    assert box.path.suffix == ".blackbox"
    assert len(warnings) == 1 and "needs 100 MB of free room, got 99" in warnings[0]
    read, reader = texts(box.path)
    assert read == ["event 0"] and reader.end.reason == "disk nearly full" and reader.cut is None
    box.close()


def test_a_full_disk_is_said_before_the_start(tmp_path):
    with pytest.raises(ReidEdgeError, match="needs 200 MB of free room, got 5"):
        BlackBox(RecordingSettings(str(tmp_path)), HEADER, free_bytes=lambda folder: 5e6)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_does_not_take_the_header_is_said_and_nothing_is_left(tmp_path):
    def open_file(path):
        disk = Disk(path)
        disk.error = errno.ENOSPC
        return disk

    with pytest.raises(ReidEdgeError, match=r"Cannot record into .*: No space left on device"):
        BlackBox(settings(tmp_path), HEADER, open_file=open_file)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidEdgeError, match=r"Cannot record into .*: File exists"):
        BlackBox(settings(tmp_path / "file"), HEADER)
    with pytest.raises(ReidEdgeError, match=r"Cannot record into .*: Not a directory"):
        BlackBox(settings(tmp_path / "file" / "folder"), HEADER)
    with pytest.raises(ReidEdgeError, match=r"set recording\.folder"):
        BlackBox(RecordingSettings(), HEADER)


@pytest.mark.parametrize(
    "wrong", [{"min_free_mb": -1.0}, {"queue_records": 1}, {"sync_s": 0.0}, {"sync_s": 100.0}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ReidEdgeError, match="Recording's %s must be" % next(iter(wrong))):
        RecordingSettings(**wrong)


def test_an_entry_that_cannot_be_written_ends_the_recording_only(tmp_path):
    warnings: List[str] = []
    box = BlackBox(settings(tmp_path), HEADER, warnings.append)
    box.put(EventEntry(1.0, object()))  # type: ignore[arg-type]
    wait_for(lambda: warnings)
    assert "An event" in warnings[0] or "A event" in warnings[0]
    assert box.put(event(1)) is False
    box.close()


# -- a killed process ---------------------------------------------------------------------------------

WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from follow_robot.black_box import BlackBox, RecordingSettings
from follow_robot.black_box_records import EventEntry
from tests.follow_robot.recorded_run import header
limit = int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
box = BlackBox(RecordingSettings(sys.argv[2], min_free_mb=0.0), header(), lambda text: print("warned " + text + "\\n", end="", flush=True))
for number in range(100000):
    box.put(EventEntry(float(number), "event %d" % number))
    if number == 50:
        while box.written_bytes < 2000:
            time.sleep(0.01)
        print("ready", flush=True)
    time.sleep(0.002)
    if box.ended:
        break
print("still driving\\n", end="", flush=True)
"""


def writer(folder: Path, limit: int = 0) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(ROOT), str(folder), str(limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def test_a_killed_process_leaves_a_recording_that_says_so(tmp_path):
    with writer(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait(SOON_S)
    (path,) = tmp_path.iterdir()
    assert path.name.endswith(PART)
    read, reader = texts(path)
    assert read == ["event %d" % n for n in range(len(read))] and len(read) > 5
    assert reader.cut is not None and "last words" in reader.cut


def test_a_disk_that_is_full_for_the_system_too(tmp_path):
    """The file may not grow beyond 15 kB: the kernel refuses the write (EFBIG)."""
    with writer(tmp_path, 15000) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    lines = out.splitlines()
    assert lines[0] == "ready" and lines[-1] == "still driving"
    assert [line for line in lines if line.startswith("warned")] == [
        "warned Recording ended: File too large. The car goes on without."
    ]
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size <= 15000
    read, reader = texts(path)
    assert len(read) > 100 and reader.cut is not None


# -- the header ---------------------------------------------------------------------------------------


def test_the_header_says_what_a_person_wants_to_know():
    found = header_of(Config().to_dict(), True, None, False, {"bundle": "b"})
    assert found.tool.startswith("reid-edge ") and found.started_at[10] == "T"
    assert abs(found.started_s - time.monotonic()) < SOON_S
    assert {"machine", "numpy", "python", "system"} <= set(found.machine)
    assert json.loads(json.dumps(found.config)) == Config().to_dict()
    assert (found.holonomic, found.network, found.notes) == (True, False, {"bundle": "b"})
