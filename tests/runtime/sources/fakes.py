"""Stand-ins for cv2.VideoCapture and for time, which do exactly what a test tells them."""

from __future__ import annotations

import threading

import cv2
import numpy as np

LOST, DAMAGED, CRASH = "lost", "damaged", "crash"
PATIENCE_S = 10.0  # of a test that waits for what must come


def picture(value, height=4, width=6):
    return np.full((height, width, 3), value, np.uint8)


class FakeVideo:
    """One opened cv2.VideoCapture that gives what is put on its tape.

    ``grab`` takes the next item and waits while there is none: an image, LOST (no frame), DAMAGED
    (arrives, cannot be decoded), CRASH (cv2.error) or an exception to raise.
    """

    def __init__(self, *items, opens=True):
        self.opens = opens
        self.idle = threading.Event()  # everything was taken and the next frame is waited for
        self.released = 0
        self.properties = []
        self.left = list(items)
        self._changed = threading.Condition()
        self._item = None

    def give(self, *items):
        with self._changed:
            self.left += items
            self.idle.clear()
            self._changed.notify_all()

    def isOpened(self):
        return self.opens

    def set(self, name, value):
        self.properties.append((name, value))
        return True

    def grab(self):
        with self._changed:
            while not self.left:
                self.idle.set()
                if not self._changed.wait(PATIENCE_S):
                    raise AssertionError("the test gave no more frames")
            self._item = self.left.pop(0)
        if isinstance(self._item, BaseException):
            raise self._item
        if isinstance(self._item, str) and self._item == CRASH:
            raise cv2.error("grab failed")
        return not (isinstance(self._item, str) and self._item == LOST)

    def retrieve(self):
        if isinstance(self._item, str):
            return False, None
        return True, self._item

    def release(self):
        self.released += 1


class Videos:
    """A cv2.VideoCapture class: each call opens the next of the given videos."""

    def __init__(self, *videos):
        self.left = list(videos)
        self.calls = []

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return self.left.pop(0) if self.left else FakeVideo(opens=False)


class FakeClock:
    """Time that passes when a test, or a wait, says so."""

    def __init__(self):
        self.now_s = 100.0
        self.waits_s = []
        self.before_wait = lambda: None

    def __call__(self):
        return self.now_s

    def wait(self, stop, seconds):
        self.before_wait()
        self.waits_s.append(seconds)
        self.now_s += seconds
        return stop.is_set()

    def sleep(self, seconds):
        self.waits_s.append(seconds)
        self.now_s += seconds
