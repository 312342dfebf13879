"""What a user tells the running chain: whom to follow, go, hold, how near. Pure, so it can be replayed."""

import math
from dataclasses import replace
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from follow_robot.follower import Follower
from runtime.errors import ReidEdgeError
from runtime.perception import Perception

BOX, POINT, FRONT, GALLERY = "choose_box", "choose_point", "choose_front", "gallery"
RELEASE, GO, HOLD, SET = "release", "go", "hold", "set"
SETTABLE = ("distance_m", "speed_mps")
# How many numbers belong to each.
KINDS = {BOX: 4, POINT: 2, FRONT: 0, GALLERY: 0, RELEASE: 0, GO: 0, HOLD: 0, SET: 1}


class Choice(NamedTuple):
    """One thing the user wants, for the next frame on.

    Attributes:
        kind: One of ``KINDS``.
        numbers: The box (left, top, right, bottom) or point (x, y) on the last frame, in pixels; or
            the new value of a setting.
        name: The setting, for ``"set"``: a field of the controller's settings.
        embeddings: (N, D) of the target's photos, for ``"gallery"``.
    """

    kind: str
    numbers: Tuple[float, ...] = ()
    name: str = ""
    embeddings: Optional[np.ndarray] = None

    def check(self) -> None:
        """Raise ReidEdgeError unless kind and numbers fit together."""
        count = KINDS.get(self.kind)
        if count is None:
            raise ReidEdgeError(
                "A choice must be one of %s, got %r." % (", ".join(KINDS), self.kind)
            )
        if len(self.numbers) != count or not all(math.isfinite(v) for v in self.numbers):
            raise ReidEdgeError(
                "The choice %s needs %d finite numbers, got %s." % (self.kind, count, self.numbers)
            )
        if (self.kind == GALLERY) != (self.embeddings is not None):
            raise ReidEdgeError("The choice gallery, and no other, needs embeddings.")


def apply(choice: Choice, perception: Perception, follower: Follower) -> None:
    """Do what the user wants, between two frames.

    Raises:
        ReidEdgeError: Nobody is there, a value is out of range, ...: nothing has changed then.
    """
    choice.check()
    if choice.kind == BOX:
        perception.choose_box(choice.numbers)
    elif choice.kind == POINT:
        perception.choose_point(*choice.numbers)
    elif choice.kind == FRONT:
        perception.choose_front()
    elif choice.kind == GALLERY:
        assert choice.embeddings is not None  # checked above
        perception.lock.enrol_gallery(np.asarray(choice.embeddings, np.float32))
    elif choice.kind == RELEASE:
        perception.lock.release()
    elif choice.kind == SET:
        if choice.name not in SETTABLE:
            raise ReidEdgeError(
                "Only %s can be set while driving, got %r." % (" and ".join(SETTABLE), choice.name)
            )
        controller = follower.controller
        changed: Dict[str, Any] = {choice.name: choice.numbers[0]}
        controller.settings = replace(controller.settings, **changed)
        return
    else:
        follower.going = choice.kind == GO
        return
    follower.forget()
