"""The tables in logs of the Horizon toolchain: nodes, and similarities of the outputs.

Columns are Node, ON, Subgraph and Type, in ``makertbin`` followed by Cosine Similarity and Threshold,
in newer versions also by a data type. Cells may be empty, and other lines of the log may stand between
the rows.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from runtime.errors import ReidEdgeError

_HEAD = re.compile(r"^\s*Node\s+ON\s+Subgraph\s+Type\b")
_ROW = re.compile(r"^\s*(\S.*?)\s+(BPU|CPU)\s+(id\(([0-9]{1,9})\)|--)\s+(\S+)(.*)$")
_COLUMNS = ("Node", "ON", "Subgraph", "Type", "Cosine Similarity", "Threshold", "DataType")
# A line of the log that is no row; a node's name may begin with one of these words, but goes on.
_MESSAGE = re.compile(
    r"^\s*(?:\d{4}-\d\d-\d\d\b|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?=[\s:]|$)"
    r"|file:\s+\S+\s+func:|Traceback \()"
)
_PLACE = re.compile(r"\sid\(\S*\)\s")  # what only rows have
_OUTPUT_HEAD = re.compile(r"^\s*Node\s+Cosine Similarity\s+L1 Distance")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE
)


@dataclass(frozen=True)
class LogNode:
    """One row of the table; what the log leaves empty is None.

    Attributes:
        name: Node; long names are cut by the toolchain, with dots in front.
        on: ``"BPU"`` or ``"CPU"``.
        subgraph: Number of the BPU subgraph.
        type: The toolchain's own operator type.
        cosine: Similarity of the quantized to the float result; not finite where the tool says so.
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


def rank(cosine: float) -> float:
    """What similarities are compared by: one that is not finite is worse than every other."""
    return cosine if math.isfinite(cosine) else -math.inf


def for_json(value: float | None) -> float | str | None:
    """A number as JSON can hold it: one that is not finite becomes ``"nan"``, ``"inf"``, ``"-inf"``."""
    return value if value is None or math.isfinite(value) else str(value)


def node_table(lines: list[str]) -> list[LogNode]:
    """The rows of the last table of nodes.

    Raises:
        ReidEdgeError: A row cannot be read.
    """
    heads = [i for i, line in enumerate(lines) if _HEAD.match(line)]
    if not heads:
        return []
    columns = _starts(lines[heads[-1]])
    nodes = []
    message = False  # whether the log speaks: between two rows, or because the table is over
    for line in lines[heads[-1] + 1 :]:
        if _MESSAGE.match(line):
            message = True
            continue
        if set(line.strip()) <= {"-", "="}:  # rules, and the empty line
            continue
        row = _ROW.match(line)
        if row is None:
            if message and not _PLACE.search(line):  # it has several lines
                continue
            raise ReidEdgeError(
                "The hb_mapper log has a row of its node table that cannot be read, %r; give the "
                "log as the tool wrote it." % line.strip()
            )
        message = False
        nodes.append(_node(row, columns))
    return nodes


def _node(row: re.Match[str], columns: dict[str, int]) -> LogNode:
    name, on, _, subgraph, kind, rest = row.groups()
    cells = _cells(rest, row.start(6), columns)
    return LogNode(
        name,
        on,
        None if subgraph is None else int(subgraph),
        kind,
        _float(cells.get("Cosine Similarity")),
        _float(cells.get("Threshold")),
        cells.get("DataType"),
    )


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
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None


def output_table(lines: list[str]) -> dict[str, float]:
    """Output node -> similarity, from the last table of the model's outputs."""
    heads = [i for i, line in enumerate(lines) if _OUTPUT_HEAD.match(line)]
    found: dict[str, float] = {}
    for line in lines[heads[-1] + 1 :] if heads else ():
        if _MESSAGE.match(line) or set(line.strip()) <= {"-", "="}:
            continue
        cells = line.split()
        if len(cells) < 5 or not all(_NUMBER.fullmatch(c) for c in cells[-4:]):
            break
        found[" ".join(cells[:-4])] = float(cells[-4])
    return found
