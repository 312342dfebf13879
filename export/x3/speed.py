"""How fast a network will be on the X3, predicted from published figures of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.predictor.onnx_cost import cost_of_onnx
from benchmarks.predictor.predict import predict
from runtime.errors import ReidEdgeError


def predicted_speed(path: Path) -> dict[str, Any]:
    """The record of ``benchmarks.predictor.predict`` for one image on one BPU core.

    Returns:
        JSON-able; where the predictor does not know an operator, ``{"error": sentence}``.
    """
    try:
        return predict(cost_of_onnx(path), "x3", "int8").record()
    except ReidEdgeError as error:
        return {"error": str(error)}


def speed_text(record: dict[str, Any]) -> str:
    """One line of it."""
    if "error" in record:
        return "Latency not predicted: %s" % record["error"]
    return "Latency on one BPU core: %.1f ms per image, 90 %% interval %.1f to %.1f (%s)." % (
        record["latency_ms"],
        record["low_ms"],
        record["high_ms"],
        record["label"],
    )
