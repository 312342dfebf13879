"""A short run of the chain without a camera, a network or a car, given entry by entry to a recorder.

Three people walk about in front of the camera, one of them the target, cross and vanish; the user
chooses, goes and holds; the network fails once; the driver ticks between the frames; the port is lost for a moment and the emergency
stop is pressed. Everything follows from the seed.
"""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from follow_robot.black_box_codec import encode
from follow_robot.black_box_format import MAGIC, Encoder, Record
from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    DriveEntry,
    EndEntry,
    Entry,
    EventEntry,
    FrameEntry,
    HeaderEntry,
    TimingEntry,
    decision_data,
    frame_entry,
)
from follow_robot.chain import follower_of, gate_of, perception_of
from follow_robot.chassis import open_chassis
from follow_robot.choices import Choice, apply
from follow_robot.config import Config, config_from_text
from follow_robot.obstacle import ObstacleReading
from follow_robot.velocity import Command, Velocity
from runtime.crop_quality import Crops
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.observation import Observation
from runtime.preprocess import l2_normalize

CONFIG = config_from_text(
    "chassis: {open: 'wheeltec:/dev/none'}\ncamera: {height_m: 1.0}\nsafety: {speed_mps: 0.6}\n",
    "test",
)
DIM = 16
SIZE = (240, 320)
_FPS, _TICK_S = 15.0, 0.05


class Look(NamedTuple):
    """What people look like to the network that is not there."""

    people: np.ndarray
    rng: np.random.Generator

    def of(self, who: Sequence[int]) -> np.ndarray:
        noise = 0.05 * self.rng.normal(size=(len(who), DIM))
        return l2_normalize((self.people[list(who)] + noise).astype(np.float32))

    def rows(self, who: Sequence[int], fails: bool, rows: Sequence[int]) -> np.ndarray:
        if fails:
            raise ReidEdgeError("The network failed.")
        return self.of([who[row] for row in rows])


def header(config: Config = CONFIG, strangers: bool = True) -> HeaderEntry:
    looks = l2_normalize(np.random.default_rng(7).normal(size=(8, DIM)).astype(np.float32))
    machine = {"machine": "test", "numpy": np.__version__}
    return HeaderEntry(
        "reid-edge test",
        100.0,
        "2026-01-14T15:30:12+00:00",
        machine,
        config.without_secrets().to_dict(),
        holonomic=False,
        network=True,
        strangers=looks if strangers else None,
        notes={"bundle": "none"},
    )


def observation(index: int, rng: np.random.Generator) -> Tuple[Observation, List[int]]:
    """The people at frame ``index``, and who they are: target, who crosses it, and one aside."""
    time_s = 100.0 + index / _FPS
    x = np.array([150 + 10 * np.sin(index / 9), 40 + 1.6 * index, 290.0])
    height = np.array([140 - 25 * np.sin(index / 40), 120.0, 110.0])
    x, height = x + rng.normal(size=3), height + rng.normal(size=3)
    feet = 120 + height / 1.7  # of somebody of 1.7 m before a camera at 1 m
    boxes = np.stack([x - 0.2 * height, feet - height, x + 0.2 * height, feet], 1)
    who = [1, 2] if 84 <= index < 92 else [0, 1, 2]
    over = max(0.0, 1 - abs(x[0] - x[1]) / 60) if 0 in who else 0.0
    rivals: List[Tuple[int, ...]] = [(1,), (0,), ()] if over else [(), (), ()]
    crops = Crops(
        (np.array([0.95, 0.9, 0.8]) - 0.02 * rng.random(3))[who],
        np.array([over, over, 0.0])[who],
        [rivals[person] for person in who],
        np.array([False, bool(over), False])[who],
    )
    motion = np.eye(2, 3) + 1e-3 * rng.normal(size=(2, 3))
    scores = (0.9 + 0.05 * rng.random(3)).astype(np.float32)[who]
    found = Detections(boxes[who], scores)
    return Observation(time_s, SIZE, found, crops, motion, index == 70), who


def choices_at(index: int, gallery: Optional[np.ndarray]) -> Tuple[Choice, ...]:
    if index == 2 and gallery is not None:
        return (Choice("gallery", embeddings=gallery), Choice("go"))
    return {
        2: (Choice("choose_point", (150.0, 150.0)), Choice("go")),
        40: (Choice("set", (1.0,), "distance_m"),),
        60: (Choice("hold"),),
        64: (Choice("go"),),
        100: (Choice("release"),),
        104: (Choice("choose_box", (100.0, 60.0, 200.0, 210.0)),),
    }.get(index, ())


class Gate:
    """The driver's side: ticks at 20 Hz and at once for a new command."""

    def __init__(self, config: Config, put: Callable[[Entry], Any]):
        self.gate = gate_of(config, holonomic=False)
        self.chassis = open_chassis(config.chassis.open)[0]
        self.put = put
        self.next_s = 100.0
        self.command: Optional[Command] = None
        self.obstacle: Optional[ObstacleReading] = None

    def until(self, time_s: float) -> None:
        while self.next_s < time_s:
            self.tick(self.next_s)
            self.next_s += _TICK_S

    def tick(self, now_s: float) -> None:
        if 107.0 < now_s < 107.3:
            self.gate.press("button")
        elif self.gate.pressed:
            self.gate.rearm()
        if now_s > 103:
            self.obstacle = ObstacleReading(0.8, now_s - 0.01)
        verdict = self.gate.judge(self.command, now_s, self.obstacle)
        sent = self.chassis.stop()
        if not verdict.velocity.is_stop:
            sent = self.chassis.encode(verdict.velocity)
        written = not 104.0 < now_s < 104.2  # unplugged
        reasons = verdict.reasons if written else ("port lost", *verdict.reasons)
        sequence = None if self.command is None else self.command.sequence
        self.put(
            DriveEntry(
                now_s,
                sequence,
                self.obstacle,
                self.gate.pressed,
                verdict.velocity,
                reasons,
                sent,
                written,
            )
        )
        if not written:
            self.gate.stand()


def entries(
    frames: int = 120, config: Config = CONFIG, seed: int = 0, gallery: bool = False
) -> List[Any]:
    """A run's entries, from its header to its end; any type, since tests know what is where."""
    rng = np.random.default_rng(seed)
    people = l2_normalize(rng.normal(size=(3, DIM)).astype(np.float32))
    look = Look(people, rng)
    start = header(config)
    run: List[Entry] = [start]
    perception = perception_of(config, start.strangers, embed=lambda crops: np.zeros((0, DIM)))
    follower, gate = follower_of(config), Gate(config, run.append)
    failed = False
    for index in range(frames):
        seen, who = observation(index, rng)
        gate.until(seen.time_s)
        choices = choices_at(index, look.of([0, 0, 0]) if gallery else None)
        for choice in choices:
            apply(choice, perception, follower)
        now_s = seen.time_s + 0.03
        ego = Velocity(0.3, 0.0, 0.01 * index) if index > 20 else Velocity()

        embed = partial(look.rows, who, index >= 50 and not failed)
        try:
            record = perception.decide(seen, embed)
        except ReidEdgeError:  # the network failed, and the car was told to stop
            failed = True
            run.append(FrameEntry(seen, (), None, choices, 0.0, ego, None, failed=True))
            gate.command = follower.halt(now_s)
            run.append(CommandEntry(gate.command))
            run.append(EventEntry(now_s, "the network failed", "error"))
            continue
        frozen_s = seen.time_s - 0.1 if index == 80 else None
        decision = follower.step(record, now_s, ego, frozen_s)
        made: List[Entry] = [
            frame_entry(record, now_s, ego, frozen_s, choices),
            DecisionEntry(decision_data(record, decision)),
        ]
        gate.command = decision.command
        if index % 7:
            run += made
            gate.tick(now_s + 0.001)
        else:  # the driver's report overtakes
            gate.tick(now_s + 0.001)
            run += made
        run.append(TimingEntry(index, {"detect": 12.5, "track": 0.25}))
    run.append(EndEntry("closed", len(run)))
    return run


def file_of(run: Sequence[Entry], numbers: Optional[Sequence[int]] = None) -> bytes:
    """The entries as the bytes of a recording; ``numbers`` in place of 0, 1, 2, ..."""
    numbers = range(len(run)) if numbers is None else numbers
    return file_of_records([encode(entry, number) for entry, number in zip(run, numbers)])


def file_of_records(records: Sequence[Record]) -> bytes:
    encoder = Encoder()
    return MAGIC + b"".join(encoder.encode(record) for record in records)
