"""A stand-in for the live application: publishes drawn frames and obeys wishes as it should."""

import threading
import time

import cv2
import numpy as np

from follow_robot.dashboard.hub import Hub, Parameter

PARAMETERS = (
    Parameter("distance_m", "Distance to keep", "m", 0.8, 4.0, 0.1, 1.5),
    Parameter("speed_mps", "Highest speed", "m/s", 0.0, 0.5, 0.05, 0.3),
)
# Left, top, right, bottom of three people; the second stands partly before the third.
PEOPLE = {
    3: (70.0, 120.0, 150.0, 400.0),
    5: (300.0, 150.0, 380.0, 420.0),
    8: (350.0, 170.0, 430.0, 390.0),
}
COLOURS = {3: (60, 60, 200), 5: (190, 120, 40), 8: (70, 160, 70)}


def draw(height: int = 480, width: int = 640) -> np.ndarray:
    """A corridor with the people of ``PEOPLE``, (H, W, 3) uint8 BGR."""
    scale = height / 480
    image = np.full((height, width, 3), (170, 176, 180), np.uint8)
    floor = np.array([[0, height], [width * 0.42, height * 0.42], [width * 0.58, height * 0.42]])
    floor = np.vstack([floor, [[width, height]]]).astype(np.int32)
    cv2.fillPoly(image, [floor], (110, 122, 128))
    for share in (0.42, 0.58):
        side = 0 if share < 0.5 else width
        cv2.line(image, (side, height), (int(width * share), int(height * 0.42)), (60, 66, 70), 2)
    for track in (8, 3, 5):
        left, top, right, bottom = (v * scale for v in PEOPLE[track])
        middle, tall, wide = (left + right) / 2, bottom - top, right - left

        def spot(x, y, middle=middle, wide=wide, top=top, tall=tall):
            return int(middle + x * wide / 2), int(top + y * tall)

        for side in (-1, 1):
            cv2.line(image, spot(side * 0.25, 0.5), spot(side * 0.45, 0.98), (50, 45, 45), 14)
            cv2.line(image, spot(side * 0.6, 0.2), spot(side * 0.8, 0.52), COLOURS[track], 12)
        cv2.rectangle(image, spot(-0.6, 0.17), spot(0.6, 0.55), COLOURS[track], -1)
        cv2.circle(image, spot(0, 0.085), int(tall * 0.075), (60, 80, 110), -1)
    return image


class FakeApp:
    """Publishes at ``rate_hz`` from a thread of its own until ``close``.

    Attributes:
        hub: Connected as the application's would be.
        pressed: Why the driver was stopped; empty after a re-arm.
        intents: Every wish collected, in order.
        paused: While set, the camera gives nothing (wishes are still obeyed).
        status: Put over what is published.
    """

    def __init__(self, image: np.ndarray, rate_hz: float = 20.0):
        self.hub = Hub(PARAMETERS, on_stop=self._press)
        self.pressed, self.intents = [], []
        self.pressed_in = []
        self.stopped = threading.Event()
        self.paused = threading.Event()
        self.status = {}
        self._image, self._period_s = image, 1 / rate_hz
        self._scale = image.shape[0] / 480
        self._mode, self._track = "hold", None
        self._values = {p.name: p.value for p in PARAMETERS}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def people(self):
        """Track to box, in pixels of the frame."""
        return {t: tuple(v * self._scale for v in box) for t, box in PEOPLE.items()}

    def wait_for(self, kind: str, count: int = 1, timeout_s: float = 20.0):
        """The ``count``-th wish of a kind, once it has come."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            found = [i for i in list(self.intents) if i.kind == kind]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.01)
        raise AssertionError("no %s came, only %s" % (kind, [i.kind for i in self.intents]))

    def _press(self, why: str) -> None:
        self.pressed_in.append(threading.current_thread().name)
        self.pressed.append(why)
        self.stopped.set()

    def _run(self) -> None:
        while not self._end.wait(self._period_s):
            for intent in self.hub.intents():
                self.intents.append(intent)
                self._obey(intent)
            if not self.paused.is_set():
                self._publish()

    def _obey(self, intent) -> None:
        if intent.kind == "choose":
            self._track = intent.track
        elif intent.kind == "choose_front":
            self._track = 5
        elif intent.kind == "release":
            self._track = None
        elif intent.kind == "rearm":
            self.pressed = []
        elif intent.kind == "set":
            self._values.update(intent.values)
        if intent.kind in ("stop", "hold", "rearm"):
            self._mode = "hold"
        elif intent.kind == "go":
            self._mode = "go"

    def _publish(self) -> None:
        people = self.people()
        known = self._track in people
        moving = known and self._mode == "go" and not self.pressed
        speed = 0.21 if moving else 0.0
        status = {
            "time_s": time.monotonic() - 0.05,
            "frame_size": self._image.shape[:2],
            "mode": self._mode,
            "stop": {"pressed": bool(self.pressed), "reasons": list(self.pressed)},
            "people": [{"track": t, "box": b, "score": 0.8} for t, b in people.items()],
            "lock": {
                "state": "locked" if known else "idle",
                "track": self._track,
                "box": people[self._track] if known else None,
                "similarity": 0.74 if known else None,
                "margin": 0.3 if known else None,
                "event": None,
            },
            "threshold": 0.5,
            "target": {"distance_m": 1.8, "bearing_rad": 0.02} if known else None,
            "command": {"vx_mps": speed, "vy_mps": 0.0, "wz_radps": 0.0},
            "sent": {"vx_mps": speed, "vy_mps": 0.0, "wz_radps": 0.0},
            "measured": {"vx_mps": speed * 0.95, "vy_mps": 0.0, "wz_radps": 0.0},
            "reasons": [] if moving else ["on hold"],
            "parameters": dict(self._values),
            "took_ms": {"detect": 31.0, "embed": 14.0, "track": 0.9, "lock": 0.4},
            "fps": 14.8,
            "battery_v": 11.9,
            "driver": {"ok": True, "text": "running, 20 Hz"},
            "port": {"ok": True, "text": "wheeltec on /dev/ttyUSB0"},
            "recording": {"ok": False, "text": "off"},
        }
        status.update(self.status)
        self.hub.publish(self._image, status)
