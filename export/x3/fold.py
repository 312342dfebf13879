"""Takes what the vendor's toolchain made and said into what was exported for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from export.onnx_file import read_onnx
from export.report import html_report
from export.x3.build_script import LOGS
from export.x3.fold_config import config_changes
from export.x3.fold_detector import fold_detector, is_detector
from export.x3.fold_logs import compiled_model, read_build
from runtime.bundle import Bundle, BundleWriter
from runtime.errors import ReidEdgeError
from runtime.manifest import Manifest

FOLDER = "x3"
# What people tune and the vendor's tools write anew; the rest must be as exported.
EDITED = ("x3.config", "x3.log", "model.bin")


def fold(path: Path) -> dict[str, Any]:
    """Read the logs and the model of a finished ``build.sh`` into the bundle or detector.

    A bundle is replaced as a whole: its report gets the toolchain's result, its manifest the compiled
    model (role ``model.bin``), the logs, and the configuration as it was tuned. Of a detector's
    folder only ``detector.json`` changes.

    Args:
        path: The bundle, or the folder of an exported detector.

    Returns:
        The new report; of a detector ``{"x3": {"toolchain": ...}}``.

    Raises:
        ReidEdgeError: Neither of them or not for the X3, ``build.sh`` has not run, its logs are
            truncated, it says that it succeeded and left no model, or a configuration that is no
            longer of this network or not the one that ``build.sh`` ran with.
    """
    if is_detector(path):
        return fold_detector(path)
    bundle = Bundle.open(path, edited=EDITED)
    if bundle.manifest.target != "x3":
        raise ReidEdgeError(f"{path} is a bundle for {bundle.manifest.target}, not for the X3.")
    report = json.loads(bundle.find("report").read_text(encoding="utf-8"))
    part = read_build(path / FOLDER, read_onnx(bundle.find("model.fp32")))
    part["config_changes"] = config_changes(path / FOLDER, bundle.find("x3.config").name)
    report["x3"]["toolchain"] = part
    compiled = compiled_model(path / FOLDER, bundle.manifest.network["arch"], part)
    _replace(bundle, report, compiled)
    return report


def _replace(bundle: Bundle, report: dict[str, Any], compiled: Path | None) -> None:
    """Write the bundle anew with this report and model."""
    path = bundle.path
    with BundleWriter(path, force=True) as writer:
        shutil.copytree(path, writer.directory, dirs_exist_ok=True)
        for name, entry in bundle.manifest.files.items():
            if entry["role"] not in ("model.bin", "x3.log"):
                writer.file(name, entry["role"])
        for log in sorted((path / FOLDER / LOGS).iterdir()):
            if log.is_file():
                writer.file(f"{FOLDER}/{LOGS}/{log.name}", "x3.log")
        if compiled is not None:
            writer.file(compiled.relative_to(path).as_posix(), "model.bin")
        (writer.directory / bundle.find("report").name).write_text(
            json.dumps(report, indent=2) + "\n"
        )
        (writer.directory / bundle.find("report.html").name).write_text(
            html_report(report), encoding="utf-8"
        )
        fields = {**vars(bundle.manifest), "files": writer.entries()}
        writer.finish(Manifest(**fields))
