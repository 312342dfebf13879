"""Float graph + calibration table -> quantized graph, each choice made by measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from calibration.table import CalibrationTable
from export.fakequant import FakeQuantizer
from export.graph import Graph
from export.improve import correct_biases, distill
from export.parity import compare
from export.placement import cpu, xavier
from export.placement.base import Placement
from export.qdq import Scale, asymmetric, insert, symmetric
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.errors import ReidEdgeError

POLICIES: dict[str, Callable[..., Placement]] = {"xavier": xavier.place, "cpu": cpu.place}
# entropy-mlperf is left out: on flat histograms its smallest cut always looks perfect.
AUTO_METHODS = ("minmax", "percentile", "entropy", "mse")
BIAS_CROPS = 32


@dataclass
class Quantized:
    """A quantized network and how it came about.

    Attributes:
        model: With Q/DQ pairs.
        placement: What was quantized, and why the rest was not.
        scales: Activation tensor -> scale.
        record: Choices with the figures they were made on, JSON-able.
        tuned: The float graph whose weights were quantized (biases corrected, maybe fine-tuned).
        weight_scale: node name -> per-channel weight scales, or None where the maxima serve.
    """

    model: onnx.ModelProto
    placement: Placement
    scales: dict[str, Scale]
    record: dict[str, Any]
    tuned: Graph
    weight_scale: dict[str, np.ndarray] | None = None


@dataclass
class Quantizer:
    """Quantizes one float graph for one target.

    Attributes:
        graph: The float graph, rewritten and named.
        target: "xavier" or "cpu".
        table: Calibration table with every tensor of the placement.
        calibration: (N, 3, H, W) float32, the crops that may be learned from.
        held_out: (M, 3, H, W) float32, other training crops: every choice is judged on these.
        threads: CPU threads of the judging runs.
        progress: Called as ``progress(label, total)`` for a progress bar.
        keep_float: Names of nodes that stay in float in every network it makes.
    """

    graph: Graph
    target: str
    table: CalibrationTable
    calibration: np.ndarray
    held_out: np.ndarray
    threads: int | None = None
    progress: Callable[[str, int], Any] | None = None
    keep_float: frozenset[str] = frozenset()
    _reference: np.ndarray = field(init=False)

    def __post_init__(self):
        self._reference = self._embed(self.graph.to_model())

    def run(self, method: str = "auto", improve: str = "auto") -> Quantized:
        """Choose ranges, quantize and improve.

        Args:
            method: A calibration method, or "auto": the one with the best mean cosine on the
                held-out crops.
            improve: "none", "bias", "distill" (after the biases), or "auto": biases, kept only if the
                held-out crops get closer.
        """
        placement = self.place()
        if not placement.weights:
            raise ReidEdgeError(
                "No layer of this network can run in INT8; export it with --precision fp32 or fp16."
            )
        best, tried = None, {}
        for name in AUTO_METHODS if method == "auto" else (method,):
            candidate = self._plain(placement, name)
            tried[name] = candidate.record["held_out_cosine"]
            if best is None or tried[name] > best.record["held_out_cosine"]:
                best = candidate
        assert best is not None
        best.record["methods_tried"] = tried
        for step, wanted in (("bias", improve != "none"), ("distill", improve == "distill")):
            if not wanted:
                continue
            candidate = self._improved(best, step)
            gain = candidate.record["held_out_cosine"] - best.record["held_out_cosine"]
            kept = gain > 0 or improve == step
            steps = best.record["improvements"] + [
                {"step": step, "held_out_cosine": candidate.record["held_out_cosine"], "kept": kept}
            ]
            best = candidate if kept else best
            best.record["improvements"] = steps
        return best

    def place(self, keep_float: frozenset[str] = frozenset()) -> Placement:
        """The target's placement with these nodes in float as well."""
        return POLICIES[self.target](self.graph, self.keep_float | keep_float)

    def without(self, keep_float: frozenset[str], like: Quantized) -> Quantized:
        """Quantize again with more layers in float, keeping ``like``'s method, weights and scales."""
        placement = self.place(keep_float)
        scales = {
            t: like.scales.get(t) or self._scale(t, like.record["method"])
            for t in placement.tensors
        }
        weight_scale = like.weight_scale and {n: like.weight_scale[n] for n in placement.weights}
        return self._built(like.tuned, placement, scales, weight_scale, dict(like.record))

    # -- parts -----------------------------------------------------------------------------------

    def _scale(self, tensor: str, method: str) -> Scale:
        found = self.table.tensors[tensor].losses[method]
        return (
            symmetric(found.amax) if self.target == "xavier" else asymmetric(found.low, found.high)
        )

    def _plain(self, placement: Placement, method: str) -> Quantized:
        scales = {t: self._scale(t, method) for t in placement.tensors}
        return self._built(
            self.graph, placement, scales, None, {"method": method, "improvements": []}
        )

    def _improved(self, base: Quantized, step: str) -> Quantized:
        tuned = base.tuned.copy()
        fake = FakeQuantizer(tuned, base.placement, base.scales)
        if step == "bias":
            correct_biases(fake, self.graph, self.calibration[:BIAS_CROPS])
            weight_scale = base.weight_scale
        else:
            steps = 60
            bar = self.progress("distilling", steps) if self.progress else None
            distill(
                fake,
                self.graph,
                self.calibration,
                steps=steps,
                progress=bar.update if bar else None,
            )
            if bar:
                bar.close()
            weight_scale = fake.weight_scale()
        fake.executor.write_back(tuned)
        return self._built(tuned, base.placement, fake.scales(), weight_scale, dict(base.record))

    def _built(self, tuned, placement, scales, weight_scale, record) -> Quantized:
        model = insert(
            tuned, placement, scales, weight_scale=weight_scale, store_int8=self.target == "cpu"
        )
        parity = compare(self._reference, self._embed(model))
        record["held_out_cosine"] = parity.cosine_mean
        return Quantized(model, placement, scales, record, tuned, weight_scale)

    def _embed(self, model: onnx.ModelProto) -> np.ndarray:
        with OnnxRuntimeBackend(model.SerializeToString(), threads=self.threads) as backend:
            return np.concatenate(
                [backend.run(self.held_out[i : i + 16]) for i in range(0, len(self.held_out), 16)]
            )
