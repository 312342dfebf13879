"""Logs of the Horizon toolchain, read: what really runs where, how similar, how fast.

``hb_mapper`` prints a table with the columns Node, ON, Subgraph and Type, in ``makertbin`` followed
by Cosine Similarity and Threshold, in newer versions also by a data type. Cells may be empty. A
log may hold several runs; the last one counts.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from runtime.errors import ReidEdgeError

_START = re.compile(r"Start hb_mapper\.*")
_COMMAND = {
    "Begin model checking": "checker",
    "Start Model Convert": "makertbin",
    "exception in command: checker": "checker",
    "exception in command: makertbin": "makertbin",
}
# The manual prints one spelling, other versions the other.
_CONVERTED = re.compile(r"Convert to runtime bin file suc+es+fully!")
_CHECKED = "End model checking"
_ERROR = re.compile(r"(?:^|\s)ERROR[:\s]\s*(.+)$")
_HEAD = re.compile(r"^\s*Node\s+ON\s+Subgraph\s+Type\b")
_ROW = re.compile(r"^\s*(\S.*?)\s+(BPU|CPU)\s+(id\((\d+)\)|--)\s+(\S+)(.*)$")
_COLUMNS = ("Node", "ON", "Subgraph", "Type", "Cosine Similarity", "Threshold", "DataType")
_NEXT = re.compile(r"^\s*(?:\d{4}-\d\d-\d\d|INFO\b|WARNING\b|ERROR\b)")  # what ends a table
_OUTPUT_HEAD = re.compile(r"^\s*Node\s+Cosine Similarity\s+L1 Distance")
_PERF = re.compile(
    r"FPS\s*=\s*([\d.]+),\s*latency\s*=\s*([\d.]+)\s*us(?:,\s*DDR\s*=\s*(\d+)\s*bytes)?"
    r"(?:\s*\(see\s+([^)]+)\))?"
)
_METHOD = re.compile(r"\bSelect (\S+) method\.")
_VERSION = re.compile(
    r"\b(hb[_ ]mapper|hbdk runtime|hbdk|horizon_?nn)\s+version\s*:?\s*(\d[\w.]*)", re.IGNORECASE
)
_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class LogNode:
    """One row of the table; what the log leaves empty is None.

    Attributes:
        name: Node; long names are cut by the toolchain, with dots in front.
        on: ``"BPU"`` or ``"CPU"``.
        subgraph: Number of the BPU subgraph.
        type: The toolchain's own operator type.
        cosine: Similarity of the quantized to the float result.
        threshold: Calibration threshold.
        data_type: Such as ``"int8"`` or ``"int8/int32"`` (in / out).
    """

    name: str
    on: str
    subgraph: int | None
    type: str
    cosine: float | None = None
    threshold: float | None = None
    data_type: str | None = None


@dataclass(frozen=True)
class SubgraphSpeed:
    """The compiler's estimate for one BPU subgraph; CPU operators are not in it."""

    fps: float
    latency_us: float
    ddr_bytes: int | None
    report: str | None


@dataclass(frozen=True)
class HbLog:
    """One run of ``hb_mapper``.

    Attributes:
        command: ``"checker"`` or ``"makertbin"``.
        success: Whether the run reached its end.
        errors: Error lines; a run that failed has at least one.
        nodes: The table; empty only where the run failed before it.
        output_cosine: Output node -> similarity, from the table of model outputs.
        speeds: Per BPU subgraph.
        method: Calibration method that was chosen, if printed.
        versions: Tool -> version.
    """

    command: str
    success: bool
    errors: tuple[str, ...]
    nodes: tuple[LogNode, ...]
    output_cosine: dict[str, float]
    speeds: tuple[SubgraphSpeed, ...]
    method: str | None
    versions: dict[str, str]

    @property
    def subgraphs(self) -> int:
        """Number of BPU subgraphs."""
        return len({n.subgraph for n in self.nodes if n.subgraph is not None})

    @property
    def cpu_nodes(self) -> list[LogNode]:
        return [n for n in self.nodes if n.on == "CPU"]

    @property
    def worst_output_cosine(self) -> float | None:
        """Of the outputs, or of the last node with a similarity where outputs are not listed."""
        if self.output_cosine:
            return min(self.output_cosine.values())
        return next((n.cosine for n in reversed(self.nodes) if n.cosine is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "subgraphs": self.subgraphs}


def parse_hb_log(text: str) -> HbLog:
    """Read ``hb_mapper_checker.log``, ``hb_mapper_makertbin.log`` or what was printed.

    Raises:
        ReidEdgeError: The text is no such log, or it ends before the run did.
    """
    lines = _last_run(text).splitlines()
    converted = any(_CONVERTED.search(line) for line in lines)
    checked = any(_CHECKED in line for line in lines)
    nodes = _nodes(lines)
    command = _command(lines, converted, checked, nodes)
    success = converted if command == "makertbin" else checked
    errors = tuple(m.group(1).strip() for m in map(_ERROR.search, lines) if m)
    if not command or (not success and not errors):
        raise ReidEdgeError(
            "The hb_mapper log has %d lines and %s; give the whole log of a finished run."
            % (
                len(lines),
                "ends before the run did" if command else "is not one of checker or makertbin",
            )
        )
    if success and not nodes:
        raise ReidEdgeError(
            "The hb_mapper log says that the run succeeded but has no table of nodes; give the "
            "whole log."
        )
    return HbLog(
        command=command,
        success=success,
        errors=errors,
        nodes=tuple(nodes),
        output_cosine=_output_cosine(lines),
        speeds=tuple(_speeds(lines)),
        method=next((m.group(1) for m in map(_METHOD.search, reversed(lines)) if m), None),
        versions=_versions(lines),
    )


def _last_run(text: str) -> str:
    starts = [m.start() for m in _START.finditer(text)]
    return text[starts[-1] :] if starts else text


def _command(lines: list[str], converted: bool, checked: bool, nodes: list[LogNode]) -> str:
    for line in lines:
        for mark, command in _COMMAND.items():
            if mark in line:
                return command
    if converted or any(n.cosine is not None for n in nodes):
        return "makertbin"
    return "checker" if checked or nodes else ""


def _nodes(lines: list[str]) -> list[LogNode]:
    """The rows of the last table."""
    heads = [i for i, line in enumerate(lines) if _HEAD.match(line)]
    if not heads:
        return []
    columns = _starts(lines[heads[-1]])
    nodes = []
    for line in lines[heads[-1] + 1 :]:
        if set(line.strip()) <= {"-", "="}:  # rules, and the empty line
            continue
        row = _ROW.match(line)
        if row is None:
            if _NEXT.match(line):
                break
            raise ReidEdgeError(
                "The hb_mapper log has a row of its node table that cannot be read, %r; give the "
                "log as the tool wrote it." % line.strip()
            )
        name, on, _, subgraph, kind, rest = row.groups()
        cells = _cells(rest, row.start(6), columns)
        nodes.append(
            LogNode(
                name,
                on,
                None if subgraph is None else int(subgraph),
                kind,
                _float(cells.get("Cosine Similarity")),
                _float(cells.get("Threshold")),
                cells.get("DataType"),
            )
        )
    return nodes


def _starts(head: str) -> dict[str, int]:
    """Column -> position in the line."""
    found = {c: head.find(c) for c in _COLUMNS}
    in_out = head.find("In/Out DataType")
    if in_out >= 0:
        found["DataType"] = in_out
    return {c: i for c, i in found.items() if i >= 0}


def _cells(rest: str, offset: int, columns: dict[str, int]) -> dict[str, str]:
    """The values behind the type, each put under the column it stands below.

    Where spaces were lost on the way, a row has a value for every column or is read in order.
    """
    names = [c for c in columns if c in _COLUMNS[4:]]
    values = [(m.group(), offset + m.start()) for m in re.finditer(r"\S+", rest)]
    if len(values) >= len(names):
        placed = dict(zip(names, (v for v, _ in values)))
    else:
        placed = {}
        for value, start in values:
            below = [c for c in names if columns[c] <= start]
            if below:
                placed[max(below, key=lambda c: columns[c])] = value
    return {c: v for c, v in placed.items() if v != "--"}


def _float(value: str | None) -> float | None:
    return float(value) if value is not None and _NUMBER.match(value) else None


def _output_cosine(lines: list[str]) -> dict[str, float]:
    heads = [i for i, line in enumerate(lines) if _OUTPUT_HEAD.match(line)]
    found: dict[str, float] = {}
    for line in lines[heads[-1] + 1 :] if heads else ():
        if set(line.strip()) <= {"-", "="}:
            continue
        cells = line.split()
        if len(cells) < 5 or not all(_NUMBER.match(c) for c in cells[-4:]):
            break
        found[" ".join(cells[:-4])] = float(cells[-4])
    return found


def _speeds(lines: list[str]) -> list[SubgraphSpeed]:
    return [
        SubgraphSpeed(
            float(m.group(1)),
            float(m.group(2)),
            int(m.group(3)) if m.group(3) else None,
            m.group(4),
        )
        for m in map(_PERF.search, lines)
        if m
    ]


def _versions(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        for name, version in _VERSION.findall(line):
            key = name.lower().replace(" ", "_").replace("horizonnn", "horizon_nn")
            found[key] = version
    return found
