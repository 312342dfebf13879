"""The export for the X3: checkpoint -> BPU graph -> simulated board, checked at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import AccuracyReport
from benchmarks.datasets import open_retrieval_set
from export.crops import Crops, drawn_crops, load_crops
from export.graph import Graph
from export.judge import check_float, check_reduced, cpu_latency, open_model, run_torch
from export.options import ExportOptions
from export.parity import Parity
from export.pipeline import bundle_name, load
from export.ranges import dead_channels
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import trace
from export.x3.check_report import CPU, UNSUPPORTED, CheckReport
from export.x3.checker import check_model
from export.x3.graph import X3Graph, plain_graph, x3_graph
from export.x3.simulate import Simulation, measure, simulate
from models.checkpoint import LoadedNetwork
from runtime.bundle import check_destination
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess

Progress = Callable[[str, int], Any]
REWRITE_CROPS = 2  # rewrites are measured on these, in float64


@dataclass
class X3Export:
    """All that an export for the X3 has made, before it is written.

    Attributes:
        options: What was asked for.
        loaded: The network it was asked of.
        graph: What hb_mapper is given.
        check: Where each of its nodes runs.
        plain_cpu_nodes: Nodes that a plain export of the same network leaves to the CPU.
        crops: The crops, prepared as ``graph.input`` says.
        simulation: The simulated board.
        parity, accuracy, latency: As in ``export.pipeline.Export``; precisions are "fp32", "int8",
            and in the accuracy "int8_nv12".
        warnings: Sentences the user must see.
    """

    options: ExportOptions
    loaded: LoadedNetwork
    graph: X3Graph
    check: CheckReport
    plain_cpu_nodes: int
    crops: Crops
    simulation: Simulation
    parity: dict[str, Parity] = field(default_factory=dict)
    accuracy: AccuracyReport | None = None
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return bundle_name(self.options, self.loaded)

    @property
    def destination(self) -> Path:
        return self.options.out or Path("bundles") / self.name

    @property
    def calibration_images(self) -> list[np.ndarray]:
        """The BGR crops that are calibrated on."""
        return self.crops.images[len(self.crops.held_out) :]


def export_x3(options: ExportOptions, progress: Progress) -> X3Export:
    """Run every stage and check each against the one before; nothing is written.

    Raises:
        ReidEdgeError: The user's input cannot be used, or the board has no kernel for an operator.
        VerificationError: A stage does not reproduce the one before it.
    """
    loaded = load(options)
    check_destination(options.out or Path("bundles") / bundle_name(options, loaded), options.force)
    _check_input(options, loaded)
    dataset = open_retrieval_set(options.eval) if options.eval else None
    crops = _crops(options, loaded, progress)
    graph = x3_graph(loaded, crops.images[:REWRITE_CROPS], layout=options.x3_layout)
    reference = run_torch(loaded.network, crops.held_out)
    crops = _prepared(crops, loaded, graph)
    check = check_model(graph.model)
    _refuse_unsupported(check)
    parity = {
        "rewritten": check_float(
            "The ONNX graph for the X3",
            reference,
            graph.model,
            graph.model,
            crops.held_out,
            options.threads,
        )
    }
    simulation = simulate(
        graph.model,
        crops.calibration,
        crops.held_out,
        calibration_type=options.calibration_type,
        max_percentile=1.0 if options.max_percentile is None else options.max_percentile,
        threads=options.threads,
        progress=progress,
    )
    result = X3Export(
        options,
        loaded,
        graph,
        check,
        len(check_model(plain_graph(loaded)).on(CPU)),
        crops,
        simulation,
        parity,
    )
    result.parity["int8"] = check_reduced(
        "int8", simulation.model, graph.model, crops.held_out, options.threads
    )
    if dataset is not None:
        result.accuracy = measure(
            simulation, dataset, graph.input, loaded.embedding, options.threads
        )
    models = {"fp32": graph.model, "int8": simulation.model}
    result.latency = cpu_latency(models, crops.held_out[:1], options.threads)
    result.warnings = _warnings(result)
    return result


def _check_input(options: ExportOptions, loaded: LoadedNetwork) -> None:
    """Sizes that the board's image input cannot have."""
    height, width = loaded.input.height, loaded.input.width
    if options.board_input == "nv12" and (height % 2 or width % 16):
        raise ReidEdgeError(
            "NV12 input needs an even height and a width that is a multiple of 16, got %dx%d; pass "
            "another --height and --width (floats with --board-input featuremap run poorly on the board)."
            % (height, width)
        )


def _crops(options: ExportOptions, loaded: LoadedNetwork, progress: Progress) -> Crops:
    if options.calib is None:
        return drawn_crops(loaded.input, options.seed)
    traced = Graph(trace(loaded.for_export(), loaded.input))
    fold_batchnorm(traced)
    name_nodes(traced)
    with open_model(traced.to_model(), options.threads) as fp32:
        return load_crops(
            options.calib,
            loaded.input,
            fp32.run,
            count=options.calib_count,
            select=options.calib_select,
            jitter=options.calib_jitter,
            seed=options.seed,
            progress=progress,
        )


def _prepared(crops: Crops, loaded: LoadedNetwork, graph: X3Graph) -> Crops:
    """The crops for the X3 graph, whose normalization may differ from the checkpoint's."""
    if graph.input == loaded.input:
        return crops
    inputs, count = preprocess(crops.images, graph.input), len(crops.held_out)
    return Crops(inputs[count:], inputs[:count], crops.images, crops.record)


def _refuse_unsupported(check: CheckReport) -> None:
    missing = check.on(UNSUPPORTED)
    if missing or check.problems:
        reasons = [*check.problems, *("%s %s: %s" % (n.op, n.name, n.reason) for n in missing)]
        raise ReidEdgeError(
            "hb_mapper would refuse this network (%s%s); see reid-export --target x3 --check-only on "
            "its ONNX file."
            % (reasons[0], ", and %d more" % (len(reasons) - 1) if reasons[1:] else "")
        )


def _warnings(result: X3Export) -> list[str]:
    options, warnings = result.options, dead_channels(Graph(result.graph.model))
    if options.weights is not None and options.calib is None:
        warnings.append("parity was checked on drawn crops; pass --calib DIR to check real ones.")
    if options.calib is None:
        warnings.append(
            "the calibration data are drawn crops, which show that the tool chain works and no "
            "more; pass --calib DIR before you build for a robot."
        )
    if options.board_input in ("rgb", "bgr"):
        warnings.append(
            "reid-edge's own runtime feeds the board nv12 or featuremap; a model with %s input is "
            "for your own program." % options.board_input
        )
    on_cpu = result.check.on(CPU)
    if on_cpu:
        warnings.append(
            "%d nodes run on the board's CPU (%s), which cuts the graph into %d BPU segments."
            % (len(on_cpu), ", ".join(sorted({n.op for n in on_cpu})), result.check.segments)
        )
    return warnings
