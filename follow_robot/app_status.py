"""What the dashboard is told with every frame, from the parts that know it."""

from __future__ import annotations

from typing import List, Optional

from follow_robot.black_box import BlackBox
from follow_robot.dashboard.status import Motion, Part, Status, Target, of_record
from follow_robot.driver_status import RUNNING, DriverStatus
from follow_robot.follower import Follower
from follow_robot.frame_guard import OK
from follow_robot.pilot import Answer
from follow_robot.target import TargetEstimate
from follow_robot.velocity import Velocity
from runtime.lock_types import LockSettings

_STALE_S = 0.5  # older telemetry is not shown as the car's motion


def status_of(
    answer: Answer,
    driver: DriverStatus,
    follower: Follower,
    lock: LockSettings,
    fps: float,
    source: str,
    box: Optional[BlackBox],
    warnings: List[str],
) -> Status:
    """The page's view of one answered frame."""
    status = of_record(answer.record)
    estimate, command = answer.decision.estimate, answer.decision.command
    fresh = driver.telemetry is not None and (driver.telemetry_age_s or 0.0) <= _STALE_S
    measured = driver.telemetry.velocity if fresh and driver.telemetry is not None else None
    reasons = list(driver.reasons)
    if not follower.going:
        reasons.insert(0, "on hold")
    settings = follower.controller.settings
    more: Status = {
        "mode": "go" if follower.going else "hold",
        "stop": {"pressed": bool(driver.pressed), "reasons": driver.pressed},
        "threshold": lock.strict,
        "target": None if estimate is None else _target(estimate),
        "command": _motion(command.velocity),
        "sent": _motion(driver.sent),
        "measured": None if measured is None else _motion(measured),
        "reasons": reasons,
        "parameters": {"distance_m": settings.distance_m, "speed_mps": settings.speed_mps},
        "fps": fps,
        "battery_v": driver.telemetry.battery_v if driver.telemetry is not None else None,
        "driver": driver_part(driver),
        "port": {"ok": driver.port_open, "text": "open" if driver.port_open else "not there"},
        "camera": {
            "ok": answer.camera.state == OK,
            "text": "%s: %s" % (source, answer.camera.state),
        },
        "recording": recording_part(box),
        "warnings": warnings,
    }
    status.update(more)
    return status


def driver_part(driver: DriverStatus) -> Part:
    """Whether the driver process works."""
    if driver.end is not None:
        return {"ok": False, "text": driver.end}
    if driver.fault is not None:
        return {"ok": False, "text": driver.fault}
    return {"ok": driver.state == RUNNING, "text": driver.state}


def recording_part(box: Optional[BlackBox]) -> Part:
    """Whether the run is recorded, and how much of it there is."""
    if box is None:
        return {"ok": True, "text": "off"}
    if box.ended is not None:
        return {"ok": False, "text": box.ended}
    return {"ok": True, "text": "%.1f MB" % (box.written_bytes / 1e6)}


def _motion(velocity: Velocity) -> Motion:
    return {
        "vx_mps": velocity.vx_mps,
        "vy_mps": velocity.vy_mps,
        "wz_radps": velocity.wz_radps,
    }


def _target(estimate: TargetEstimate) -> Target:
    return {
        "distance_m": estimate.distance_m,
        "bearing_rad": estimate.bearing_rad,
        "distance_sigma_m": estimate.distance_sigma_m,
        "bearing_sigma_rad": estimate.bearing_sigma_rad,
        "approach_mps": estimate.approach_mps,
    }
