"""What the X3 will compute: the network as int8 Q/DQ, and what that and NV12 cost in accuracy.

The toolchain quantizes by itself and takes float ONNX, so this model is not what it is given. It is
what it is expected to make of it: the rules of export/placement/x3.py with thresholds chosen as in
export/x3/thresholds.py. Nothing is corrected or tuned that the toolchain would not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from benchmarks.accuracy import AccuracyReport, measure_accuracy
from benchmarks.datasets import RetrievalSet
from export.judge import open_model, run_onnx
from export.parity import compare
from export.placement import x3
from export.placement.x3 import X3Placement
from export.qdq import insert
from export.x3.check_report import BPU, UNSUPPORTED
from export.x3.checker import check_model
from export.x3.opset13 import FLATTEN, to_opset13
from export.x3.thresholds import Calibrator, Thresholds, check_calibration_type
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.nv12 import through_nv12
from runtime.preprocess import resize_crop


@dataclass(frozen=True)
class Simulation:
    """The simulated board and how it came about.

    Attributes:
        model: int8 with Q/DQ pairs, opset 13, (N, 3, H, W) float32 to (N, D) float32, N as in the
            network given.
        float_model: The same graph without rounding.
        placement: What is rounded; ``skipped`` names the convolutions on the CPU.
        thresholds: The scales, and how they were chosen.
        record: JSON-able: ``calibration_type``, ``methods`` (tensors per method),
            ``first_crop_cosines`` (of the methods compared, else empty), ``held_out_cosine`` and
            ``held_out_cosine_min`` against float, ``rounded_tensors``, ``cpu_nodes`` and
            ``constant_tensors`` (zero on every crop, so that any scale fits).
    """

    model: onnx.ModelProto
    float_model: onnx.ModelProto
    placement: X3Placement
    thresholds: Thresholds
    record: dict[str, Any]


def simulate(
    model: onnx.ModelProto,
    calibration: np.ndarray,
    held_out: np.ndarray,
    *,
    calibration_type: str = "default",
    max_percentile: float = 1.0,
    cpu_nodes: frozenset[str] | None = None,
    threads: int | None = None,
    progress: Callable[[str, int], Any] | None = None,
) -> Simulation:
    """Quantize a network as hb_mapper is expected to for the X3.

    Args:
        model: The float network hb_mapper is given, nodes named, output (1, D, 1, 1) or (N, D).
        calibration: (N, 3, H, W) float32, the preprocessed calibration crops, in file order: the
            first decides where calibration type ``default`` compares.
        held_out: (M, 3, H, W) float32, other crops; only measured on.
        calibration_type: "default", "mix", "kl" or "max", as in the toolchain's YAML.
        max_percentile: The YAML's, for type "max".
        cpu_nodes: Names of the nodes that run on the CPU; by default as the operator checker says.
        threads: CPU threads.
        progress: Called as ``progress(label, total)`` for a progress bar.

    Raises:
        ReidEdgeError: Unknown calibration type or percentile, a CPU node that is not in the network,
            an operator without a kernel, no convolution on the BPU, or a network that cannot be
            converted or run.
    """
    check_calibration_type(calibration_type, max_percentile)
    if cpu_nodes is None:
        cpu_nodes = _nodes_on_cpu(model)
    graph = to_opset13(model)
    unknown = sorted(cpu_nodes - {n.name for n in graph.nodes})
    if unknown:
        raise ReidEdgeError(
            "The network has no node %s (and %d more) to run on the CPU; check the same file that "
            "is simulated." % (unknown[0], len(unknown) - 1)
        )
    placement = x3.place(graph, cpu_nodes | {FLATTEN})
    if not placement.weights:
        raise ReidEdgeError(
            "No convolution of this network runs on the BPU, and hb_mapper takes none without; "
            "see the report of --check-only."
        )
    float_model = graph.to_model()
    calibrator = Calibrator(graph, placement, calibration, threads, progress)
    thresholds = calibrator.run(calibration_type, max_percentile)
    quantized = insert(graph, placement, thresholds.scales, store_int8=True)
    onnx.checker.check_model(quantized, full_check=True)
    parity = compare(
        run_onnx(float_model, held_out, threads),
        run_onnx(quantized, held_out, threads, optimize=False),
    )
    record = {
        "calibration_type": calibration_type,
        "max_percentile": max_percentile,
        "methods": dict(Counter(thresholds.methods.values())),
        "first_crop_cosines": dict(thresholds.cosines),
        "held_out_cosine": parity.cosine_mean,
        "held_out_cosine_min": parity.cosine_min,
        "rounded_tensors": len(thresholds.scales),
        "cpu_nodes": sorted(cpu_nodes),
        "constant_tensors": thresholds.table.dead,
    }
    return Simulation(quantized, float_model, placement, thresholds, record)


def measure(
    simulation: Simulation,
    dataset: RetrievalSet,
    contract: InputContract,
    embedding: EmbeddingContract,
    threads: int | None = None,
) -> AccuracyReport:
    """Accuracy of float, of the simulated board, and of the simulated board fed with NV12.

    One pass: every image is decoded once. The results are named "fp32", "int8" and "int8_nv12".
    The int8 model runs as it is written, so that the figures do not hang on the integer kernels of
    the CPU they are measured on.

    Raises:
        ReidEdgeError: As measure_accuracy; with an odd input size, which NV12 does not have.
    """
    board = open_model(simulation.model, threads, optimize=False).run
    runners = {"fp32": open_model(simulation.float_model, threads).run}
    runners.update(int8=board, int8_nv12=board)
    seen = {"int8_nv12": seen_by_board(contract)}
    return measure_accuracy(runners, dataset, contract, embedding, transforms=seen)


def seen_by_board(contract: InputContract) -> Callable[[np.ndarray], np.ndarray]:
    """A function from BGR crops of any size to what the board's network sees of them.

    That is the crop at the network's size, after the way through NV12.
    """
    bgr = contract.with_(color="BGR")
    return lambda crop: through_nv12(resize_crop(crop, bgr))


def _nodes_on_cpu(model: onnx.ModelProto) -> frozenset[str]:
    """Nodes that compute in float, or nothing at all because they are folded."""
    report = check_model(model)
    unsupported = report.on(UNSUPPORTED)
    if unsupported:
        raise ReidEdgeError(
            "%s %s (and %d more) has no kernel on the X3: %s; change the network, see --check-only."
            % (unsupported[0].op, unsupported[0].name, len(unsupported) - 1, unsupported[0].reason)
        )
    return frozenset(n.name for n in report.nodes if n.on != BPU)
