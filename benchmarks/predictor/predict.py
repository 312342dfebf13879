"""Predict the latency of a network on a board: predicted, not measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.predictor import boards
from benchmarks.predictor.boards import Board
from benchmarks.predictor.cost import NetworkCost
from benchmarks.predictor.interval import bounds
from benchmarks.predictor.params import FILE, Parameters, load_parameters
from benchmarks.predictor.table import Job
from benchmarks.predictor.x3 import X3Model, runs_on_cpu
from benchmarks.predictor.xavier import XavierModel, fallbacks
from runtime.errors import ReidEdgeError

LABEL = "predicted, not measured"
UNSEEN = 1.5
"""How much wider the interval is for each way in which no published figure resembles the case."""

MANY_MOVES = 10
"""Layers of an X3 network that only move data; published ones have one at most."""


@dataclass(frozen=True)
class Prediction:
    """A predicted latency of one inference of ``batch`` images, inputs and outputs on the device.

    Attributes:
        network, board, power_mode, precision, batch, unit: What was predicted.
        latency_ms: The prediction, in milliseconds per inference.
        low_ms, high_ms: Ends of its 90 % interval.
        terms: Name to milliseconds; they add up to ``latency_ms``.
        note: "predicted, not measured", what it rests on, and what to know.
    """

    network: str
    board: str
    power_mode: str
    precision: str
    batch: int
    unit: str
    latency_ms: float
    low_ms: float
    high_ms: float
    terms: Dict[str, float]
    note: str

    def record(self) -> Dict[str, Any]:
        """As a JSON object; units are in the names."""
        return {"label": LABEL, **asdict(self)}


def predict(
    model: NetworkCost,
    board: str,
    precision: str,
    batch: int = 1,
    power_mode: Optional[str] = None,
    unit: Optional[str] = None,
    parameters: Optional[Parameters] = None,
) -> Prediction:
    """Predict how long one inference takes.

    On a Xavier this is plain TensorRT without a CUDA graph, called back to back; on the X3 one BPU core
    and one thread, with the outputs converted to float.

    Args:
        model: The network.
        board: "xavier-agx", "xavier-nx" or "x3".
        precision: "fp32", "fp16" or "int8"; the X3 computes int8.
        batch: Images per inference.
        power_mode: As ``nvpmodel -q`` prints it; default: the board's.
        unit: "gpu", "dla" or "bpu"; default: the board's first.
        parameters: Default: those fitted on the published figures.

    Raises:
        ReidEdgeError: Unknown board, power mode, unit or precision, or a batch below 1.
    """
    found = boards.board(board)
    unit = unit or found.units[0]
    _check(found, unit, precision, batch)
    mode = found.mode(power_mode)
    fitted = parameters or published_parameters()
    if found.model not in fitted.models:
        raise ReidEdgeError(
            "The parameters fitted on %s do not cover the %s; fit them on measurements of that board."
            % (fitted.fitted_on, found.title)
        )
    fit = fitted.models[found.model]
    job = Job(model, unit, precision, batch, found.modes[mode])
    make = XavierModel if found.model == "xavier" else X3Model
    terms = {name: float(ms[0]) for name, ms in make([job]).terms(fit.values).items()}
    latency_ms = sum(terms.values())
    unseen = _unseen(job)
    low, high = bounds(latency_ms, fit.log_half_width * UNSEEN ** len(unseen))
    return Prediction(
        network=model.name,
        board=found.name,
        power_mode=mode,
        precision=precision,
        batch=batch,
        unit=unit,
        latency_ms=latency_ms,
        low_ms=low,
        high_ms=high,
        terms={name: ms for name, ms in terms.items() if ms > 0},
        note=_note(found, job, fitted, unseen),
    )


@lru_cache(maxsize=None)
def published_parameters(path: Path = FILE) -> Parameters:
    """The parameters fitted on the published figures."""
    return load_parameters(path)


def _check(found: Board, unit: str, precision: str, batch: int) -> None:
    if unit not in found.units:
        raise ReidEdgeError(
            "The %s runs networks on %s, got unit %r."
            % (found.title, " or ".join(found.units), unit)
        )
    if precision not in found.precisions or (unit == "dla" and precision == "fp32"):
        usable = [p for p in found.precisions if not (unit == "dla" and p == "fp32")]
        raise ReidEdgeError(
            "The %s of the %s computes %s, got precision %r."
            % (unit.upper(), found.title, ", ".join(usable), precision)
        )
    if type(batch) is not int or batch < 1:
        raise ReidEdgeError("A batch must be a whole number from 1, got %r." % (batch,))


def _unseen(job: Job) -> List[str]:
    """In which ways no published figure is like this case."""
    reasons = []
    kernels = job.network.kernels
    if job.precision == "fp32":
        reasons.append("no published figure is in fp32")
    if job.unit == "dla":
        reasons.append("only one published figure is of a DLA alone, ResNet-50 in int8 at batch 32")
        if fallbacks(job):
            reasons.append("%d layers fall back from the DLA to the GPU" % fallbacks(job))
    if any(kernel.op == "matmul" for kernel in kernels):
        reasons.append("no published figure has products of two activations")
    if job.unit == "bpu":
        if job.batch > 1:
            reasons.append("all published figures of the X3 are at batch 1")
        moves = sum(kernel.op == "copy" and not runs_on_cpu(kernel) for kernel in kernels)
        if moves > MANY_MOVES:
            reasons.append("%d layers only move data, more than in any published figure" % moves)
        if any(kernel.macs and runs_on_cpu(kernel) for kernel in kernels):
            reasons.append("it has products that the BPU cannot compute")
    return reasons


def _note(found: Board, job: Job, fitted: Parameters, unseen: List[str]) -> str:
    parts = ["%s: analytical model fitted on %s" % (LABEL, fitted.fitted_on)]
    if job.unit == "gpu":
        parts.append("waiting for each result from Python adds about %.2f ms" % fitted.host_wait_ms)
    if job.unit == "bpu":
        left = [kernel for kernel in job.network.kernels if runs_on_cpu(kernel)]
        if left:
            names = sorted(
                {kernel.functions[0] if kernel.functions else kernel.op for kernel in left}
            )
            parts.append("%d layers run on the CPU (%s)" % (len(left), ", ".join(names)))
        if job.network.quantized:
            parts.append("the X3's toolchain does not import Q/DQ: predict the float model")
    if unseen:
        parts.append("wider interval: " + "; ".join(unseen))
    return ". ".join(parts) + "."
