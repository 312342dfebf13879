"""A person detector for the X3: everything the toolchain needs, for a network that is ONNX already.

The detector's own preprocessing (letterbox, colour, mean and std) is that of ``runtime.detectors``,
so the board is calibrated on what it will be fed with.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from calibration.layouts import IMAGE_SUFFIXES
from export.onnx_file import read_onnx
from export.x3.build_script import build_script
from export.x3.calibration_data import FILES, folder_name, write_calibration_data
from export.x3.check_report import UNSUPPORTED, CheckReport
from export.x3.checker import check_model
from export.x3.config import make_config, write_yaml
from runtime.backends.onnxruntime import make_session
from runtime.bundle import check_destination, file_sha256
from runtime.detectors.kinds import Kind, recognise
from runtime.errors import ReidEdgeError
from runtime.letterbox import Letterbox
from runtime.preprocess import read_image

OPSETS, LARGEST_IR = (10, 11), 7
SCHEMA = 1


@dataclass(frozen=True)
class DetectorExport:
    """What an export of a detector has made.

    Attributes:
        folder: Where it lies.
        kind: What the network was recognised as.
        check: Where its nodes run.
        record: Contents of ``detector.json``.
    """

    folder: Path
    kind: Kind
    check: CheckReport
    record: dict[str, Any]


def export_detector(
    path: Path,
    frames: Path,
    folder: Path,
    *,
    kind: str | None = None,
    board_input: str = "nv12",
    calibration_type: str = "default",
    count: int = FILES,
    force: bool = False,
) -> DetectorExport:
    """Write a folder like a bundle's ``x3/``, with ``detector.json`` beside it.

    Args:
        path: The detector, ONNX of opset 10 or 11 with a fixed input (1, 3, H, W).
        frames: Folder of camera frames to calibrate on, searched with its subfolders.
        folder: Where to; appears whole or not at all.
        kind: One of ``runtime.detectors.kinds.KINDS``; default: recognised.
        board_input, calibration_type: As for a ReID network.
        count: Frames to calibrate on.
        force: Replace an older one.

    Raises:
        ReidEdgeError: No such detector, one that the toolchain cannot take or that is of no known
            kind, no frames, or a destination that exists.
    """
    check_destination(folder, force)
    model = _usable(path)
    check = check_model(model)
    missing = check.on(UNSUPPORTED)
    if missing or check.problems:
        reason = check.problems[0] if check.problems else "%s %s: %s" % (
            missing[0].op, missing[0].name, missing[0].reason,
        )  # fmt: skip
        raise ReidEdgeError(f"hb_mapper would refuse {path.name}: {reason}.")
    (given,) = (i for i in model.graph.input if i.name not in _constants(model))
    height, width = (d.dim_value for d in given.type.tensor_type.shape.dim[2:])
    found, outputs = _recognise(model, given.name, (height, width), path.name, kind)
    prepared = found.preparation
    contract = prepared.contract((height, width))
    images = _letterboxed(frames, found, (height, width), count)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as hidden:
        made = Path(hidden) / "made"
        made.mkdir()
        name = f"{path.stem}.onnx"
        (made / name).write_bytes(model.SerializeToString())
        data = write_calibration_data(
            made / folder_name(contract, board_input), images, contract, board_input, count=count
        )
        config = make_config(
            contract,
            board_input,
            onnx_model=name,
            prefix=path.stem,
            input_name=given.name,
            cal_data_dir=data["folder"],
            calibration_type=calibration_type,
        )
        write_yaml(config, made / "config.yaml")
        (made / "build.sh").write_text(build_script(config, "config.yaml"), encoding="utf-8")
        (made / "build.sh").chmod(0o755)
        (made / "operators.json").write_text(json.dumps(check.to_dict(), indent=2) + "\n")
        record = {
            "schema": SCHEMA,
            "detector": path.name,
            "sha256": file_sha256(made / name),
            "kind": found.name,
            # The compiler may arrange them differently; runtime.detectors.arrangement undoes that.
            "outputs": [{"name": name, "shape": list(shape)} for name, shape in outputs],
            "input": asdict(contract),
            "board_input": board_input,
            "letterbox": {
                "fit": prepared.fit,
                "rounding": prepared.rounding,
                "pad_value": prepared.pad_value,
            },
            "calibration_data": data,
            "operators": {"counts": check.counts, "segments": check.segments},
        }
        (made / "detector.json").write_text(json.dumps(record, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(made, folder)
    return DetectorExport(folder, found, check, record)


def summary(result: DetectorExport) -> str:
    """What the command prints."""
    return "\n".join(
        [
            f"{result.record['detector']} is a {result.kind.name} detector.",
            result.check.text(),
            f"Next: in the vendor's container, or where hb_mapper is installed, run  "
            f"{result.folder}/build.sh",
        ]
    )


def _usable(path: Path) -> onnx.ModelProto:
    """The model with a header that hb_mapper reads."""
    model = read_onnx(path)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise ReidEdgeError(
            f"{path.name} has opset {opset}, and hb_mapper reads 10 and 11; export the detector with "
            "opset 11."
        )
    inputs = [i for i in model.graph.input if i.name not in _constants(model)]
    shapes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != [1, 3] or 0 in shapes[0]:
        raise ReidEdgeError(
            f"{path.name} must have one fixed input (1, 3, height, width), got {shapes}; export the "
            "detector with batch 1 and a fixed size."
        )
    model.ir_version = min(model.ir_version, LARGEST_IR)
    return model


def _constants(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _recognise(
    model: onnx.ModelProto, name: str, size: tuple[int, int], file: str, kind: str | None
) -> tuple[Kind, list[tuple[str, tuple[int, ...]]]]:
    """The kind and the outputs' names and shapes, from a run on a grey image.

    Neither depends on how pixels are scaled.
    """
    session = make_session(model.SerializeToString())
    outputs = session.run(None, {name: np.full((1, 3, *size), 0.5, np.float32)})
    names = [output.name for output in session.get_outputs()]
    shapes = [tuple(output.shape) for output in outputs]
    return recognise(outputs, size, file, kind), list(zip(names, shapes, strict=True))


def _letterboxed(
    folder: Path, kind: Kind, size: tuple[int, int], count: int
) -> Sequence[np.ndarray]:
    """Frames as the network sees them, (H, W, 3) uint8 BGR, at equal distances through the folder."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ReidEdgeError(
            f"No frames in {folder}; give a folder of pictures that the robot's camera took."
        )
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int))
    prepared = kind.preparation
    images = []
    for index in chosen:
        frame = read_image(paths[index])
        box = Letterbox.fit(frame.shape[:2], size, prepared.fit, prepared.rounding)
        images.append(box.apply(frame, prepared.pad_value, prepared.resize))
    return images
