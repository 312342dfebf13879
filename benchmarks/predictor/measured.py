"""Measured latencies of a user's board, and the models refitted on them.

``measured.json``, schema version 1:

    {"schema_version": 1, "kind": "reid-edge measured latencies",
     "board": "xavier-nx", "power_mode": "15W_6CORE",
     "measurements": [
       {"onnx": "model.fp32.onnx", "precision": "fp16", "batch": 1, "unit": "gpu", "latency_ms": 4.1}]}

A measurement names its network as "onnx" (a file, relative to this one) or as "network" (one of the
described ones) with "size" (height and width). ``latency_ms`` is per inference, in and out on the
device. "precision", "batch" and "unit" default to "fp16" ("int8" on the X3), 1 and the board's first.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from benchmarks.predictor.boards import Board, board
from benchmarks.predictor.cost import NetworkCost
from benchmarks.predictor.fit import Fit, HeldOut
from benchmarks.predictor.interval import log_half_width
from benchmarks.predictor.networks import network
from benchmarks.predictor.onnx_cost import cost_of_onnx
from benchmarks.predictor.params import ModelFit, Parameters, read_object
from benchmarks.predictor.table import Job
from runtime.errors import ReidEdgeError

KIND = "reid-edge measured latencies"
SCHEMA_VERSION = 1
_KEYS = {"onnx", "network", "size", "precision", "batch", "unit", "latency_ms"}
_TOP = {"schema_version", "kind", "board", "power_mode", "measurements"}
SPREAD = 0.05
"""How far a good model is off a good measurement: less than off a figure by somebody else."""
ENOUGH_NETWORKS = 4
"""From here on the interval is that of the user's own networks, each predicted from the others."""


@dataclass(frozen=True)
class Measurement:
    """One measured latency; has what ``fit.Fit`` asks of a figure.

    Attributes:
        id, family: What was measured, for people; the network.
        job: What ran.
        measured_ms: Per inference.
    """

    id: str
    family: str
    job: Job
    measured_ms: float
    part: str = ""

    @property
    def condition(self) -> tuple:
        job = self.job
        return (self.family, job.network.input, job.unit, job.precision, job.batch)

    def jobs(self) -> List[Job]:
        return [self.job]


def read_measured(path: Path) -> Tuple[Board, List[Measurement]]:
    """The board and its measurements.

    Raises:
        ReidEdgeError: Another kind or version, an unknown board or mode, a measurement that is not
            usable.
    """
    data = read_object(
        path, KIND, SCHEMA_VERSION, "see the fields in `benchmarks.predictor fit -h`"
    )
    if set(data) - _TOP or not isinstance(data.get("measurements"), list):
        raise ReidEdgeError(
            '%s must have a list "measurements" and no keys but %s.'
            % (path, ", ".join(sorted(_TOP)))
        )
    found = board(str(data.get("board")))
    mode = found.mode(data.get("power_mode"))
    rows = [
        _measurement(Path(path), index, row, found, mode)
        for index, row in enumerate(data["measurements"], 1)
    ]
    if not rows:
        raise ReidEdgeError("%s has no measurements; add at least one." % path)
    return found, rows


def refit(path: Path, published: Parameters) -> Tuple[Parameters, List[HeldOut]]:
    """Parameters of the board in ``path``, starting from the published ones.

    Returns:
        The parameters, and each measurement as predicted without (and with) its network.
    """
    found, rows = read_measured(path)
    known = published.models[found.model]
    fit = Fit(found.model, rows)  # type: ignore[arg-type]
    prior = [parameter._replace(guess=known.values[parameter.name]) for parameter in fit.parameters]
    values = fit.fit(prior=prior, spread=SPREAD)
    fitted = fit.predict(values)
    names = np.array([row.family for row in rows])
    predicted = np.zeros(len(rows))
    for name in sorted(set(names)):
        without = fit.fit(names != name, prior, SPREAD)
        predicted[names == name] = fit.predict(without)[names == name]
    held_out = [
        HeldOut(row, float(p), float(f), float(w))  # type: ignore[arg-type]
        for row, p, f, w in zip(rows, predicted, fitted, fit.weights)
    ]
    networks = sorted(set(names))
    width = known.log_half_width
    if len(networks) >= ENOUGH_NETWORKS:
        width = log_half_width(held_out)
    model = ModelFit(values, width, len(rows), tuple(networks))
    parameters = Parameters(
        figures_sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        fitted_on="%d measurements of %d networks on one %s, and the published figures"
        % (len(rows), len(networks), found.title),
        host_wait_ms=published.host_wait_ms,
        models={found.model: model},
    )
    return parameters, held_out


def _measurement(path: Path, index: int, row: Any, found: Board, mode: str) -> Measurement:
    try:
        if not isinstance(row, dict) or set(row) - _KEYS:
            raise ValueError("it must be an object with no keys but %s" % ", ".join(sorted(_KEYS)))
        unit = str(row.get("unit", found.units[0]))
        precision = str(row.get("precision", "int8" if found.model == "x3" else "fp16"))
        batch, latency_ms = row.get("batch", 1), float(row["latency_ms"])
        if unit not in found.units or precision not in found.precisions:
            raise ValueError("the %s has no unit %r in %r" % (found.title, unit, precision))
        if type(batch) is not int or batch < 1:
            raise ValueError("a batch is a whole number from 1, got %r" % (batch,))
        if not (math.isfinite(latency_ms) and latency_ms > 0):
            raise ValueError("latency_ms must be positive, got %r" % latency_ms)
        cost = _cost(path.parent, row)
    except KeyError as error:
        raise ReidEdgeError("Measurement %d of %s lacks %s." % (index, path, error)) from None
    except (TypeError, ValueError) as error:
        raise ReidEdgeError(
            "Measurement %d of %s is not usable: %s." % (index, path, error)
        ) from None
    job = Job(cost, unit, precision, batch, found.modes[mode])
    name = str(row.get("onnx", cost.name))  # files of several bundles may have the same name
    title = "%s %dx%d %s batch %d" % (name, cost.input.height, cost.input.width, precision, batch)
    return Measurement(title, name, job, latency_ms)


def _cost(folder: Path, row: Mapping[str, Any]) -> NetworkCost:
    if ("onnx" in row) == ("network" in row):
        raise ValueError('it must have either "onnx" or "network"')
    if "onnx" in row:
        return cost_of_onnx(folder / str(row["onnx"]))
    size: Any = row.get("size")
    if size is not None and type(size) is not int:
        height, width = size
        size = (int(height), int(width))
    return network(str(row["network"]), size)


def summary(held_out: Sequence[HeldOut]) -> Dict[str, float]:
    """Mean absolute error with and without the measured network in the fit, in percent."""
    errors = [abs(item.error) for item in held_out]
    fitted = [abs(item.fitted_ms / item.figure.measured_ms - 1) for item in held_out]
    return {
        "left_out_mape_percent": 100 * sum(errors) / len(errors),
        "fitted_mape_percent": 100 * sum(fitted) / len(fitted),
    }
