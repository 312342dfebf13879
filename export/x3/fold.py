"""Takes what the vendor's toolchain made and said into the bundle it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx

from export.report import html_report
from export.x3.checker import check_model
from export.x3.hb_log import HbLog, parse_hb_log
from export.x3.hb_result import parse_board_speed, parse_verification, toolchain_part
from runtime.bundle import Bundle, BundleWriter
from runtime.errors import ReidEdgeError
from runtime.manifest import Manifest

LOGS, RESULTS = "x3/logs", "x3/model_output"


def fold(path: Path) -> dict[str, Any]:
    """Read the logs and the model of a finished ``build.sh`` into the bundle.

    The bundle is replaced as a whole: its report gets the toolchain's result, its manifest the
    compiled model (role ``model.bin``) and the logs. ``x3/logs/board.txt``, if it is there, is the
    output of ``hrt_model_exec perf`` on the board.

    Args:
        path: The bundle.

    Returns:
        The new report.

    Raises:
        ReidEdgeError: Not a bundle for the X3, ``build.sh`` has not run, its logs are truncated, or
            it says that it succeeded and left no model.
    """
    bundle = Bundle.open(path)
    if bundle.manifest.target != "x3":
        raise ReidEdgeError(f"{path} is a bundle for {bundle.manifest.target}, not for the X3.")
    checker, makertbin = (_log(path / LOGS, name) for name in ("checker", "makertbin"))
    if checker is None and makertbin is None:
        raise ReidEdgeError(f"{path / LOGS} has no log of hb_mapper; run x3/build.sh first.")
    board, verifier = path / LOGS / "board.txt", path / LOGS / "verifier.txt"
    report = json.loads(bundle.find("report").read_text(encoding="utf-8"))
    report["x3"]["toolchain"] = toolchain_part(
        checker=checker,
        makertbin=makertbin,
        board=parse_board_speed(_text(board)) if board.is_file() else None,
        verification=parse_verification(_text(verifier)) if verifier.is_file() else None,
        predicted=check_model(onnx.load(str(bundle.find("model.fp32")))),
    )
    compiled = _compiled(bundle, makertbin)
    with BundleWriter(path, force=True) as writer:
        shutil.copytree(path, writer.directory, dirs_exist_ok=True)
        for name, entry in bundle.manifest.files.items():
            if entry["role"] not in ("model.bin", "x3.log"):
                writer.file(name, entry["role"])
        for log in sorted((path / LOGS).iterdir()):
            writer.file(f"{LOGS}/{log.name}", "x3.log")
        if compiled is not None:
            writer.file(str(compiled.relative_to(path)), "model.bin")
        (writer.directory / bundle.find("report").name).write_text(
            json.dumps(report, indent=2) + "\n"
        )
        (writer.directory / bundle.find("report.html").name).write_text(
            html_report(report), encoding="utf-8"
        )
        fields = {**vars(bundle.manifest), "files": writer.entries()}
        writer.finish(Manifest(**fields))
    return report


def _log(folder: Path, name: str) -> HbLog | None:
    """What hb_mapper wrote, or what it printed where it wrote nothing."""
    for candidate in (folder / f"hb_mapper_{name}.log", folder / f"{name}.txt"):
        if candidate.is_file():
            try:
                return parse_hb_log(_text(candidate))
            except ReidEdgeError as error:
                raise ReidEdgeError(f"{candidate}: {error}") from None
    return None


def _compiled(bundle: Bundle, makertbin: HbLog | None) -> Path | None:
    if makertbin is None or not makertbin.success:
        return None
    found = bundle.path / RESULTS / f"{bundle.manifest.network['arch']}.bin"
    if not found.is_file():
        raise ReidEdgeError(
            f"makertbin says that it made the model, but {found} is not there; run x3/build.sh again."
        )
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
