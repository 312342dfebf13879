"""The export itself: checkpoint -> verified ONNX -> calibrated INT8 or FP16, checked at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.accuracy import AccuracyReport
from benchmarks.datasets import open_retrieval_set
from calibration.collect import collect_ranges
from calibration.table import CalibrationTable
from export.crops import Crops, drawn_crops, load_crops
from export.equalize import equalize
from export.fastest import fastest_placement
from export.fp16 import overflow_risk, to_fp16
from export.graph import Graph
from export.judge import Judge, check_float, check_reduced, cpu_latency, open_model, run_torch
from export.legality import check_tensorrt
from export.options import ExportOptions
from export.parity import Parity
from export.quantize import Quantized, Quantizer
from export.ranges import dead_channels, model_sha256, refuse_dead, tensors_to_calibrate
from export.rewrites import fold_batchnorm, name_nodes
from export.search import Search, search
from export.stored_placement import stored_placement
from export.trace import trace
from models.checkpoint import LoadedNetwork, load_network
from models.zoo import default_calibration_table, default_network
from runtime.bundle import check_destination
from runtime.errors import ReidEdgeError

Progress = Callable[[str, int], Any]
"""``progress(label, total)`` returns a bar with ``update(n)`` and ``close()``."""

EQUALIZE_CROPS = 32
CHECK_CROPS = 24  # crops read when nothing is calibrated, for parity alone


@dataclass
class Export:
    """All that an export has made, before it is written.

    Attributes:
        options: What was asked for.
        loaded: The network it was asked of.
        precision: "fp32", "fp16" or "int8".
        graph: The rewritten float graph.
        crops: The crops used.
        models: precision -> ONNX model; "fp32" is always there.
        table: Calibration table, or None.
        quantized: How INT8 came about, or None.
        searched: Outcome of ``--precision auto``, or None.
        parity: stage -> measurement.
        accuracy: The evaluation, or None.
        latency: precision -> CPU latency figures, batch 1.
        warnings: Sentences the user must see.
    """

    options: ExportOptions
    loaded: LoadedNetwork
    precision: str
    graph: Graph
    crops: Crops
    models: dict[str, onnx.ModelProto] = field(default_factory=dict)
    table: CalibrationTable | None = None
    quantized: Quantized | None = None
    searched: Search | None = None
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
    def stored_ranges(self) -> Path | None:
        """The calibration table that serves, where nothing is calibrated.

        The one given, or the default network's own where neither checkpoint nor crops are given.
        """
        options = self.options
        given = options.weights is not None or options.calib is not None
        return options.ranges or (None if given else default_calibration_table())


def bundle_name(options: ExportOptions, loaded: LoadedNetwork) -> str:
    stem = options.weights.stem if options.weights else loaded.arch
    return "%s_%s" % (stem, options.target)


def export(options: ExportOptions, progress: Progress) -> Export:
    """Run every stage and check each against the one before; nothing is written.

    Raises:
        ReidEdgeError: The user's input cannot be used.
        VerificationError: A stage does not reproduce the one before it.
    """
    loaded = load(options)
    check_destination(options.out or Path("bundles") / bundle_name(options, loaded), options.force)
    # Opened first, so that a wrong folder fails before the long work.
    dataset = open_retrieval_set(options.eval) if options.eval else None
    if options.threads:
        torch.set_num_threads(options.threads)
    result = _float_stage(options, loaded, progress)
    fp32 = result.models["fp32"]
    judge = (
        Judge(dataset, loaded.input, loaded.embedding, fp32, options.threads) if dataset else None
    )
    if result.precision == "fp16":
        result.models["fp16"] = to_fp16(result.graph)
    elif result.precision == "int8":
        _int8_stage(result, judge, progress)
    if result.precision != "fp32":
        model = result.models[result.precision]
        result.parity[result.precision] = check_reduced(
            result.precision, model, fp32, result.crops.held_out, options.threads
        )
    if judge is not None and result.accuracy is None:
        result.accuracy = judge.measure({k: m for k, m in result.models.items() if k != "fp32"})
    result.latency = cpu_latency(result.models, result.crops.held_out[:1], options.threads)
    if options.weights is not None and options.calib is None:
        result.warnings.append(
            "parity was checked on drawn crops; pass --calib DIR to check it on real ones."
        )
    _warn_if_slow(result)
    return result


def load(options: ExportOptions) -> LoadedNetwork:
    """The network the options name, with the contract's fields they override."""
    if options.weights is None:
        if options.arch:
            raise ReidEdgeError(
                "--arch names the family of a checkpoint; pass it with --weights FILE."
            )
        loaded = default_network()
    else:
        loaded = load_network(
            options.weights,
            arch=options.arch,
            allow_pickle=options.allow_pickle,
            height=options.height,
            width=options.width,
            feature=options.feature,
            last_stride=options.last_stride,
            stem_relu=options.stem_relu,
            pool=options.pool,
            gem_p=options.gem_p,
            rga_form=options.rga_form,
        )
    names = ("color", "resize", "mean", "std")
    changes = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    return replace(loaded, input=loaded.input.with_(**changes)) if changes else loaded


# -- stages --------------------------------------------------------------------------------------


def _float_stage(options: ExportOptions, loaded: LoadedNetwork, progress: Progress) -> Export:
    """Trace, rewrite and verify the float network, on the crops all later checks use."""
    traced = trace(loaded.for_export(), loaded.input)
    graph = Graph(traced)
    fold_batchnorm(graph)
    name_nodes(graph)
    model = graph.to_model()
    onnx.checker.check_model(model, full_check=True)
    if options.target == "xavier":
        check_tensorrt(model)
    crops = _crops(options, loaded, model, progress)
    precision = "int8" if options.quantizes else options.precision
    result = Export(options, loaded, precision, graph, crops, {"fp32": model})
    reference = run_torch(loaded.network, crops.held_out)
    if not np.isfinite(reference).all():
        raise ReidEdgeError(
            "The network returns NaN or infinity on real crops; check the checkpoint."
        )
    stages = {"traced": traced, "rewritten": model}
    if (
        precision == "int8"
        and result.stored_ranges is None
        and equalize(graph, crops.calibration[:EQUALIZE_CROPS])
    ):
        stages["equalized"] = result.models["fp32"] = graph.to_model()
    for stage, candidate in stages.items():
        result.parity[stage] = check_float(
            "The %s ONNX graph" % stage,
            reference,
            candidate,
            traced,
            crops.held_out,
            options.threads,
        )
    return result


def _crops(
    options: ExportOptions, loaded: LoadedNetwork, model: onnx.ModelProto, progress: Progress
) -> Crops:
    if options.calib is None:
        return drawn_crops(loaded.input, options.seed)
    calibrates = options.quantizes and options.ranges is None
    with open_model(model, options.threads) as fp32:
        return load_crops(
            options.calib,
            loaded.input,
            fp32.run,
            count=options.calib_count if calibrates else CHECK_CROPS,
            select=options.calib_select if calibrates else "identity",
            jitter=options.calib_jitter,
            seed=options.seed,
            progress=progress,
        )


def _calibrate(result: Export, progress: Progress) -> CalibrationTable:
    """Collect the ranges of every tensor that any target may quantize."""
    options, crops, fp32 = result.options, result.crops, result.models["fp32"]
    bar = progress("collecting ranges", len(crops.calibration))
    histograms = collect_ranges(
        fp32,
        tensors_to_calibrate(result.graph),
        [crops.calibration],
        threads=options.threads,
        progress=bar.update,
    )
    bar.close()
    method = "percentile" if options.calib_method == "auto" else options.calib_method
    return CalibrationTable.from_histograms(
        histograms.values(), method, model_sha256(fp32), crops.record
    )


def _stored_table(result: Export) -> CalibrationTable | None:
    """The table of ``stored_ranges``, checked to be of this network."""
    path = result.stored_ranges
    if path is None:
        return None
    table = CalibrationTable.load(path)
    missing = sorted(set(tensors_to_calibrate(result.graph)) - set(table.tensors))
    if missing:
        raise ReidEdgeError(
            "The calibration table %s lacks %s (and %d more) of this network; pass the table made "
            "with these weights, or --calib DIR." % (path.name, missing[0], len(missing) - 1)
        )
    learned_for = (table.selection or {}).get("target", result.options.target)
    if learned_for != result.options.target:
        result.warnings.append(
            "the ranges of %s were learned for target %s; for %s they are what calibration finds."
            % (path.name, learned_for, result.options.target)
        )
    sha256 = model_sha256(result.models["fp32"])
    if result.options.ranges is None:
        # The default weights were checked by their own hash; folding them rounds differently from
        # machine to machine, so the graph's hash cannot be that of the day they were published.
        return replace(table, network_sha256=sha256)
    if table.network_sha256 != sha256:
        result.warnings.append(
            "the ranges of %s were found on another float network: other weights or options, or "
            "other versions of the tools." % path.name
        )
    return table


def _int8_stage(result: Export, judge: Judge | None, progress: Progress) -> None:
    options, graph, crops = result.options, result.graph, result.crops
    stored = _stored_table(result)
    table = stored or _calibrate(result, progress)
    refuse_dead(graph, table)
    result.warnings += dead_channels(graph)
    for name, amax in overflow_risk(
        {n: t.losses["minmax"].amax for n, t in table.tensors.items()}
    ).items():
        result.warnings.append(
            "%s reaches %.3g, close to the largest FP16 number 65504." % (name, amax)
        )
    keep_float: frozenset[str] = frozenset()
    placements_ms: dict[str, float] = {}
    trained = stored_placement(stored, options.target, graph)
    if trained is not None:
        keep_float = trained
    elif options.target == "cpu":
        keep_float, placements_ms = fastest_placement(
            graph, table, crops.held_out[:1], options.threads
        )
    quantizer = Quantizer(
        graph,
        options.target,
        table,
        crops.calibration,
        crops.held_out,
        options.threads,
        progress,
        keep_float,
    )
    if stored is None:
        quantized = quantizer.run(options.calib_method, options.improve)
    else:  # the ranges belong to the weights as they are: nothing is chosen or tuned here
        quantized = quantizer.run(stored.method, "none")
        if options.ranges is not None:
            quantized.record["ranges"] = options.ranges.name
            result.warnings.append(
                "ranges come from %s; the crops of this export were used for its checks alone."
                % options.ranges.name
            )
    if placements_ms:
        quantized.record["placements_ms"] = placements_ms
    if options.precision == "auto":
        assert judge is not None  # ExportOptions demands --eval
        quantized = _search(result, quantizer, quantized, judge, progress)
    onnx.checker.check_model(quantized.model, full_check=True)
    if options.target == "xavier":
        check_tensorrt(quantized.model)
    result.quantized, result.models["int8"] = quantized, quantized.model
    result.table = table.with_method(quantized.record["method"])


def _search(
    result: Export, quantizer: Quantizer, base: Quantized, judge: Judge, progress: Progress
) -> Quantized:
    limit = result.options.max_map_drop
    reports: dict[int, AccuracyReport] = {}

    def map_drop(candidate: Quantized) -> float:
        report = judge.measure({"int8": candidate.model})
        reports[id(candidate)] = report
        return report.drops["int8"].mAP.points

    found = search(quantizer, base, map_drop, limit, progress)
    result.searched, result.accuracy = found, reports[id(found.quantized)]
    if found.drop > limit:
        result.warnings.append(
            "no choice of float layers held the mAP drop at %.2f points; the best found loses %.2f; "
            "export with --precision fp16 instead." % (limit, found.drop)
        )
    return found.quantized


def _warn_if_slow(result: Export) -> None:
    if result.options.target == "xavier" and "int8" in result.latency:
        result.warnings.append(
            "the CPU time of the INT8 file says nothing about the board: ONNX Runtime runs TensorRT's "
            "Q/DQ form in float."
        )
    if result.options.target == "cpu" and "int8" in result.latency:
        fp32_ms, int8_ms = (result.latency[p]["p50_ms"] for p in ("fp32", "int8"))
        if int8_ms > 0.9 * fp32_ms:
            result.warnings.append(
                "INT8 takes %.2f ms on this CPU where fp32 takes %.2f: run the fp32 model of the bundle here."
                % (int8_ms, fp32_ms)
            )
