"""What people want of the running car, from the page and from the command line, as choices."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from follow_robot.choices import BOX, FRONT, GO, HOLD, POINT, RELEASE, SET, Choice
from follow_robot.dashboard.hub import Intent
from runtime.frame_record import FrameRecord
from runtime.lock_types import IDLE

FRESH_S = 1.0  # a wish to drive or to choose that waited longer for a frame is dropped
_PLAIN = {"choose_front": FRONT, "release": RELEASE, "go": GO, "hold": HOLD}
_WHOM = (BOX, POINT, FRONT, RELEASE)
_NEVER_OLD = (HOLD, RELEASE, SET)


def choices_of(
    intents: Sequence[Intent], rearm: Callable[[], object], press: Callable[[str], object]
) -> List[Choice]:
    """The page's wishes as choices for the next frame; stops and re-arming happen here and now.

    A stop also ends driving: after it is re-armed, the car waits for another "go". The driver had it
    when the button was pressed; it gets it again, lest an older re-arming that was carried out just
    then has taken it back.
    """
    choices: List[Choice] = []
    for intent in intents:
        if intent.kind == "rearm":
            rearm()
        elif intent.kind == "stop":
            press("STOP pressed by %s" % intent.client)
            choices.append(Choice(HOLD))
        elif intent.kind == "choose" and intent.box is not None:
            choices.append(Choice(BOX, tuple(float(v) for v in intent.box)))
        elif intent.kind == "choose" and intent.point is not None:
            choices.append(Choice(POINT, tuple(float(v) for v in intent.point)))
        elif intent.kind == "set":
            for name, value in (intent.values or {}).items():
                choices.append(Choice(SET, (float(value),), name))
        elif intent.kind in _PLAIN:
            choices.append(Choice(_PLAIN[intent.kind]))
    return choices


class FirstWish:
    """Whom to follow and whether to go, as said on the command line.

    A person is chosen as soon as somebody is seen, and again while the lock could not learn them.

    Args:
        target: Box, point, front or gallery; None to wait for the page.
        go: Drive without waiting for the page.
    """

    def __init__(self, target: Optional[Choice], go: bool):
        self._target, self._go = target, go

    def due(self, last: Optional[FrameRecord]) -> List[Choice]:
        """Choices for the next frame, after ``last``."""
        due: List[Choice] = []
        if self._go:
            self._go = False
            due.append(Choice(GO))
        if last is not None and last.lock.event == "enrolled":
            self._target = None
        if self._target is None:
            return due
        if self._target.embeddings is not None:
            due.append(self._target)
            self._target = None
        elif last is not None and last.people and last.lock.state == IDLE:
            due.append(self._target)
        return due

    def overrule(self, kind: str) -> None:
        """Somebody decides otherwise at the page: about the person, or about driving."""
        if kind in _WHOM:
            self._target = None
        elif kind in (GO, HOLD):
            self._go = False


class _Waiting(NamedTuple):
    choice: Choice
    since_s: float


class Wishes:
    """All wishes, until there is a frame on which they can be done. Pure.

    Args:
        first: Those of the command line.
    """

    def __init__(self, first: FirstWish):
        self._first = first
        self._waiting: List[_Waiting] = []

    def add(self, choices: Sequence[Choice], now_s: float) -> None:
        """The page wants this."""
        for choice in choices:
            self._first.overrule(choice.kind)
            self._waiting.append(_Waiting(choice, now_s))

    def stopped(self, going: bool, now_s: float) -> None:
        """The emergency stop is latched, by whomever: once it is re-armed, the car waits for a "go".

        Args:
            going: Whether the car would drive on.
            now_s: Monotonic time.
        """
        self._first.overrule(HOLD)
        self._waiting = [w for w in self._waiting if w.choice.kind != GO]
        if going and not any(w.choice.kind == HOLD for w in self._waiting):
            self._waiting.append(_Waiting(Choice(HOLD), now_s))

    def take(self, last: Optional[FrameRecord], now_s: float) -> Tuple[List[Choice], List[str]]:
        """Choices for the frame that came after ``last``, and a sentence for each that is dropped."""
        waiting, self._waiting = self._waiting, []
        choices: List[Choice] = []
        dropped: List[str] = []
        for choice, since_s in waiting:
            if choice.kind in _NEVER_OLD or now_s - since_s <= FRESH_S:
                choices.append(choice)
            else:
                what = "Go" if choice.kind == GO else "The choice of a person"
                dropped.append(
                    "%s was dropped, because no frame came for %.0f s after it; do it again."
                    % (what, now_s - since_s)
                )
        return choices + self._first.due(last), dropped
