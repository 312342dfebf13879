"""The driver process' loop in lock-step with simulated time: gate, chassis, port, one after the other."""

import dataclasses
import math
from typing import NamedTuple, Optional, Tuple

from follow_robot.chassis import LOST, RECONNECTED, ReconnectingPort, open_chassis
from follow_robot.driver import REARM_OUTAGE_S
from follow_robot.motion_history import MotionHistory
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_gate import SafetyGate
from follow_robot.safety_limits import SafetyLimits
from follow_robot.simulator.stage import Stage
from follow_robot.velocity import STOP, Command, Velocity

_OBSTACLE_PERIOD_S = 0.05


class Sent(NamedTuple):
    """One cycle of the driver.

    Attributes:
        velocity: What the gate let through.
        reasons: Why it is not what was asked for.
        heard: What the board holds after it: the velocity as it arrived on the wire.
        arrived: Whether the bytes left, that is, whether the port was there.
    """

    velocity: Velocity
    reasons: Tuple[str, ...]
    heard: Velocity
    arrived: bool


class StepDriver:
    """Writes as ``follow_robot.driver`` does: at its rate, at once for news, at once when a limit ends.

    Args:
        stage: The car.
        limits: Of the gate.
    """

    def __init__(self, stage: Stage, limits: SafetyLimits):
        self._stage = stage
        self._chassis, port = open_chassis(stage.chassis_spec)
        if not self._chassis.holonomic:
            limits = dataclasses.replace(limits, lateral_mps=0.0)
        self.limits = limits
        self.gate = SafetyGate(limits)
        self.port = ReconnectingPort(
            port, self._chassis.start, longest_s=1.0, clock=lambda: stage.time_s
        )
        self.motion = MotionHistory()
        self._command: Optional[Command] = None
        self._obstacle: Optional[ObstacleReading] = None
        self._sent = STOP
        self._fresh = False
        self._ticked_s = self._lost_s = -math.inf

    def open(self) -> None:
        """Open the port, which sends the chassis' first frames."""
        self.port.open()
        self._started()

    def give(self, command: Command) -> None:
        """The newest command."""
        self._command, self._fresh = command, True

    def due(self) -> bool:
        """Whether a cycle is due now."""
        now_s = self._stage.time_s + 1e-9
        late = not self._sent.is_stop and now_s > self.gate.due_s(self._command)
        return self._fresh or late or now_s >= self._ticked_s + 1 / self.limits.rate_hz

    def cycle(self) -> Sent:
        """Judge, write, let the board hear it, read its reports."""
        stage, now_s = self._stage, self._stage.time_s
        self._ticked_s, self._fresh = now_s, False
        self._watch(now_s)
        if self._obstacle is None or now_s - self._obstacle.time_s >= _OBSTACLE_PERIOD_S - 1e-9:
            self._obstacle = stage.obstacle()
        velocity, reasons = self.gate.judge(self._command, now_s, self._obstacle)
        data = self._chassis.stop() if velocity.is_stop else self._chassis.encode(velocity)
        arrived = self.port.write(data)
        if arrived:
            self._sent = velocity
            stage.hear(len(data))
        else:
            self.gate.stand()
        stage.send_reports()
        for telemetry in self._chassis.feed(self.port.read()):
            if telemetry.velocity is not None:
                self.motion.add(telemetry.velocity, now_s)
        return Sent(velocity, reasons, stage.firmware.wanted(now_s), arrived)

    def close(self) -> None:
        """End as the driver ends: with stops."""
        for _ in range(self.limits.stop_repeats):
            data = self._chassis.stop()
            if self.port.write(data):
                self._stage.hear(len(data))
        self.port.close()

    def _watch(self, now_s: float) -> None:
        event = self.port.poll()
        if event == LOST:
            self._lost_s = now_s
        elif event == RECONNECTED:
            self._started()
            if now_s - self._lost_s >= REARM_OUTAGE_S:
                self.gate.press("the chassis was unplugged")

    def _started(self) -> None:
        self._stage.hear(sum(len(frame) for frame in self._chassis.start()))
