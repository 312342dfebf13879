"""The published figures: ``figures.json``, one row each with its source, read and checked.

A row is

    id, source       a name, and where it was published
    board, power_mode, precision, clocks
                     conditions; "clocks" replaces some of the power mode's
    network, size    of ``networks.NETWORKS``, and the input's height and width
    family           what is left out together when the model is tested
    units            [[unit, batch], ...]; several run side by side, each on its own images
    latency_ms, fps  as published. ``fps`` counts images. Where a row has both, ``fps`` was measured back
                     to back and is what the network takes; ``latency_ms`` adds waiting for each result
    tuned            an MLPerf submission: CUDA graph and kernels fused by hand
    without          what the figure leaves out: "dequantize"
    part             the figure is the time of this part alone: "dequantize". Fitted, not scored
    excluded         why the row is neither fitted nor scored
    note             what had to be assumed

Rows with the same conditions (rounds of a benchmark with newer software, two sources) share the weight
of one.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from benchmarks.predictor.boards import board
from benchmarks.predictor.networks import network
from benchmarks.predictor.table import Job
from runtime.errors import ReidEdgeError

FILE = Path(__file__).with_name("figures.json")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Figure:
    """One row; fields as in the module's docstring."""

    id: str
    source: str
    board: str
    power_mode: str
    precision: str
    network: str
    family: str
    units: Tuple[Tuple[str, int], ...]
    size: Optional[int] = None
    latency_ms: Optional[float] = None
    fps: Optional[float] = None
    clocks: Mapping[str, float] = field(default_factory=dict)
    tuned: bool = False
    without: Tuple[str, ...] = ()
    part: str = ""
    excluded: str = ""
    note: str = ""

    @property
    def measured_ms(self) -> float:
        """Milliseconds per inference, or per image where several units run side by side."""
        if self.fps is not None:
            return 1000 / self.fps * (self.units[0][1] if len(self.units) == 1 else 1)
        assert self.latency_ms is not None
        return self.latency_ms

    @property
    def model(self) -> str:
        """Which model predicts it: "xavier" or "x3"."""
        return board(self.board).model

    @property
    def condition(self) -> tuple:
        """What figures have in common that can be predicted only alike."""
        clocks = tuple(sorted(self.clocks.items()))
        what = (self.network, self.size, self.precision, self.tuned, self.without, self.part)
        return (self.board, self.power_mode, clocks, self.units, *what)

    def jobs(self) -> List[Job]:
        """The inferences, one per unit.

        Raises:
            ReidEdgeError: The network is not described.
        """
        cost = network(self.network, self.size)
        clocks = board(self.board).modes[self.power_mode].changed(self.clocks)
        whole = "dequantize" not in self.without
        return [
            Job(cost, unit, self.precision, batch, clocks, self.tuned, whole)
            for unit, batch in self.units
        ]


def read_figures(path: Path = FILE) -> List[Figure]:
    """All rows.

    Raises:
        ReidEdgeError: A file of another schema, or a row that cannot be used.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version, rows = data["schema_version"], data["figures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReidEdgeError("Cannot read the figures in %s: %s." % (path, error)) from None
    if version != SCHEMA_VERSION:
        raise ReidEdgeError(
            "%s has schema version %s, expected %d; install reid-edge again."
            % (path, version, SCHEMA_VERSION)
        )
    found = [_figure(row) for row in rows]
    if len({figure.id for figure in found}) != len(found):
        raise ReidEdgeError("Rows of %s must have different ids." % path)
    return found


def figures_sha256(path: Path = FILE) -> str:
    """SHA-256 of the data file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(figures: List[Figure]) -> List[float]:
    """For each figure one over the number of figures of the same condition."""
    count: Dict[tuple, int] = {}
    for figure in figures:
        count[figure.condition] = count.get(figure.condition, 0) + 1
    return [1 / count[figure.condition] for figure in figures]


def host_wait_ms(figures: List[Figure]) -> float:
    """Median time that waiting for each result adds on a Xavier: rows with both figures."""
    both = [f for f in figures if f.fps and f.latency_ms and f.model == "xavier"]
    return statistics.median(f.latency_ms - 1000 / f.fps for f in both)  # type: ignore[operator, misc]


def _figure(row: Dict) -> Figure:
    known = {f.name for f in fields(Figure)}
    wrong = sorted(set(row) - known)
    try:
        values = dict(row, units=tuple((str(unit), int(batch)) for unit, batch in row["units"]))
        values["without"] = tuple(row.get("without", ()))
        figure = Figure(**{key: value for key, value in values.items() if key in known})
        found = board(figure.board)
        bad_units = [unit for unit, _ in figure.units if unit not in found.units]
        if wrong or bad_units or (figure.latency_ms is None and figure.fps is None):
            raise ValueError(
                "unknown %s" % (wrong + bad_units) if wrong or bad_units else "no figure"
            )
        found.mode(figure.power_mode)
    except (KeyError, TypeError, ValueError) as error:
        raise ReidEdgeError("Figure %s is not usable: %s." % (row.get("id"), error)) from None
    return figure
