"""How a simulated run went, measured against the truth."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from follow_robot.simulator.rendering import Picture, Shown
from follow_robot.simulator.world import World
from follow_robot.velocity import Velocity
from runtime.detection import iou
from runtime.frame_record import FrameRecord
from runtime.lock_types import LOCKED

SEEN_SHARE = 0.05  # a target that shows less is gone
RIGHT_IOU, NOTHING_IOU = 0.5, 0.1
STEADY_S = 4.0  # of following somebody who walks on, after which it counts as steady
WALKS_MPS = 0.15
BREAK_S = 0.5  # a longer break ends it; a shorter one is a detector that missed somebody
_SERIES = ("time_s", "vx_mps", "wz_radps", "distance_m", "following", "share")


class Moment(NamedTuple):
    """One cycle of the driver, for the record.

    Attributes:
        time_s: Simulated.
        heard: Velocity that the board was told.
        distance_m: True distance from the camera to the target, along the floor.
        target_mps: How fast the target walks.
    """

    time_s: float
    heard: Velocity
    distance_m: float
    target_mps: float


@dataclass
class SimResult:
    """What came of a run. All times are simulated seconds, all distances the true ones.

    Attributes:
        name, kind, seed: Of the scenario.
        duration_s: Simulated.
        enrolled_s: When the target was learned; None if never.
        wrong_frames: Frames on which somebody else was followed.
        frames: Frames judged.
        following_share: Share of the frames with the target in sight, after it was learned, on which
            it was followed.
        after_target_s: Latest non-zero command behind the last frame that showed the target.
        after_frames_s: The same behind the last good frame of any kind.
        distance_rms_m, distance_bias_m: Of the distance, against the one set, where the car has been
            following somebody who walks on for ``STEADY_S``; None where it never has.
        steady_s: Duration of steady following.
        way_m: Driven.
        collisions: Whom or what the car ran into, and how often.
        nearest_m: Smallest gap between the car and anybody.
        regained: Whether it follows in the end.
        events: (time, event) of the lock.
        reasons: How often the gate gave each reason.
        series: Values per cycle of the driver, by name.
    """

    name: str
    kind: str
    seed: int
    duration_s: float = 0.0
    enrolled_s: Optional[float] = None
    wrong_frames: List[float] = field(default_factory=list)
    frames: int = 0
    following_share: float = 0.0
    after_target_s: float = 0.0
    after_frames_s: float = 0.0
    distance_rms_m: Optional[float] = None
    distance_bias_m: Optional[float] = None
    steady_s: float = 0.0
    way_m: float = 0.0
    collisions: Dict[str, int] = field(default_factory=dict)
    nearest_m: float = math.inf
    regained: bool = False
    events: List[Any] = field(default_factory=list)
    reasons: Dict[str, int] = field(default_factory=dict)
    series: Dict[str, List[float]] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        """For JSON; None where something is infinite."""
        return {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(self).items()
        }

    def summary(self) -> str:
        """One line."""
        rms = "     -" if self.distance_rms_m is None else "%.2f m" % self.distance_rms_m
        return (
            "%-22s follows %3.0f %%  wrong %d  stop after target %.2f s, after frames %.2f s  "
            "distance RMS %s  nearest %.2f m%s%s"
            % (
                self.name,
                100 * self.following_share,
                len(self.wrong_frames),
                self.after_target_s,
                self.after_frames_s,
                rms,
                self.nearest_m,
                "  COLLIDES %s" % self.collisions if self.collisions else "",
                "" if self.enrolled_s is not None else "  NOT ENROLLED",
            )
        )


class Judge:
    """Collects a run: every frame, every cycle of the driver.

    Args:
        result: Filled in.
        target: Name of the person to follow.
        distance_m: That the car is to keep.
    """

    def __init__(self, result: SimResult, target: str, distance_m: float):
        self.result, self._target, self._set_m = result, target, distance_m
        self._seen_s = self._good_s = -math.inf
        self._in_sight = self._right = 0
        self._following = False
        self._right_s, self._unsteady_s = -math.inf, 0.0
        self._share = 0.0
        self._last: List[bool] = []
        self._errors: List[float] = []
        self._before: Optional[Moment] = None
        result.series = {name: [] for name in _SERIES}

    def frame(self, picture: Picture, record: FrameRecord, good: bool) -> None:
        """One frame that perception has judged; ``good`` if the camera really saw it then."""
        result, time_s = self.result, record.time_s
        truth = {shown.name: shown for shown in picture.people} if good else {}
        own = truth.get(self._target)
        self._share = own.share if own is not None else 0.0
        visible = self._share >= SEEN_SHARE
        if good:
            self._good_s = time_s
        if visible:
            self._seen_s = time_s
        result.frames += 1
        if record.lock.event is not None:
            result.events.append((round(time_s, 3), record.lock.event))
        if record.lock.event == "enrolled":
            result.enrolled_s = time_s
        locked = record.lock.state == LOCKED and record.lock.box is not None
        wrong = locked and good and is_wrong(record.lock.box, self._target, picture.people)
        if wrong:
            result.wrong_frames.append(round(time_s, 3))
        right = locked and good and not wrong
        if result.enrolled_s is not None and visible:
            self._in_sight += 1
            self._right += right
        if right:
            self._right_s = time_s
        self._following = right
        self._last.append(right)

    def cycle(self, moment: Moment, reasons: Sequence[str]) -> None:
        """One cycle of the driver."""
        result, before = self.result, self._before
        result.duration_s = moment.time_s
        if not moment.heard.is_stop:
            result.after_target_s = max(result.after_target_s, moment.time_s - self._seen_s)
            result.after_frames_s = max(result.after_frames_s, moment.time_s - self._good_s)
        if moment.target_mps < WALKS_MPS or moment.time_s - self._right_s > BREAK_S:
            self._unsteady_s = moment.time_s
        if before is not None and moment.time_s - self._unsteady_s >= STEADY_S:
            result.steady_s += moment.time_s - before.time_s
            self._errors.append(moment.distance_m - self._set_m)
        for reason in reasons:
            result.reasons[reason] = result.reasons.get(reason, 0) + 1
        values = (
            moment.time_s,
            moment.heard.vx_mps,
            moment.heard.wz_radps,
            moment.distance_m,
            float(self._following),
            self._share,
        )
        for name, value in zip(_SERIES, values):
            result.series[name].append(round(value, 4))
        self._before = moment

    def finish(self, world: World) -> SimResult:
        """The result, complete."""
        result = self.result
        result.collisions, result.nearest_m, result.way_m = (
            world.collisions,
            world.nearest_m,
            world.way_m,
        )
        result.following_share = self._right / max(self._in_sight, 1)
        result.regained = any(self._last[-5:])
        if self._errors:
            errors = np.array(self._errors)
            result.distance_rms_m = float(np.sqrt((errors**2).mean()))
            result.distance_bias_m = float(errors.mean())
        return result


def is_wrong(box: Any, target: str, people: Sequence[Shown]) -> bool:
    """Whether a box belongs to somebody else, or to nobody at all.

    Compared with what can be seen of people: a hidden target has nothing to be followed. A box that
    fits the target is right, also where somebody stands at the same place and fits it too.
    """
    seen = [shown for shown in people if shown.seen_box is not None]
    boxes = np.array([shown.seen_box for shown in seen], np.float64).reshape(-1, 4)
    overlaps = iou(np.array([box], np.float64), boxes)[0]
    own = max((o for o, shown in zip(overlaps, seen) if shown.name == target), default=0.0)
    best = max((o for o, shown in zip(overlaps, seen) if shown.name != target), default=0.0)
    return bool(own < RIGHT_IOU and (own < best or own < NOTHING_IOU))
