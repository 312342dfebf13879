"""``follow-robot replay``: decide a recorded run again, or look into it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from follow_robot.black_box_codec import encode
from follow_robot.black_box_format import as_read
from follow_robot.black_box_reader import BlackBoxReader
from follow_robot.replay import replay
from follow_robot.replay_report import ReplayReport
from runtime.errors import ReidEdgeError, VerificationError

_EPILOG = """examples:
  follow-robot replay runs/follow-20260114T153012.blackbox
      does this version decide everything as it was decided then?
  follow-robot replay run.blackbox --set lock.accept=0.55 --set controller.distance_m=1.5
      what would these settings have changed?
  follow-robot replay run.blackbox --dump | grep '"event"'
      what happened

exit status: 0 everything came out as recorded, or settings were changed on purpose; 2 it cannot be
read; 3 something came out differently
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="follow-robot replay",
        description="Decide a recorded run again and compare every decision.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("recording", type=Path, help="a .blackbox file, or .part of a run that crashed")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="change one setting; may be repeated",
    )
    p.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="X",
        help="numbers this close count as equal, for recordings of another kind of machine "
        "(default: exactly equal)",
    )
    p.add_argument(
        "--keep", type=int, default=20, help="differences to name (default: %(default)s)"
    )
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--dump", action="store_true", help="print the records as JSON lines instead")
    return p


def run(argv: Optional[Sequence[str]] = None) -> int:
    """The command; returns its exit status."""
    a = parser().parse_args(argv)
    try:
        if not 0 <= a.tolerance <= 1:
            raise ReidEdgeError("--tolerance must be 0 to 1, got %g." % a.tolerance)
        if a.keep < 0:
            raise ReidEdgeError("--keep must be at least 0, got %d." % a.keep)
        if a.dump:
            for line in dumped(a.recording):
                print(line)
            return 0
        report = replay(a.recording, a.set, a.tolerance, a.keep)
    except ReidEdgeError as error:
        print("follow-robot replay: %s" % error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # such as "| head"
        sys.stderr.close()
        return 0
    print(json.dumps(summary(report)) if a.json else report.text(), end="\n" if a.json else "")
    return 0 if report.identical or report.overrides else VerificationError.exit_code


def summary(report: ReplayReport) -> Dict[str, Any]:
    """A report as JSON-able data."""
    header = report.header
    return {
        "recording": report.path,
        "started_at": header.started_at,
        "tool": header.tool,
        "machine": header.machine,
        "changed": list(report.overrides),
        "frames": report.frames,
        "decisions": report.decisions,
        "ticks": report.ticks,
        "ticks_without_command": report.ticks_without_command,
        "not_recorded": report.not_recorded,
        "identical": report.identical,
        "counts": report.counts,
        "first": [as_read(found._asdict()) for found in _printable(report)],
        "lock_events": as_read(report.lock_events),
        "broken": report.broken,
        "cut": report.cut,
    }


def dumped(path: Path) -> Iterator[str]:
    """Every record of a recording as a line of JSON; of large arrays only the shape."""
    with BlackBoxReader(path) as reader:
        number = 0
        for entry in _with_header(reader):
            record = encode(entry, number)
            said: Dict[str, Any] = {"kind": record.kind, **record.data}
            for name, array in record.arrays.items():
                large = array.size > 64
                said[name] = "%s %s" % (array.dtype, array.shape) if large else array.tolist()
            yield json.dumps(as_read(said))
            number += 1
        if reader.cut is not None:
            yield json.dumps({"kind": "cut", "reason": reader.cut})


def _with_header(reader: BlackBoxReader) -> Iterator[Any]:
    yield reader.header
    yield from reader


def _printable(report: ReplayReport) -> List[Any]:
    """The first differences, with "absent" for values that one of the two does not have."""
    kinds = (int, float, str, bool, list, dict, type(None))
    return [
        found._replace(
            recorded=found.recorded if isinstance(found.recorded, kinds) else repr(found.recorded),
            replayed=found.replayed if isinstance(found.replayed, kinds) else repr(found.replayed),
        )
        for found in report.found
    ]
