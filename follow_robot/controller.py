"""From the target's place to the car's velocity: keep the distance, keep the target ahead.

Speed: the target's own speed away (feed-forward, so that steady following does not lag) plus what
closes the distance error in about ``distance_time_s``. Turn: what closes the bearing in about
``bearing_time_s``. Both are computed for now, not for the frame: how the car has moved since the frame
is known from its own commands (a Smith predictor), without which turning overshoots by the latency.

What makes the car slower, all at once: a target to the side, an uncertain distance, nearness. What
stops it: no estimate, or an old one. It never searches.
"""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple, Optional, Tuple

from follow_robot.drive import Drive
from follow_robot.motion_history import MotionHistory
from follow_robot.safety_limits import HARD_CAPS
from follow_robot.target import TargetEstimate
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

_FUTURE_S = 0.05  # an estimate may be this much newer than the caller's clock
_STANDING_RADPS = 0.02  # at rest, what is left of a turn below this is none
_LONGEST_STEP_S = 0.2  # of time over which limits of acceleration are spent at once


@dataclass(frozen=True)
class ControllerSettings:
    """How the car follows. The safety limits hold on top of these.

    Attributes:
        distance_m: Distance to keep from the target.
        distance_band_m: Less than this off, with a target that stands for ``rest_s``, the car comes to
            rest; nearer still too, unless it may back off.
        distance_start_m: A car at rest starts again when it is this far off.
        min_distance_m: The car never drives forwards when the target may be nearer than this.
        bearing_band_rad: A car at rest stops turning when the target is this well ahead.
        bearing_start_rad: A car at rest starts turning when the target is this far to the side.
        full_speed_bearing_rad: A target up to this far to the side does not slow the car.
        drive_bearing_rad: With a target this far to the side the car only turns.
        rest_speed_mps: A target slower than this stands.
        rest_s: How long the target must stand; keeps noise in its speed from stopping a car that
            follows.
        ahead_s: A target that will be farther than the start distance in this time starts the car.
        distance_time_s: Time constant of closing the distance. Shorter: tighter and more restless.
        bearing_time_s: Time constant of turning towards the target.
        turn_smoothing_s: Time constant that damps changes of the turn rate.
        reaction_s: From a command to the wheels turning.
        feed_forward: Share of the target's own speed that the car adopts.
        speed_mps: Fastest forwards.
        lateral_mps: Fastest sideways, for a holonomic car.
        turn_radps: Fastest turn.
        allow_reverse: Whether the car backs off from a target that is too near; else it stands.
        reverse_mps: Fastest backwards, if that is allowed.
        lateral: Whether a holonomic car also drives sideways.
        acceleration_mps2: Largest rise of the speed per second.
        braking_mps2: Largest fall of the speed per second; a stop for want of a target is at once.
        jerk_mps3: Largest rise of the acceleration per second; braking may set in at once.
        turn_acceleration_radps2: Largest change of the turn rate per second.
        uncertain_share: Standard deviation of the distance, as a share of it, from which on the car
            is slower.
        lost_share: The same share at which the car does not drive at all.
        stale_s: A target that was last seen longer ago is a stop.
    """

    distance_m: float = 1.2
    distance_band_m: float = 0.1
    distance_start_m: float = 0.22
    min_distance_m: float = 0.5
    bearing_band_rad: float = 0.05
    bearing_start_rad: float = 0.12
    full_speed_bearing_rad: float = 0.35
    drive_bearing_rad: float = 0.78
    rest_speed_mps: float = 0.12
    rest_s: float = 0.5
    ahead_s: float = 0.8
    distance_time_s: float = 0.9
    bearing_time_s: float = 0.65
    turn_smoothing_s: float = 0.1
    reaction_s: float = 0.1
    feed_forward: float = 1.0
    speed_mps: float = 0.5
    lateral_mps: float = 0.3
    turn_radps: float = 1.2
    allow_reverse: bool = False
    reverse_mps: float = 0.2
    lateral: bool = True
    acceleration_mps2: float = 0.9
    braking_mps2: float = 1.5
    jerk_mps3: float = 6.0
    turn_acceleration_radps2: float = 5.0
    uncertain_share: float = 0.2
    lost_share: float = 0.5
    stale_s: float = 0.3

    def __post_init__(self):
        optional = (
            "feed_forward",
            "turn_smoothing_s",
            "reaction_s",
            "ahead_s",
            "rest_speed_mps",
            "rest_s",
        )
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool):
                continue
            if not math.isfinite(value) or value < 0 or (value == 0 and f.name not in optional):
                raise ReidEdgeError(
                    "Controller setting %s must be a number above 0, got %r." % (f.name, value)
                )
            cap = HARD_CAPS.get(f.name)
            if cap is not None and value > cap:
                raise ReidEdgeError(
                    "Controller setting %s may be at most %g (a hard cap), got %g."
                    % (f.name, cap, value)
                )
        for lower, upper in (
            ("distance_band_m", "distance_start_m"),
            ("min_distance_m", "distance_m"),
            ("bearing_band_rad", "bearing_start_rad"),
            ("bearing_start_rad", "drive_bearing_rad"),
            ("full_speed_bearing_rad", "drive_bearing_rad"),
            ("uncertain_share", "lost_share"),
        ):
            if getattr(self, lower) >= getattr(self, upper):
                raise ReidEdgeError(
                    "Controller setting %s (%g) must be below %s (%g)."
                    % (lower, getattr(self, lower), upper, getattr(self, upper))
                )
        if self.stale_s > HARD_CAPS["target_age_s"]:
            raise ReidEdgeError(
                "Controller setting stale_s may be at most %g (a hard cap), got %g."
                % (HARD_CAPS["target_age_s"], self.stale_s)
            )
        if self.drive_bearing_rad > math.pi / 2 or self.reaction_s > 1 or self.feed_forward > 1:
            raise ReidEdgeError(
                "Controller settings need drive_bearing_rad at most 1.57, reaction_s at most 1 and "
                "feed_forward at most 1, got %g, %g and %g."
                % (self.drive_bearing_rad, self.reaction_s, self.feed_forward)
            )


class _Place(NamedTuple):
    """Where the target is now, by all that is known."""

    distance_m: float
    bearing_rad: float
    away_mps: float


class Controller:
    """Follows one target. Deterministic: the same estimates at the same times give the same answers.

    Args:
        settings: See ControllerSettings.
        drive: What the car can do.
    """

    def __init__(
        self, settings: Optional[ControllerSettings] = None, drive: Optional[Drive] = None
    ):
        self.settings = settings or ControllerSettings()
        self.drive = drive or Drive()
        self._history = MotionHistory(self.settings.reaction_s)
        self.reset()

    def reset(self) -> None:
        """The car was stopped by somebody else: the next answer starts from a standstill."""
        self._velocity = STOP
        self._rise_x = self._rise_y = 0.0
        self._time_s: Optional[float] = None
        self._driving = self._turning = False
        self._calm_s = 0.0
        self._history.reset()

    def update(self, estimate: Optional[TargetEstimate], time_s: float) -> Velocity:
        """The velocity for now.

        Args:
            estimate: The target's filtered place; None stops the car.
            time_s: Monotonic time of this decision, at or after ``estimate.time_s``. A decision that
                is asked for longer than ``stale_s`` after the one before starts from a standstill.

        Returns:
            Within the settings' limits and what the drive can do. STOP at once, whatever the braking
            limit, without an estimate or with one that is stale, not finite or from the future, and
            when time runs backwards.
        """
        if estimate is None or not self._usable(estimate, time_s):
            self.reset()
            return STOP
        elapsed_s = time_s - self._time_s if self._time_s is not None else 0.0
        if not 0 <= elapsed_s <= self.settings.stale_s:
            backwards = elapsed_s < 0
            self.reset()
            elapsed_s = 0.0
            if backwards:
                return STOP
        place = self._now(estimate, time_s)
        wish = self.drive.feasible(self._wish(place, estimate, elapsed_s))
        self._velocity = self._limited(wish, min(elapsed_s, _LONGEST_STEP_S))
        self._time_s = time_s
        self._history.add(self._velocity, time_s)
        return self._velocity

    def _usable(self, estimate: TargetEstimate, time_s: float) -> bool:
        if not (math.isfinite(time_s) and all(map(math.isfinite, estimate))):
            return False
        sigmas = estimate.distance_sigma_m, estimate.bearing_sigma_rad
        if estimate.distance_m <= 0 or min(sigmas) < 0:
            return False
        oldest = min(estimate.seen_s, estimate.time_s)
        newest = max(estimate.seen_s, estimate.time_s)
        return time_s - oldest <= self.settings.stale_s and newest <= time_s + _FUTURE_S

    def _now(self, estimate: TargetEstimate, time_s: float) -> _Place:
        """The estimate carried on to now by the target's speed and the car's own motion."""
        away = -estimate.approach_mps
        age_s = max(0.0, time_s - estimate.time_s)
        distance = max(0.0, estimate.distance_m + away * age_s)
        moved = self._history.moved(estimate.time_s, time_s)
        x = distance * math.cos(estimate.bearing_rad) - moved.x_m
        y = distance * math.sin(estimate.bearing_rad) - moved.y_m
        bearing = math.remainder(math.atan2(y, x) - moved.turn_rad, 2 * math.pi)
        return _Place(math.hypot(x, y), bearing, away)

    def _wish(self, place: _Place, estimate: TargetEstimate, elapsed_s: float) -> Velocity:
        """What would follow best, without limits of acceleration."""
        s = self.settings
        speed = self._speed(place, estimate, elapsed_s)
        vx, vy = speed, 0.0
        if self.drive.holonomic and s.lateral:
            vx, vy = speed * math.cos(place.bearing_rad), speed * math.sin(place.bearing_rad)
            if abs(vy) > s.lateral_mps:
                vx, vy = vx * s.lateral_mps / abs(vy), math.copysign(s.lateral_mps, vy)
        aside = abs(place.bearing_rad)
        if self._driving or aside > s.bearing_start_rad:
            self._turning = True
        elif aside < s.bearing_band_rad:
            self._turning = False
        wz = place.bearing_rad / s.bearing_time_s if self._turning else 0.0
        wz = min(max(wz, -s.turn_radps), s.turn_radps)
        if s.turn_smoothing_s > 0:
            kept = math.exp(-elapsed_s / s.turn_smoothing_s)
            wz += kept * (self._velocity.wz_radps - wz)
        if not self._turning and abs(wz) < _STANDING_RADPS:
            wz = 0.0
        return Velocity(vx, vy, wz)

    def _speed(self, place: _Place, estimate: TargetEstimate, elapsed_s: float) -> float:
        """Towards the target; negative backs off."""
        s = self.settings
        off = place.distance_m - s.distance_m
        if self._driving:
            near = off < s.distance_band_m and (off > -s.distance_band_m or not s.allow_reverse)
            calm = near and abs(place.away_mps) < s.rest_speed_mps
            self._calm_s = self._calm_s + elapsed_s if calm else 0.0
            self._driving = not (calm and self._calm_s >= s.rest_s)
        else:
            going = off + max(0.0, place.away_mps) * s.ahead_s > s.distance_start_m
            self._driving = going or (s.allow_reverse and off < -s.distance_start_m)
            self._calm_s = 0.0
        if not self._driving:
            return 0.0
        share = estimate.distance_sigma_m / estimate.distance_m
        aside = abs(place.bearing_rad) + estimate.bearing_sigma_rad
        certain = _ramp(share, s.lost_share, s.uncertain_share)
        certain *= _ramp(aside, s.drive_bearing_rad, s.full_speed_bearing_rad)
        speed = s.feed_forward * place.away_mps + off / s.distance_time_s
        if speed < 0:
            backs = s.allow_reverse and off < 0
            return max(speed, -s.reverse_mps) * certain if backs else 0.0
        # Certain to be this far at least; from here the car can still stop before min_distance_m.
        room = max(0.0, place.distance_m - estimate.distance_sigma_m - s.min_distance_m)
        return min(speed, s.speed_mps * certain, math.sqrt(2 * s.braking_mps2 * room))

    def _limited(self, wish: Velocity, elapsed_s: float) -> Velocity:
        s = self.settings
        vx, self._rise_x = self._step(self._velocity.vx_mps, wish.vx_mps, self._rise_x, elapsed_s)
        vy, self._rise_y = self._step(self._velocity.vy_mps, wish.vy_mps, self._rise_y, elapsed_s)
        wish = self.drive.slowed(wish, abs(vx))  # a car that steers keeps to the wished path
        most = s.turn_acceleration_radps2 * elapsed_s
        wz = self._velocity.wz_radps
        wz += min(max(wish.wz_radps - wz, -most), most)
        return self.drive.feasible(Velocity(vx, vy, wz))

    def _step(
        self, speed: float, wish: float, rise: float, elapsed_s: float
    ) -> Tuple[float, float]:
        """One axis: its next speed and the rise of |speed| per second that led there."""
        s = self.settings
        if speed * wish < 0:  # comes to a stand before it turns round
            wish = 0.0
        if abs(wish) < abs(speed):
            change = min(abs(speed) - abs(wish), s.braking_mps2 * elapsed_s)
            return math.copysign(abs(speed) - change, speed), 0.0
        rise = min(s.acceleration_mps2, rise + s.jerk_mps3 * elapsed_s)
        gain = min(abs(wish) - abs(speed), rise * elapsed_s)
        rise = gain / elapsed_s if elapsed_s > 0 else 0.0
        return math.copysign(abs(speed) + gain, wish), rise


def _ramp(value: float, none: float, full: float) -> float:
    """1 up to ``full``, 0 from ``none`` on, linear in between."""
    return min(max((none - value) / (none - full), 0.0), 1.0)
