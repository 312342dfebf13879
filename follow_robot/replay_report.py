"""What a replay found."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from follow_robot.black_box_records import HeaderEntry


class Found(NamedTuple):
    """One value that came out differently.

    Attributes:
        time_s: Seconds since the recording's start.
        field: Such as ``lock.state`` or ``drive.velocity.vx_mps``.
        recorded, replayed: Both values.
    """

    time_s: float
    field: str
    recorded: Any
    replayed: Any


@dataclass
class ReplayReport:
    """What a replay found.

    Attributes:
        path: The recording.
        header: How it began.
        overrides: Settings that were changed.
        tolerance: Numbers this close counted as equal.
        keep: How many differences are named.
        frames, decisions, ticks: How many were replayed: frames, decisions that were compared, ticks of
            the driver that were.
        ticks_without_command: Ticks whose command is not in the recording; they were left out.
        not_recorded: Crops that the replay wanted to see and the recorded run did not.
        found: The first differences, in order.
        counts: How many there are by field, list positions left out.
        lock_events: (seconds, recorded, replayed) wherever the lock said something, or would have.
        notes: (seconds, sentence) of other things.
        broken: Why the replay ended before the recording did; None if it did not.
        cut: Where and why the recording breaks off; None if it does not.
    """

    path: str
    header: HeaderEntry
    overrides: Tuple[str, ...] = ()
    tolerance: float = 0.0
    keep: int = 20
    frames: int = 0
    decisions: int = 0
    ticks: int = 0
    ticks_without_command: int = 0
    not_recorded: int = 0
    found: List[Found] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)
    lock_events: List[Tuple[float, Optional[str], Optional[str]]] = field(default_factory=list)
    notes: List[Tuple[float, str]] = field(default_factory=list)
    broken: Optional[str] = None
    cut: Optional[str] = None

    @property
    def identical(self) -> bool:
        """Whether everything that was replayed came out as it was recorded."""
        return not self.counts

    @property
    def first(self) -> Optional[Found]:
        """The first difference."""
        return self.found[0] if self.found else None

    def differ(self, time_s: float, name: str, recorded: Any, replayed: Any) -> None:
        """Note a difference at a monotonic time."""
        group = re.sub(r"\.\d+(?=\.|$)", "", name)
        self.counts[group] = self.counts.get(group, 0) + 1
        if len(self.found) < self.keep:
            self.found.append(Found(self._since(time_s), name, recorded, replayed))

    def lock_event(self, time_s: float, recorded: Dict[str, Any], replayed: Dict[str, Any]) -> None:
        """Note what the lock said on a frame, in both runs."""
        lock = recorded.get("lock")
        was = lock.get("event") if isinstance(lock, dict) else None
        now = replayed["lock"]["event"]
        if was is not None or now is not None:
            self.lock_events.append((self._since(time_s), was, now))

    def note(self, time_s: float, text: str) -> None:
        """Note a sentence."""
        self.notes.append((self._since(time_s), text))

    def text(self) -> str:
        """For people."""
        header = self.header
        lines = [
            "%s, recorded %s by %s" % (self.path, header.started_at, header.tool),
            "replayed %d frames, %d decisions and %d ticks of the driver"
            % (self.frames, self.decisions, self.ticks),
        ]
        if self.overrides:
            lines.append("with %s" % ", ".join(self.overrides))
        if self.cut:
            lines.append(self.cut)
        if self.broken:
            lines.append("The replay ends here: %s." % self.broken)
        if self.ticks_without_command:
            lines.append("%d ticks had no recorded command" % self.ticks_without_command)
        if self.not_recorded:
            lines.append(
                "%d crops were wanted that the recorded run had not embedded; they count as not seen"
                % self.not_recorded
            )
        for time_s, text in self.notes[: self.keep]:
            lines.append("%9.3f s  %s" % (time_s, text))
        if self.identical:
            lines.append(self._agreement())
            return "\n".join(lines) + "\n"
        lines += ["", "differences by field:"]
        ranked = sorted(self.counts.items(), key=lambda item: -item[1])
        lines += ["%9d  %s" % (count, name) for name, count in ranked]
        lines += ["", "the first of them (recorded -> replayed):"]
        lines += [
            "%9.3f s  %s: %s -> %s" % (f.time_s, f.field, _short(f.recorded), _short(f.replayed))
            for f in sorted(self.found, key=lambda f: f.time_s)  # the driver's come a little late
        ]
        if self.lock_events:
            lines += ["", "what the lock said (recorded -> replayed):"]
            lines += [
                "%9.3f s  %s" % (t, was if was == now else "%s -> %s" % (was or "-", now or "-"))
                for t, was, now in self.lock_events
            ]
        if not self.overrides:
            machine = ", ".join("%s %s" % item for item in header.machine.items())
            lines += [
                "",
                "recorded with %s" % machine,
                "other versions may round differently: --tolerance 1e-9 tells rounding from change",
            ]
        return "\n".join(lines) + "\n"

    def _agreement(self) -> str:
        if not self.decisions + self.ticks:
            return "There was nothing to compare."
        if self.tolerance:
            return "Every decision came out as recorded, within %g." % self.tolerance
        return "Every decision came out exactly as recorded."

    def _since(self, time_s: float) -> float:
        return time_s - self.header.started_s


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
