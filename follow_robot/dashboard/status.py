"""What the application tells the page with every frame, and the numbers of it that are plotted."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypedDict

from runtime.frame_record import FrameRecord


class StopState(TypedDict, total=False):
    """The latched stop, as the driver process has it.

    Attributes:
        pressed: Whether it is latched: nothing moves until it is re-armed.
        reasons: What pressed it.
    """

    pressed: bool
    reasons: Sequence[str]


class PersonState(TypedDict, total=False):
    """One person on the frame: number of the track, box in pixels, the detector's score."""

    track: int
    box: Sequence[float]
    score: float


class LockState(TypedDict, total=False):
    """The fields of ``runtime.lock_types.LockOutput``."""

    state: str
    track: Optional[int]
    box: Optional[Sequence[float]]
    similarity: Optional[float]
    margin: Optional[float]
    event: Optional[str]


class Motion(TypedDict, total=False):
    """The fields of ``follow_robot.velocity.Velocity``."""

    vx_mps: float
    vy_mps: float
    wz_radps: float


class Target(TypedDict, total=False):
    """The estimated place of the target; its fields are those of ``TargetEstimate``."""

    distance_m: float
    bearing_rad: float
    distance_sigma_m: float
    bearing_sigma_rad: float
    approach_mps: float


class Part(TypedDict, total=False):
    """A part of the car: whether it works, and a few words about it."""

    ok: bool
    text: str


class Status(TypedDict, total=False):
    """Everything the page shows; what is missing is shown as unknown.

    Attributes:
        time_s: Monotonic time when the frame was captured.
        frame_size: (height, width) of the frame in pixels; by default the image's.
        mode: ``"hold"`` (nothing moves) or ``"go"`` (the car follows when it can).
        stop: The latched stop.
        lock: The lock's output; an event in it also goes into the page's list of events.
        threshold: Similarity from which somebody is taken for the target; drawn in the plot.
        people: Everybody seen.
        target: Where the target is, or None.
        command: Velocity that was asked for.
        sent: Velocity that the driver let through.
        measured: Velocity that the chassis reports, or None.
        reasons: Why the car does not move, or not as fast as asked.
        parameters: Values of the parameters that are in force.
        took_ms: Milliseconds per stage, in order.
        fps: Frames per second through the whole chain.
        battery_v: Volts.
        driver, port, camera, recording: Parts of the car.
        warnings: Sentences that stay on the page as long as they are given.
    """

    time_s: float
    frame_size: Tuple[int, int]
    mode: str
    stop: StopState
    lock: LockState
    threshold: float
    people: Sequence[PersonState]
    target: Optional[Target]
    command: Motion
    sent: Motion
    measured: Optional[Motion]
    reasons: Sequence[str]
    parameters: Mapping[str, float]
    took_ms: Mapping[str, float]
    fps: float
    battery_v: Optional[float]
    driver: Part
    port: Part
    camera: Part
    recording: Part
    warnings: Sequence[str]


class Row(NamedTuple):
    """One point of the plots. All but the time may be missing.

    Attributes:
        time_s: Of the frame.
        similarity, threshold: Cosines.
        distance_m, wanted_m: To the target, and what the car tries to keep.
        asked_mps, measured_mps: Forward speed.
    """

    time_s: float
    similarity: Optional[float]
    threshold: Optional[float]
    distance_m: Optional[float]
    wanted_m: Optional[float]
    asked_mps: Optional[float]
    measured_mps: Optional[float]


def of_record(record: FrameRecord) -> Status:
    """The part of a status that perception knows."""
    people: List[PersonState] = [
        {"track": p.track, "box": p.box, "score": p.score} for p in record.people
    ]
    lock = record.lock
    return {
        "time_s": record.time_s,
        "frame_size": record.frame_size,
        "people": people,
        "took_ms": record.took_ms,
        "lock": {
            "state": lock.state,
            "track": lock.track,
            "box": lock.box,
            "similarity": lock.similarity,
            "margin": lock.margin,
            "event": lock.event,
        },
    }


def row_of(status: Mapping[str, Any], time_s: float) -> Row:
    """What is plotted of ``status``."""
    lock: Dict[str, Any] = status.get("lock") or {}
    sent = status.get("sent") or status.get("command") or {}
    return Row(
        time_s,
        lock.get("similarity"),
        status.get("threshold"),
        (status.get("target") or {}).get("distance_m"),
        (status.get("parameters") or {}).get("distance_m"),
        sent.get("vx_mps"),
        (status.get("measured") or {}).get("vx_mps"),
    )
