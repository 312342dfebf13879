"""Writes an export as a bundle, whole or not at all."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import machine_record
from calibration.trt_cache import to_trt_cache
from export.crops import Crops
from export.judge import run_onnx
from export.parity import layer_errors
from export.pipeline import Export
from export.ranges import cache_scales
from export.report import html_report
from models.checkpoint import LoadedNetwork
from runtime.bundle import BundleWriter
from runtime.manifest import Manifest

GOLDEN_CROPS = 8
LAYER_ERROR_CROPS = 4
TENSORRT_VERSION = "8502"  # JetPack 5.1's; reid-build rewrites the line for the version it finds
_TOOLS = ("reid-edge", "torch", "onnx", "onnxsim", "onnxruntime", "numpy", "opencv-python-headless")


def write(result: Export) -> tuple[Path, dict[str, Any]]:
    """Write the bundle; return its directory and the report in it.

    Raises:
        ReidEdgeError: It cannot be written; nothing is left behind.
    """
    with BundleWriter(result.destination, result.options.force) as writer:
        for precision, model in result.models.items():
            path = writer.file("model.%s.onnx" % precision, "model." + precision)
            path.write_bytes(model.SerializeToString())
        if result.table is not None:
            result.table.save(writer.file("calibration.json", "calibration.table"))
            if result.options.target == "xavier":
                kept = result.searched.kept_float if result.searched else []
                scales = cache_scales(result.graph, result.table, kept)
                cache = to_trt_cache(scales, TENSORRT_VERSION)
                writer.file("calibration.cache", "calibration.cache").write_text(cache)
        np.savez_compressed(writer.file("golden.npz", "golden"), **golden(result))  # type: ignore[arg-type]
        report = report_of(result)
        writer.file("report.json", "report").write_text(json.dumps(report, indent=2) + "\n")
        writer.file("report.html", "report.html").write_text(html_report(report), encoding="utf-8")
        return writer.finish(manifest_of(result, writer.entries())), report


def golden(result: Export) -> dict[str, np.ndarray]:
    """Inputs with the embeddings they must give: the board's self-test.

    ``inputs`` (N, 3, H, W) float32 and, per model, ``embedding_<precision>`` (N, D) float32 as ONNX
    Runtime computes them, not normalised.
    """
    inputs = result.crops.held_out[:GOLDEN_CROPS]
    arrays = {"inputs": inputs}
    # A Xavier bundle's Q/DQ graph is run as written: ONNX Runtime's optimiser would round biases,
    # which TensorRT does not.
    as_written = result.options.target == "xavier"
    for precision, model in result.models.items():
        optimize = not (as_written and precision == "int8")
        arrays["embedding_" + precision] = run_onnx(model, inputs, result.options.threads, optimize)
    return arrays


def report_of(result: Export) -> dict[str, Any]:
    """Everything measured, as one JSON object."""
    loaded, quantized = result.loaded, result.quantized
    report: dict[str, Any] = {
        "name": result.name,
        "target": result.options.target,
        "precision": result.precision,
        "network": network_record(result.loaded),
        "dropped_keys": [list(pair) for pair in loaded.dropped],
        "parity": {stage: p.to_dict() for stage, p in result.parity.items()},
        "accuracy": result.accuracy.to_dict() if result.accuracy else None,
        "latency_ms": result.latency,
        "latency_conditions": {
            "backend": "onnxruntime, CPU, batch 1",
            "threads": result.options.threads or "all cores",
            "machine": machine_record(),
        },
        "calibration": calibration_record(result),
        "warnings": result.warnings,
    }
    if quantized is not None and result.table is not None:
        report["layers"] = {
            "int8": quantized.placement.weights,
            "float": quantized.placement.skipped,
        }
        report["layer_errors"] = layer_errors(
            result.models["fp32"], quantized.model, result.crops.held_out[:LAYER_ERROR_CROPS]
        )
        report["ranges"] = {
            name: {
                "amax": result.table.tensors[name].amax,
                "scale": scale.scale,
                "zero_point": scale.zero_point,
            }
            for name, scale in quantized.scales.items()
        }
    if result.searched is not None:
        report["search"] = {
            "max_map_drop": result.options.max_map_drop,
            "mAP_drop": result.searched.drop,
            "kept_float": result.searched.kept_float,
            "trials": result.searched.trials,
            "sensitivity": result.searched.sensitivity,
        }
    return report


def manifest_of(result: Export, files: dict[str, dict[str, Any]]) -> Manifest:
    """The manifest for the files that were written."""
    return Manifest(
        name=result.name,
        target=result.options.target,
        precision=result.precision,
        network=network_record(result.loaded),
        input=result.loaded.input,
        embedding=result.loaded.embedding,
        batch=result.options.batch,
        files=files,
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        calibration=calibration_record(result),
        parity={stage: p.to_dict() for stage, p in result.parity.items()},
        accuracy=result.accuracy.to_dict() if result.accuracy else None,
        kept_float=result.searched.kept_float if result.searched else [],
        tools=tool_versions(),
    )


def network_record(loaded: LoadedNetwork) -> dict[str, Any]:
    """What the network is and where it comes from."""
    return {
        "family": loaded.family,
        "arch": loaded.arch,
        "trained": loaded.trained,
        "source": loaded.source,
        "source_sha256": loaded.sha256,
        "notes": list(loaded.notes),
    }


def calibration_record(result: Export) -> dict[str, Any] | None:
    """How the INT8 network came about; the list of files stays in the calibration table."""
    if result.quantized is None:
        return None
    return {"crops": crops_record(result.crops), **result.quantized.record}


def crops_record(crops: Crops) -> dict[str, Any]:
    """Where the crops come from, without the list of files."""
    record = {k: v for k, v in crops.record.items() if k != "files"}
    record["unreadable"] = len(crops.record.get("unreadable", []))
    return record


def tool_versions() -> dict[str, str]:
    """Versions of what made the bundle."""
    return {name: v for name in _TOOLS if (v := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
