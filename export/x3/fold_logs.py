"""What a finished ``build.sh`` left in its folder: logs, read, and the compiled model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import onnx

from export.x3.build_script import LOGS
from export.x3.checker import check_model
from export.x3.hb_log import HbLog, parse_hb_log
from export.x3.hb_result import BoardSpeed, parse_board_speed, parse_verification, toolchain_part
from runtime.errors import ReidEdgeError

RESULTS = "model_output"
_log = logging.getLogger(__name__)
Value = TypeVar("Value", BoardSpeed, dict[str, Any])


def read_build(folder: Path, model: onnx.ModelProto) -> dict[str, Any]:
    """The toolchain's part of a report; what it warns of is logged too.

    ``logs/board.txt``, if it is there, is the output of ``hrt_model_exec perf`` on the board. It and
    the verifier's say nothing about whether the model was made, so where they cannot be read the
    result says why in their place.

    Args:
        folder: Where build.sh lies.
        model: The network that it was run on.

    Raises:
        ReidEdgeError: ``build.sh`` has not run, or its logs are truncated.
    """
    logs = folder / LOGS
    checker, makertbin = (_hb_log(logs, name) for name in ("checker", "makertbin"))
    if checker is None and makertbin is None:
        raise ReidEdgeError(
            f"{logs} has no log of hb_mapper; run {folder.resolve().name}/build.sh first."
        )
    # Without a model of this run they are of an older one.
    made = (checker is None or checker.success) and makertbin is not None and makertbin.success
    part = toolchain_part(
        checker=checker,
        makertbin=makertbin,
        board=_measured(logs / "board.txt", parse_board_speed) if made else None,
        verification=_measured(logs / "verifier.txt", parse_verification) if made else None,
        predicted=check_model(model),
        names={node.name for node in model.graph.node if node.name},
    )
    for text in part["warnings"]:
        _log.warning("%s", text)
    return part


def compiled_model(folder: Path, prefix: str, part: dict[str, Any]) -> Path | None:
    """The model that makertbin made, None where it made none.

    Raises:
        ReidEdgeError: It says that it made one, which is not there.
    """
    if part["command"] != "makertbin" or not part["success"]:
        return None
    found = folder / RESULTS / f"{prefix}.bin"
    if not found.is_file():
        raise ReidEdgeError(
            f"makertbin says that it made the model, but {found} is not there; run "
            f"{folder.resolve().name}/build.sh again."
        )
    return found


def _hb_log(logs: Path, name: str) -> HbLog | None:
    """What hb_mapper wrote, or what it printed: a crash is in the latter only."""
    refused = None
    for path in (logs / f"hb_mapper_{name}.log", logs / f"{name}.txt"):
        if path.is_file():
            try:
                return parse_hb_log(_text(path), name)
            except ReidEdgeError as error:
                refused = refused or ReidEdgeError(f"{path}: {error}")
    if refused:
        raise refused
    return None


def _measured(path: Path, parse: Callable[[str], Value]) -> Value | dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return parse(_text(path))
    except ReidEdgeError as error:
        return {"error": f"{path.name}: {error}"}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReidEdgeError(f"Cannot read {path}: {error.strerror or error}.") from None
