"""Writes an export for the X3 as a bundle, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import machine_record
from export.judge import run_onnx
from export.report import html_report
from export.write import GOLDEN_CROPS, crops_record, network_record, tool_versions
from export.x3.build_script import build_script
from export.x3.calibration_data import folder_name, write_calibration_data
from export.x3.check_report import CPU
from export.x3.config import make_config, write_yaml
from export.x3.export import X3Export
from export.x3.simulate import seen_by_board
from export.x3.speed import predicted_speed
from runtime.bundle import BundleWriter
from runtime.manifest import Manifest
from runtime.nv12 import preprocess_nv12
from runtime.preprocess import preprocess

FOLDER = "x3"
CONFIG = "config.yaml"


def write_x3(result: X3Export) -> tuple[Path, dict[str, Any]]:
    """Write the bundle; return its directory and the report in it.

    Raises:
        ReidEdgeError: It cannot be written; nothing is left behind.
    """
    options, graph = result.options, result.graph
    with BundleWriter(result.destination, options.force) as writer:
        # The container sees one folder, so what hb_mapper reads is below it.
        name = f"{FOLDER}/{result.loaded.arch}.onnx"
        writer.file(name, "model.fp32").write_bytes(graph.model.SerializeToString())
        simulated = writer.file("model.int8.onnx", "model.int8")
        simulated.write_bytes(result.simulation.model.SerializeToString())
        result.simulation.thresholds.table.save(
            writer.file("calibration.json", "calibration.table")
        )
        calibration = _calibration_data(result, writer)
        config = make_config(
            graph.input,
            options.board_input,
            onnx_model=Path(name).name,
            prefix=result.loaded.arch,
            input_name=graph.model.graph.input[0].name,
            cal_data_dir=calibration["folder"],
            calibration_type=options.calibration_type,
            compiler=options.compiler,
        )
        write_yaml(config, writer.file(f"{FOLDER}/{CONFIG}", "x3.config"))
        script = writer.file(f"{FOLDER}/build.sh", "x3.build")
        script.write_text(build_script(config, CONFIG), encoding="utf-8")
        script.chmod(0o755)
        operators = writer.file(f"{FOLDER}/operators.json", "x3.operators")
        operators.write_text(json.dumps(result.check.to_dict(), indent=2) + "\n")
        np.savez_compressed(writer.file("golden.npz", "golden"), **golden(result))  # type: ignore[arg-type]
        report = report_of(result, calibration, predicted_speed(writer.directory / name))
        writer.file("report.json", "report").write_text(json.dumps(report, indent=2) + "\n")
        writer.file("report.html", "report.html").write_text(html_report(report), encoding="utf-8")
        return writer.finish(_manifest(result, writer.entries())), report


def _calibration_data(result: X3Export, writer: BundleWriter) -> dict[str, Any]:
    kind = result.options.board_input
    folder = f"{FOLDER}/{folder_name(result.graph.input, kind)}"
    record = write_calibration_data(
        writer.directory / folder,
        result.calibration_images,
        result.graph.input,
        kind,
        count=result.options.calib_count,
    )
    for path in sorted((writer.directory / folder).iterdir()):
        writer.file(f"{folder}/{path.name}", "x3.calibration")
    return record


def golden(result: X3Export) -> dict[str, np.ndarray]:
    """Inputs with the embeddings they must give: the board's self-test.

    ``inputs`` (N, 3, H, W) float32 with ``embedding_fp32`` and ``embedding_int8`` (N, D) as in
    every bundle, and for a board fed with NV12 the same crops as its camera path gives them:
    ``inputs_nv12`` (N, H * W * 3/2) uint8 with ``embedding_int8_nv12``.
    """
    inputs, threads = result.crops.held_out[:GOLDEN_CROPS], result.options.threads
    arrays = {
        "inputs": inputs,
        "embedding_fp32": run_onnx(result.graph.model, inputs, threads),
        "embedding_int8": run_onnx(result.simulation.model, inputs, threads),
    }
    if result.options.board_input == "nv12":
        contract, images = result.graph.input, result.crops.images[: len(inputs)]
        seen = [seen_by_board(contract)(image) for image in images]
        arrays["inputs_nv12"] = preprocess_nv12(images, contract)
        arrays["embedding_int8_nv12"] = run_onnx(
            result.simulation.model, preprocess(seen, contract), threads, optimize=False
        )
    return arrays


def report_of(
    result: X3Export, calibration: dict[str, Any], speed: dict[str, Any]
) -> dict[str, Any]:
    """Everything measured and predicted, as one JSON object."""
    check = result.check
    return {
        "name": result.name,
        "target": "x3",
        "precision": "int8",
        "network": network_record(result.loaded),
        "dropped_keys": [list(pair) for pair in result.loaded.dropped],
        "parity": {stage: p.to_dict() for stage, p in result.parity.items()},
        "accuracy": result.accuracy.to_dict() if result.accuracy else None,
        "latency_ms": result.latency,
        "latency_conditions": {
            "backend": "onnxruntime, CPU, batch 1; int8 is the simulation of the board",
            "threads": result.options.threads or "all cores",
            "machine": machine_record(),
        },
        "calibration": None,
        "x3": {
            "input": result.options.board_input,
            "cut": list(result.graph.cut),
            "rewrites": [asdict(step) for step in result.graph.steps],
            "operators": {
                "counts": check.counts,
                "segments": check.segments,
                "traffic": check.traffic.to_dict(),
                "assumptions": check.assumptions,
                "cpu_nodes": [
                    {"name": n.name, "op": n.op, "reason": n.reason} for n in check.on(CPU)
                ],
                "cpu_nodes_of_plain_export": result.plain_cpu_nodes,
            },
            "calibration_data": calibration,
            "simulation": result.simulation.record,
            "predicted_latency": speed,
            "toolchain": None,
        },
        "warnings": result.warnings,
    }


def _manifest(result: X3Export, files: dict[str, dict[str, Any]]) -> Manifest:
    return Manifest(
        name=result.name,
        target="x3",
        precision="int8",
        network=network_record(result.loaded),
        input=result.graph.input,
        embedding=result.loaded.embedding,
        batch=result.options.batch,
        files=files,
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        calibration={"crops": crops_record(result.crops), **result.simulation.record},
        parity={stage: p.to_dict() for stage, p in result.parity.items()},
        accuracy=result.accuracy.to_dict() if result.accuracy else None,
        tools=tool_versions(),
    )
