"""Takes what the vendor's toolchain made of an exported detector into its ``detector.json``.

The compiled model stays where build.sh leaves it, where ``runtime.detectors.record`` finds it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from export.onnx_file import read_onnx
from export.x3.fold_config import config_changes
from export.x3.fold_logs import compiled_model, read_build
from runtime.bundle import MANIFEST_NAME, file_sha256
from runtime.detectors.record import NAME, SCHEMA
from runtime.errors import ReidEdgeError

CONFIG = "config.yaml"


def is_detector(folder: Path) -> bool:
    """Whether this is the folder of an exported detector, not a bundle."""
    return (folder / NAME).is_file() and not (folder / MANIFEST_NAME).exists()


def fold_detector(folder: Path) -> dict[str, Any]:
    """Put the toolchain's result under ``"toolchain"`` into the folder's ``detector.json``.

    It names the compiled model with its SHA-256 as ``"model"``, None where none was made.

    Returns:
        ``{"x3": {"toolchain": ...}}``, as a bundle's report has it.

    Raises:
        ReidEdgeError: A damaged record or another network beside it, or as ``fold``.
    """
    path = folder / NAME
    record, source = _record(path)
    part = read_build(folder, read_onnx(source))
    part["config_changes"] = config_changes(folder, CONFIG)
    compiled = compiled_model(folder, source.stem, part)
    part["model"] = compiled and {
        "file": compiled.relative_to(folder).as_posix(),
        "sha256": file_sha256(compiled),
    }
    hidden = folder / f".{NAME}.new"
    try:
        hidden.write_text(json.dumps({**record, "toolchain": part}, indent=2) + "\n")
        os.replace(hidden, path)
    except OSError as error:
        raise ReidEdgeError(f"Cannot write {path}: {error.strerror or error}.") from None
    finally:
        hidden.unlink(missing_ok=True)
    return {"x3": {"toolchain": part}}


def _record(path: Path) -> tuple[dict[str, Any], Path]:
    """The record, and the network it is of.

    Not ``runtime.detectors.record.read_record``, which refuses what the runtime cannot feed.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise ValueError
        source, expected = path.with_name(f"{Path(record['detector']).stem}.onnx"), record["sha256"]
    except OSError as error:
        raise ReidEdgeError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError):
        raise ReidEdgeError(
            f"{path} was changed or is of another version; export the detector again."
        ) from None
    if not source.is_file() or file_sha256(source) != expected:
        raise ReidEdgeError(
            f"{source} is not the network that was exported; copy the whole folder again."
        )
    return record, source
