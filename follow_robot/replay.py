"""A recorded run decided again: the same chain, fed with what was recorded, compared bit by bit.

Tracker, lock, filter, controller and safety gate are pure, so with the settings of the recording every
decision must come out as it was; where one does not, the software has changed (or the machine, which
may round differently: the header says which it was). With changed settings the differences are what
these settings would have changed. A person's reaction to that was not recorded: a car that drives
elsewhere would have seen something else, so believe the moment a decision changes and little after.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from follow_robot.black_box_format import as_read
from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    DriveEntry,
    Entry,
    FrameEntry,
    HeaderEntry,
    command_data,
    decision_data,
)
from follow_robot.chain import follower_of, gate_of, perception_of
from follow_robot.chassis import open_chassis
from follow_robot.choices import SET, apply
from follow_robot.config import Config, parse_config
from follow_robot.difference import differences
from follow_robot.driver import PORT_LOST
from follow_robot.replay_report import ReplayReport
from follow_robot.velocity import Command
from runtime.errors import ReidEdgeError

_COMMANDS = 200  # that a tick of the driver may still refer to
_TICKS = 2000  # that may wait for a command


def replay(
    path: Union[str, Path],
    overrides: Sequence[str] = (),
    tolerance: float = 0.0,
    keep: int = 20,
    progress: Optional[Callable[[int], object]] = None,
) -> ReplayReport:
    """Decide a recorded run again and compare.

    Args:
        path: The recording; one that breaks off is replayed up to there.
        overrides: ``section.field=value`` each, to see what they would have changed.
        tolerance: Numbers this close count as equal, for recordings of another machine.
        keep: How many differences the report names; all are counted.
        progress: Called with the number of frames, after each.

    Raises:
        ReidEdgeError: It is no recording that this version reads, or the settings are wrong.
    """
    with BlackBoxReader(path) as reader:
        return replay_of(reader, overrides, tolerance, keep, progress)


def replay_of(
    reader: BlackBoxReader,
    overrides: Sequence[str] = (),
    tolerance: float = 0.0,
    keep: int = 20,
    progress: Optional[Callable[[int], object]] = None,
) -> ReplayReport:
    """``replay`` of an open recording."""
    path = reader.path
    config = parse_config(reader.header.config, "%s (settings)" % path, overrides)
    report = ReplayReport(str(path), reader.header, tuple(overrides), tolerance, keep)
    chain = _Chain(config, report, _Dimension(path, reader.header))
    for entry in reader:
        if reader.missing:
            report.broken = (
                "%d records are missing, because the disk was too slow; what follows was decided "
                "from more than was recorded" % reader.missing
            )
            break
        chain.take(entry)
        if progress is not None and isinstance(entry, FrameEntry):
            progress(report.frames)
    chain.finish()
    report.cut = reader.cut
    return report


class _Chain:
    """The chain of a recording, and the decisions it makes again."""

    def __init__(self, config: Config, report: ReplayReport, dimension: _Dimension):
        self._report, self._dimension = report, dimension
        header = report.header
        self._network = header.network
        self._changed = {text.partition("=")[0].strip() for text in report.overrides}
        embed = _no_pictures if header.network else None
        self._perception = perception_of(config, header.strangers, embed=embed)
        self._follower = follower_of(config)
        self._gate = gate_of(config, header.holonomic)
        self._chassis = open_chassis(config.chassis.open)[0]
        self._made: Optional[Dict[str, Any]] = None
        self._commands: OrderedDict[int, Command] = OrderedDict()
        self._waiting: Deque[DriveEntry] = deque()
        self._time_s = header.started_s

    def take(self, entry: Entry) -> None:
        """Replay or compare one entry."""
        self._guarded(lambda: self._take(entry))

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, FrameEntry):
            self._frame(entry)
        elif isinstance(entry, DecisionEntry):
            self._compare_decision(entry)
        elif isinstance(entry, CommandEntry):
            made = self._follower.halt(entry.command.made_s)
            self._compare(self._time_s, command_data(entry.command), command_data(made), "halt")
            self._command(made)
        elif isinstance(entry, DriveEntry):
            self._waiting.append(entry)
            self._ticks(len(self._waiting) > _TICKS)

    def finish(self) -> None:
        """Replay what still waits."""
        while self._waiting:
            self._guarded(lambda: self._ticks(True))

    def _guarded(self, step: Callable[[], None]) -> None:
        """Numbers that no car records, and that the chain was never made for, are a difference."""
        try:
            step()
        except (ReidEdgeError, ArithmeticError, ValueError) as error:
            self._report.differ(self._time_s, "recording", "possible", "refused: %s" % error)

    # -- frames ----------------------------------------------------------------------------------

    def _frame(self, entry: FrameEntry) -> None:
        report = self._report
        report.frames += 1
        self._time_s = entry.observation.time_s
        for choice in entry.choices:
            if choice.kind == SET and "controller.%s" % choice.name in self._changed:
                continue  # what was set by hand then is what the replay is asked to change
            try:
                apply(choice, self._perception, self._follower)
            except ReidEdgeError as error:
                report.note(self._time_s, "choice %s was refused: %s" % (choice.kind, error))
        self._made = None
        try:
            embed = self._embedder(entry) if self._network else None
            record = self._perception.decide(entry.observation, embed)
            decision = self._follower.step(record, entry.now_s, entry.ego, entry.frame_time_s)
        except _NetworkFailed:
            return
        except ReidEdgeError as error:
            if not entry.failed:
                report.differ(self._time_s, "frame", "decided", "refused: %s" % error)
            return
        if entry.failed:
            report.differ(self._time_s, "frame", "failed", "decided")
        self._made = as_read(decision_data(record, decision))
        self._command(decision.command)

    def _embedder(self, entry: FrameEntry) -> Callable[[List[int]], np.ndarray]:
        """Stands for the network: gives what it gave, NaN (not embedded) for what it was not asked."""
        given = {} if entry.embeddings is None else dict(zip(entry.rows, entry.embeddings))

        def embed(rows: List[int]) -> np.ndarray:
            if entry.failed:
                raise _NetworkFailed
            missing = [row for row in rows if row not in given]
            self._report.not_recorded += len(missing)
            found = np.full((len(rows), self._dimension.of(entry)), np.nan, np.float32)
            for place, row in enumerate(rows):
                if row in given:
                    found[place] = given[row]
            return found

        return embed

    def _compare_decision(self, entry: DecisionEntry) -> None:
        if self._made is None:
            self._report.differ(self._time_s, "decision", "made", "none was made")
            return
        self._report.decisions += 1
        self._report.lock_event(self._time_s, entry.data, self._made)
        self._compare(self._time_s, entry.data, self._made)
        self._made = None

    def _compare(self, time_s: float, recorded: Any, replayed: Any, field: str = "") -> None:
        for found in differences(recorded, replayed, self._report.tolerance, field):
            self._report.differ(time_s, *found)

    # -- ticks of the driver ---------------------------------------------------------------------

    def _command(self, command: Command) -> None:
        self._commands[command.sequence] = command
        while len(self._commands) > _COMMANDS:
            self._commands.popitem(last=False)
        self._ticks(False)

    def _ticks(self, all_of_them: bool) -> None:
        """Replay ticks whose command is known: the driver's reports may overtake the decision."""
        while self._waiting:
            tick = self._waiting[0]
            known = tick.sequence is None or tick.sequence in self._commands
            if not known and not all_of_them:
                return
            self._waiting.popleft()
            if known:
                self._tick(tick)
            else:
                self._report.ticks_without_command += 1

    def _tick(self, tick: DriveEntry) -> None:
        gate, report = self._gate, self._report
        command = None if tick.sequence is None else self._commands[tick.sequence]
        self._sync_stop(tick.pressed)
        verdict = gate.judge(command, tick.judged_s, tick.obstacle)
        report.ticks += 1
        recorded: Dict[str, Any] = {"reasons": _as_reported(tick.reasons)}
        replayed: Dict[str, Any] = {"reasons": _as_reported(verdict.reasons)}
        if tick.written:
            velocity = verdict.velocity
            sent = self._chassis.stop() if velocity.is_stop else self._chassis.encode(velocity)
            recorded.update(velocity=tick.velocity._asdict(), sent=tick.sent.hex())
            replayed.update(velocity=velocity._asdict(), sent=sent.hex())
        else:
            gate.stand()
        self._compare(tick.judged_s, recorded, replayed, "drive")

    def _sync_stop(self, pressed: Tuple[str, ...]) -> None:
        """Bring the emergency stop to what it was."""
        gate = self._gate
        if gate.pressed == pressed[: len(gate.pressed)]:
            new = pressed[len(gate.pressed) :]
        else:
            gate.rearm()
            new = pressed
        for reason in new:
            gate.press(reason)


def _as_reported(reasons: Sequence[str]) -> List[str]:
    """Reasons as far as the driver's reports carry them: few, short, and without its own."""
    judged = [reason for reason in reasons if reason != PORT_LOST]
    return ["".join(c if " " <= c <= "~" else "?" for c in r[:60]) for r in judged[:5]]


class _Dimension:
    """Length of the embeddings, looked up in the recording when the first is needed before it came."""

    def __init__(self, path: Union[str, Path], header: HeaderEntry):
        self._path = path
        self._known = None if header.strangers is None else header.strangers.shape[1]

    def of(self, entry: FrameEntry) -> int:
        if entry.embeddings is not None:
            self._known = entry.embeddings.shape[1]
        if self._known is None:
            self._known = 1  # of a recording in which nobody was ever embedded
            with BlackBoxReader(self._path) as reader:
                for other in reader:
                    if isinstance(other, FrameEntry) and other.embeddings is not None:
                        self._known = other.embeddings.shape[1]
                        break
        return self._known


class _NetworkFailed(Exception):
    """The ReID network failed here when this was recorded."""


def _no_pictures(crops: Sequence[np.ndarray]) -> np.ndarray:
    raise AssertionError("a replay has no pictures to embed")
