"""Logs of the Horizon toolchain, read: what really runs where, how similar, how fast.

``hb_mapper`` prints a table of nodes, in ``makertbin`` also one of outputs; ``hb_table`` reads both.
A log may hold several runs; the last one counts.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from export.x3.hb_table import LogNode, for_json, node_table, output_table, rank
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
# Newer versions print "file: ... func: ... line No: ..." instead of a level.
_ERROR = re.compile(r"(?:^|\s)ERROR[:\s]\s*(.+)$|(exception in command:.*)$")
_TRACEBACK = "Traceback (most recent call last):"
_DECIMAL = r"([0-9]{1,12}(?:\.[0-9]*)?)"
_PERF = re.compile(
    rf"FPS\s*=\s*{_DECIMAL},\s*latency\s*=\s*{_DECIMAL}\s*us"
    r"(?:,\s*DDR\s*=\s*([0-9]{1,18})\s*bytes)?(?:\s*\(see\s+([^)]+)\))?"
)
_METHOD = re.compile(r"\bSelect (\S+) method\.")
_VERSION = re.compile(
    r"\b(hb[_ ]mapper|hbdk runtime|hbdk|horizon_?nn)\s+version\s*:?\s*(\d[\w.]*)", re.IGNORECASE
)


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
            return min(self.output_cosine.values(), key=rank)
        return next((n.cosine for n in reversed(self.nodes) if n.cosine is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; numbers that are not finite are text, as ``hb_table.for_json`` has it."""
        nodes = [
            {**asdict(n), "cosine": for_json(n.cosine), "threshold": for_json(n.threshold)}
            for n in self.nodes
        ]
        outputs = {name: for_json(cosine) for name, cosine in self.output_cosine.items()}
        return {
            **asdict(self),
            "nodes": nodes,
            "output_cosine": outputs,
            "subgraphs": self.subgraphs,
        }


def parse_hb_log(text: str, command: str = "") -> HbLog:
    """Read ``hb_mapper_checker.log``, ``hb_mapper_makertbin.log`` or what was printed.

    Args:
        text: The log.
        command: Which command it is of, where the log itself does not get so far as to say it.

    Raises:
        ReidEdgeError: The text is no such log, or it ends before the run did.
    """
    lines = _last_run(text).splitlines()
    converted = any(_CONVERTED.search(line) for line in lines)
    checked = any(_CHECKED in line for line in lines)
    nodes = node_table(lines)
    command = _command(lines, converted, checked, nodes) or command
    success = converted if command == "makertbin" else checked
    errors = tuple(_errors(lines))
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
        output_cosine=output_table(lines),
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


def _errors(lines: list[str]) -> list[str]:
    """Error lines, and the last line of each Python traceback."""
    found = []
    for i, line in enumerate(lines):
        match = _ERROR.search(line)
        if _TRACEBACK in line:
            # Frames are indented; the exception stands where the traceback's own line begins.
            text = next((t for t in lines[i + 1 :] if _indent(t) <= _indent(line)), "")
        else:
            text = (match.group(1) or match.group(2)) if match else ""
        found.append(text.strip())
    return [text for text in dict.fromkeys(found) if text]


def _indent(line: str) -> float:
    return len(line) - len(line.lstrip()) if line.strip() else float("inf")


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
