"""The last stage before the wire: judges what was asked for, and can only slow it or stop it.

Pure and deterministic: the driver process gives it the monotonic clock, the simulator a virtual one,
and a replay the recorded one.

What is found decides from the top:

1. An emergency stop is latched.
2. There is no command, or none that can be believed: not finite, out of order, too old, from the
   future, or resting on a frame or a sight of the target that is too old.
3. The obstacle sensor is silent.
4. Otherwise the car moves as asked, within its caps, as far as the way ahead is free, and no faster
   from one speed to the next than its accelerations allow.

1 to 3 are faults: the car stops at once.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import STOP, Command, Velocity

# Two processes read one clock, so nothing comes from the future; this much is for rounding.
FUTURE_SLACK_S = 0.02

PRESSED = "emergency stop: "  # followed by who pressed it
NO_COMMAND = "no command yet"
NOT_FINITE = "command not finite"
OUT_OF_ORDER = "command out of order: are two programs steering?"
COMMAND_OLD = "command too old"
FRAME_OLD = "frame too old"
TARGET_OLD = "target not seen for too long"
FUTURE = "times from the future"
OBSTACLE_MISSING = "waiting for the obstacle sensor"
OBSTACLE_INVALID = "obstacle distance not a number"
OBSTACLE_OLD = "obstacle sensor silent"
FAULTS = (
    NO_COMMAND,
    NOT_FINITE,
    OUT_OF_ORDER,
    COMMAND_OLD,
    FRAME_OLD,
    TARGET_OLD,
    FUTURE,
    OBSTACLE_MISSING,
    OBSTACLE_INVALID,
    OBSTACLE_OLD,
)

# Not faults: the car still moves.
NO_REVERSE = "may not reverse"
CAPPED = "at a speed cap"
OBSTACLE_NEAR = "obstacle near: slower"
OBSTACLE_STOP = "obstacle too near: not forwards"
RAMPED = "speed changing as fast as allowed"


class Verdict(NamedTuple):
    """What goes to the chassis, and why it is not what was asked for.

    Attributes:
        velocity: Within all limits; STOP on any fault.
        reasons: All that applied, the strongest first; empty if the command passed as it was.
    """

    velocity: Velocity
    reasons: Tuple[str, ...]

    @property
    def is_fault(self) -> bool:
        """Whether the car was stopped, rather than slowed."""
        return any(r in FAULTS or r.startswith(PRESSED) for r in self.reasons)


class SafetyGate:
    """Judges one command per tick; remembers what it let through last.

    On each axis the output lies between what was let through last and what is asked for now (within
    the caps), or is zero: it is never more than both, and the car is never turned where nobody
    asked it to.

    Args:
        limits: What the car may do at most. It reverses only if ``limits.reverse_mps`` is above 0.
    """

    def __init__(self, limits: SafetyLimits):
        self.limits = limits
        self._pressed: Tuple[str, ...] = ()
        self._sent = STOP
        self._judged_s: Optional[float] = None
        self._newest: Optional[Command] = None
        self._obstacle: Optional[ObstacleReading] = None

    # -- emergency stop --------------------------------------------------------------------------

    @property
    def pressed(self) -> Tuple[str, ...]:
        """Who pressed the emergency stop since it was last re-armed; empty if nobody."""
        return self._pressed

    def press(self, reason: str) -> None:
        """Stop, and stay stopped until ``rearm``."""
        if reason not in self._pressed:
            self._pressed = (*self._pressed, reason)

    def rearm(self) -> None:
        """Allow motion again, from a standstill. Only ever on a person's wish."""
        if self._pressed:
            self._pressed = ()
            self.stand()

    def stand(self) -> None:
        """The car stands, whatever was let through (its port was away): it starts from zero."""
        self._sent = STOP

    # -- judging ---------------------------------------------------------------------------------

    def judge(
        self,
        command: Optional[Command],
        now_s: float,
        obstacle: Optional[ObstacleReading] = None,
    ) -> Verdict:
        """What may be sent now.

        Args:
            command: The newest one, also if it was judged before; None if there is none yet.
            now_s: Monotonic time.
            obstacle: The newest reading of what is ahead; None if nothing new or no sensor.
        """
        if obstacle is not None:
            self._obstacle = obstacle
        reasons = [PRESSED + who for who in self._pressed]
        reasons += self._command_faults(command, now_s)
        reasons += self._obstacle_faults(now_s)
        if reasons or command is None:
            velocity = STOP
        else:
            velocity, reasons = self._limited(command.velocity, now_s)
        self._sent, self._judged_s = velocity, now_s
        return Verdict(velocity, tuple(reasons))

    def due_s(self, command: Optional[Command]) -> float:
        """When a car that moves by this command must be stopped if nothing new comes."""
        limits = self.limits
        due_s = math.inf
        if command is not None:
            due_s = min(
                command.made_s + limits.command_age_s,
                command.frame_time_s + limits.frame_age_s,
                command.target_time_s + limits.target_age_s,
            )
        if self._obstacle is not None:
            due_s = min(due_s, self._obstacle.time_s + limits.obstacle_age_s)
        return due_s

    def _command_faults(self, command: Optional[Command], now_s: float) -> List[str]:
        if command is None:
            return [NO_COMMAND]
        limits, found = self.limits, []
        if not command.velocity.is_finite:
            found.append(NOT_FINITE)
        if not self._in_order(command):
            found.append(OUT_OF_ORDER)
        command_s, frame_s = now_s - command.made_s, now_s - command.frame_time_s
        target_s = now_s - command.target_time_s
        # Written so that an age that is not a number is too old.
        if not command_s <= limits.command_age_s:
            found.append(COMMAND_OLD)
        if not frame_s <= limits.frame_age_s:
            found.append(FRAME_OLD)
        # Also while the car still brakes for a command to stop: braking gently has its time too.
        moves = not (command.velocity.is_stop and self._sent.is_stop)
        if moves and not target_s <= limits.target_age_s:
            found.append(TARGET_OLD)
        if min(command_s, frame_s, target_s) < -FUTURE_SLACK_S:
            found.append(FUTURE)
        return found

    def _in_order(self, command: Command) -> bool:
        """Whether this is the newest command again, or one that follows it."""
        newest = self._newest
        if newest is None or command.sequence > newest.sequence:
            self._newest = command
            return True
        return command == newest

    def _obstacle_faults(self, now_s: float) -> List[str]:
        reading = self._obstacle
        if reading is None:
            return [OBSTACLE_MISSING] if self.limits.obstacle_required else []
        if not reading.distance_m >= 0:
            return [OBSTACLE_INVALID]
        if not -FUTURE_SLACK_S <= now_s - reading.time_s <= self.limits.obstacle_age_s:
            return [OBSTACLE_OLD]
        return []

    # -- limiting --------------------------------------------------------------------------------

    def _limited(self, asked: Velocity, now_s: float) -> Tuple[Velocity, List[str]]:
        limits, notes = self.limits, []
        if asked.vx_mps < 0 and limits.reverse_mps == 0:
            notes.append(NO_REVERSE)
            asked = asked._replace(vx_mps=0.0)
        capped = Velocity(
            _clip(asked.vx_mps, -limits.reverse_mps, limits.speed_mps),
            _clip(asked.vy_mps, -limits.lateral_mps, limits.lateral_mps),
            _clip(asked.wz_radps, -limits.turn_radps, limits.turn_radps),
        )
        if capped != asked:
            notes.append(CAPPED)
        free_mps = self._free_mps(now_s)
        if capped.vx_mps > free_mps or self._sent.vx_mps > free_mps:
            notes.append(OBSTACLE_NEAR if free_mps > 0 else OBSTACLE_STOP)
            capped = capped._replace(vx_mps=min(capped.vx_mps, free_mps))
        step_s = self._step_s(now_s)
        up, down = limits.acceleration_mps2 * step_s, limits.braking_mps2 * step_s
        turn = limits.turn_acceleration_radps2 * step_s
        ramped = Velocity(
            _towards(capped.vx_mps, self._sent.vx_mps, up, down),
            _towards(capped.vy_mps, self._sent.vy_mps, up, down),
            _towards(capped.wz_radps, self._sent.wz_radps, turn, turn),
        )
        if ramped != capped:
            notes.append(RAMPED)
        # For an obstacle the car brakes as hard as it can.
        ramped = ramped._replace(vx_mps=min(ramped.vx_mps, free_mps))
        return Velocity(*(v + 0.0 for v in ramped)), notes  # no -0.0

    def _free_mps(self, now_s: float) -> float:
        """How fast the way ahead lets the car drive forwards, m/s."""
        if self._obstacle is None:
            return math.inf
        driven_m = max(now_s - self._obstacle.time_s, 0.0) * max(self._sent.vx_mps, 0.0)
        return free_speed_mps(self.limits, self._obstacle.distance_m - driven_m)

    def _step_s(self, now_s: float) -> float:
        """Time since the last verdict, as far as it counts for accelerations."""
        tick_s = 1.0 / self.limits.rate_hz
        if self._judged_s is None:
            return tick_s
        # After a pause the car does not make up for it in one leap.
        return _clip(now_s - self._judged_s, 0.0, 2 * tick_s)


def free_speed_mps(limits: SafetyLimits, distance_m: float) -> float:
    """How fast the car may drive towards something ``distance_m`` ahead, m/s.

    Falls from ``speed_mps`` at ``obstacle_slow_m`` to zero at ``obstacle_stop_m`` in a straight line,
    or faster where braking with ``braking_mps2`` needs it.
    """
    if distance_m <= limits.obstacle_stop_m:
        return 0.0
    if distance_m >= limits.obstacle_slow_m:
        return math.inf
    room_m = distance_m - limits.obstacle_stop_m
    slope = room_m / (limits.obstacle_slow_m - limits.obstacle_stop_m)
    return min(limits.speed_mps * slope, math.sqrt(2 * limits.braking_mps2 * room_m))


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _towards(wanted: float, sent: float, up: float, down: float) -> float:
    """One step from ``sent`` to ``wanted``: away from zero by ``up`` at most, towards it by ``down``."""
    if wanted * sent < 0:
        wanted = 0.0  # first to a standstill
    step = up if abs(wanted) > abs(sent) else down
    if abs(wanted - sent) <= step:
        return wanted
    return sent + math.copysign(step, wanted - sent)
