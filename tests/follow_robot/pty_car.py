"""A car behind a pseudo-terminal that records what reaches it, and a main process to be killed.

The decoder counts bytes as WHEELTEC's firmware does and shares no code with the chassis' own.
"""

import os
import subprocess
import sys
import termios
import threading
import time
import tty
from pathlib import Path
from typing import List, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Frame(NamedTuple):
    """One valid command: when its last byte was read, and the velocity."""

    time_s: float
    vx_mps: float
    vy_mps: float
    wz_radps: float

    @property
    def moves(self):
        return any(self[1:])


class Firmware:
    """Counts 11 bytes from the first 7B, then checks tail and checksum; it never looks back."""

    def __init__(self):
        self.taken = b""

    def feed(self, data):
        for byte in data:
            if not self.taken and byte != 0x7B:
                continue
            self.taken += bytes([byte])
            if len(self.taken) == 11:
                frame, self.taken = self.taken, b""
                check = 0
                for other in frame[:9]:
                    check ^= other
                if frame[10] == 0x7D and frame[9] == check:
                    words = [
                        int.from_bytes(frame[i : i + 2], "big", signed=True) for i in (3, 5, 7)
                    ]
                    yield [word / 1000 for word in words]


def telemetry_frame(vx_mps=0.0, battery_v=12.0, flag=0):
    """A 24-byte report, written down from the protocol."""
    body = bytearray(22)
    body[0], body[1] = 0x7B, flag
    body[2:4] = round(vx_mps * 1000).to_bytes(2, "big", signed=True)
    body[20:22] = round(battery_v * 1000).to_bytes(2, "big", signed=True)
    check = 0
    for byte in body:
        check ^= byte
    return bytes(body) + bytes([check, 0x7D])


class PtyCar:
    """The chassis' end of a serial line; the other end is at ``path``, a link that outlives it."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "chassis")
        self.spec = "wheeltec:" + self.path
        self.frames: List[Frame] = []
        self.bytes = 0
        self.reading = threading.Event()
        self._news = threading.Condition()
        self._master = None
        self._idle_s = 0.0
        self.plug()

    def plug(self):
        """A new device appears under the same name."""
        self._firmware = Firmware()
        self._master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        link = self.path + ".new"
        os.symlink(os.ttyname(slave), link)
        os.replace(link, self.path)
        self._slave = slave  # held, so that nothing is lost between two users of the port
        self.reading.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(self._master,), daemon=True)
        self._thread.start()

    def unplug(self):
        """The device vanishes, as when its plug is pulled."""
        self._stop.set()
        os.unlink(self.path)
        self._thread.join(5)
        os.close(self._slave)
        os.close(self._master)
        self._master = None

    def close(self):
        if self._master is not None:
            self.unplug()

    def say(self, data):
        """Bytes from the car."""
        os.write(self._master, data)

    def _read(self, master):
        os.set_blocking(master, False)
        while not self._stop.is_set():
            if not self.reading.wait(0.05):
                continue
            try:
                data = os.read(master, 4096)
            except BlockingIOError:
                self._idle_s = time.monotonic()
                time.sleep(0.001)
                continue
            time_s = time.monotonic()
            with self._news:
                self.bytes += len(data)
                self.frames += [Frame(time_s, *v) for v in self._firmware.feed(data)]
                self._news.notify_all()

    def wait_for(self, wanted, timeout_s=15.0):
        """Wait until ``wanted(frames)`` holds; the frames then."""
        with self._news:
            assert self._news.wait_for(lambda: wanted(self.frames), timeout_s), (
                "not seen within %g s; last frames: %s" % (timeout_s, self.frames[-5:])
            )
            return list(self.frames)

    def quiet(self):
        """All frames, when nothing has come any more; for after the end of who writes."""
        since_s = time.monotonic() + 0.05  # the kernel hands over from one end to the other
        while self._idle_s < since_s:
            time.sleep(0.01)
        return list(self.frames)


def moving(frames):
    """For ``wait_for``: the newest frame moves the car."""
    return bool(frames) and frames[-1].moves


def standing(frames):
    return bool(frames) and not frames[-1].moves


def last_stops(frames):
    """How many stops end the record."""
    count = 0
    for frame in reversed(frames):
        if frame.moves:
            break
        count += 1
    return count


# Steers straight ahead until it is ended; prints the driver's process id.
MAIN = """
import os, signal, sys, time
from follow_robot.driver_link import DriverLink
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import Command, Velocity

link = DriverLink(sys.argv[1], SafetyLimits()).start()
if "fork" in sys.argv:  # a child that keeps every file open
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
print(link._process.pid, flush=True)
sequence = 0
while True:
    sequence += 1
    now_s = time.monotonic()
    link.send(Command(Velocity(0.4, 0.0, 0.3), now_s, now_s, now_s, sequence))
    time.sleep(0.02)
"""


def start_main(spec, *options):
    """The main process above, in a process group of its own, and its driver's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, spec, *options],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    return process, int(process.stdout.readline())


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pid, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while alive(pid):
        assert time.monotonic() < end_s, "process %d still runs" % pid
        time.sleep(0.01)
