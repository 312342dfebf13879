"""The activation thresholds that hb_mapper's calibration types choose, re-made.

What the manual says (ptq_process.md of HorizonRDK/rdk_x3_doc), and our reading of it:

| type | the manual | here |
|---|---|---|
| ``max`` | public max calibration; ``max_percentile`` moves the cut | largest magnitude, or that quantile of the magnitudes, over all crops (per crop or over all is not said) |
| ``kl`` | public KL calibration; logs print ``num_bins=1024`` | entropy calibration of pytorch-quantization, 1024 to 2048 bins up to the largest magnitude; ``max`` for tensors of fewer than KL_LEAST_VALUES values, whose histogram is too thin for a divergence |
| ``default`` | the best of max, max-percentile 0.99995 and KL, by the cosine of the output on the first calibration sample | the same |
| ``mix`` | finds sensitive nodes and picks the best method for each | each tensor rounded alone, first MIX_CROPS crops: the method with the best cosine of the output; where all agree, the winner of ``default`` |

The toolchain's own code is not public, so its choice can differ where two methods are close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from calibration.collect import collect_ranges
from calibration.histogram import DEFAULT_BINS
from calibration.methods import TensorRange
from calibration.table import CalibrationTable
from export.graph import Graph
from export.parity import compare
from export.placement.base import Placement, output_axis
from export.placement.x3 import X3Placement
from export.qdq import Scale, insert, symmetric, weight_scales
from export.ranges import model_sha256
from runtime.backends.onnxruntime import make_session
from runtime.errors import ReidEdgeError

CALIBRATION_TYPES = ("default", "mix", "kl", "max")
# The toolchain's methods and what they are called in calibration/methods.py.
METHODS = {"max": "minmax", "max-percentile": "percentile", "kl": "entropy"}
DEFAULT_PERCENTILE = 0.99995  # of the candidate max-percentile
KL_LEAST_VALUES = 16 * DEFAULT_BINS
MIX_CROPS = 8
MIX_TIE = 1e-6  # cosines closer than this differ by float rounding


@dataclass(frozen=True)
class Thresholds:
    """The outcome of a calibration.

    Attributes:
        scales: Rounded tensor -> scale.
        methods: Calibrated tensor -> the method of METHODS it got.
        cosines: Method -> cosine of the output on the first calibration crop, of the methods that
            were compared on the whole network.
        table: Calibration table of the calibrated tensors.
    """

    scales: dict[str, Scale]
    methods: dict[str, str]
    cosines: dict[str, float]
    table: CalibrationTable


def check_calibration_type(calibration_type: str, max_percentile: float) -> None:
    """Raise ReidEdgeError unless both can be simulated."""
    if calibration_type not in CALIBRATION_TYPES:
        raise ReidEdgeError(
            "The X3's calibration type must be one of %s, got %r."
            % (", ".join(CALIBRATION_TYPES), calibration_type)
        )
    if not 0.5 < max_percentile <= 1.0:
        raise ReidEdgeError(
            "max_percentile must be above 0.5 and at most 1, got %s." % max_percentile
        )
    if max_percentile < 1.0 and calibration_type != "max":
        raise ReidEdgeError(
            "max_percentile belongs to calibration type max, not to %s." % calibration_type
        )


def threshold(tensor: TensorRange, method: str) -> float:
    """The largest magnitude one of METHODS keeps of a tensor."""
    if method == "kl" and tensor.count < KL_LEAST_VALUES:
        method = "max"
    return tensor.losses[METHODS[method]].amax


@dataclass(frozen=True)
class Calibrator:
    """Calibrates one network as the toolchain would.

    Attributes:
        graph: The float graph.
        placement: Where it is rounded, from export.placement.x3.
        crops: (N, 3, H, W) float32, the calibration crops in the order of their files.
        threads: CPU threads.
        progress: Called as ``progress(label, total)`` for a progress bar.
    """

    graph: Graph
    placement: X3Placement
    crops: np.ndarray
    threads: int | None = None
    progress: Callable[[str, int], Any] | None = None

    def run(self, calibration_type: str, max_percentile: float = 1.0) -> Thresholds:
        """Choose every threshold; see the table above.

        Raises:
            ReidEdgeError: Unknown type, a percentile it does not take, or crops that do not fit.
        """
        check_calibration_type(calibration_type, max_percentile)
        table = self._collect(max_percentile if calibration_type == "max" else DEFAULT_PERCENTILE)
        cosines: dict[str, float] = {}
        if calibration_type in ("max", "kl"):
            method = "max-percentile" if max_percentile < 1.0 else calibration_type
        else:
            cosines = self._compare_methods(table)
            method = max(cosines, key=lambda name: cosines[name])
        methods = dict.fromkeys(table.tensors, method)
        if calibration_type == "mix":
            methods = self._mixed(table, methods)
        return Thresholds(self.scales(table, methods), methods, cosines, table)

    def scales(self, table: CalibrationTable, methods: Mapping[str, str]) -> dict[str, Scale]:
        """Scale of every rounded tensor with these methods of METHODS."""
        scales = {}
        for tensor, owner in self.placement.owners.items():
            value = self.graph.constant(owner)
            if value is not None:  # a constant's range is in its values
                scales[tensor] = symmetric(np.abs(value).max())
            else:
                scales[tensor] = symmetric(threshold(table.tensors[owner], methods[owner]))
        return scales

    def _collect(self, percentile: float) -> CalibrationTable:
        owners = self.placement.owners.values()
        tensors = [t for t in dict.fromkeys(owners) if self.graph.constant(t) is None]
        model = self.graph.to_model()
        with self._bar("collecting ranges", len(self.crops)) as update:
            histograms = collect_ranges(
                model, tensors, [self.crops], threads=self.threads, progress=update
            )
        return CalibrationTable.from_histograms(
            histograms.values(), "minmax", model_sha256(model), percentile=100.0 * percentile
        )

    def _compare_methods(self, table: CalibrationTable) -> dict[str, float]:
        first = self.crops[:1]
        reference = OpenScales(self.graph, {}, self.threads).run(first, {})
        rounded = _with_rounded_weights(self.graph, self.placement)
        network = OpenScales(rounded, self.placement.reads, self.threads)
        cosines = {}
        for name in METHODS:
            scales = self.scales(table, dict.fromkeys(table.tensors, name))
            cosines[name] = compare(reference, network.run(first, scales)).cosine_mean
        return cosines

    def _mixed(self, table: CalibrationTable, base: dict[str, str]) -> dict[str, str]:
        crops = self.crops[:MIX_CROPS]
        reference = OpenScales(self.graph, {}, self.threads).run(crops, {})
        mixed = dict(base)
        with self._bar("mixing methods", len(base)) as update:
            for tensor in base:
                reads = {
                    t: nodes
                    for t, nodes in self.placement.reads.items()
                    if self.placement.owners[t] == tensor
                }
                network = OpenScales(self.graph, reads, self.threads)
                cosines = {}
                for name in METHODS:
                    scales = self.scales(table, {**base, tensor: name})
                    cosines[name] = compare(reference, network.run(crops, scales)).cosine_mean
                best = max(cosines, key=lambda name: cosines[name])
                if cosines[best] > cosines[base[tensor]] + MIX_TIE:
                    mixed[tensor] = best
                update(1)
        return mixed

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator[Callable[[int], object]]:
        bar = self.progress(label, total) if self.progress else None
        yield bar.update if bar else lambda done: None
        if bar:
            bar.close()


class OpenScales:
    """A network with some reads rounded, in one session in which every scale is an input.

    Args:
        graph: The float graph.
        reads: Tensor -> the nodes that read it rounded, as in Placement.
        threads: CPU threads.
    """

    def __init__(self, graph: Graph, reads: dict[str, set[str]], threads: int | None):
        model = insert(graph, Placement(reads), {t: Scale(1.0) for t in reads})
        nodes = {n.name: n for n in model.graph.node}
        self._input = {t: nodes[t + "_QuantizeLinear"].input[1] for t in reads}
        # An initializer that is an input too may be given another value with every run.
        model.graph.input.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
            for name in self._input.values()
        )
        self._session = make_session(model.SerializeToString(), threads)
        self._images = graph.input_name
        self._fixed = isinstance(self._session.get_inputs()[0].shape[0], int)

    def run(self, images: np.ndarray, scales: Mapping[str, Scale]) -> np.ndarray:
        """(N, D) output for (N, 3, H, W) images; ``scales`` may hold more tensors than it needs."""
        feed = {name: np.array(scales[t].scale, np.float32) for t, name in self._input.items()}
        step = 1 if self._fixed else len(images)
        return np.concatenate(
            [
                self._session.run(None, {self._images: images[i : i + step], **feed})[0]
                for i in range(0, len(images), step)
            ]
        )


def _with_rounded_weights(graph: Graph, placement: Placement) -> Graph:
    """The graph with the weights it will have on the BPU, as floats."""
    rounded = graph.copy()
    for node in rounded.nodes:
        if node.name in placement.weights:
            weight, axis = rounded.initializers[node.input[1]], output_axis(node)
            shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
            step = weight_scales(weight, axis).reshape(shape)
            node.input[1] = rounded.add_constant(
                node.name + "_rounded", (np.rint(weight / step) * step).astype(np.float32)
            )
    return rounded
