"""A person detector for the X3: everything the toolchain needs, for a network that is ONNX already.

The detector's own preprocessing (letterbox, colour, mean and std) is that of ``runtime.detectors``,
so the board is calibrated on what it will be fed with.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.x3.build_script import build_script
from export.x3.calibration_data import FILES, folder_name, write_calibration_data
from export.x3.config import COMPILER_DEFAULTS, CompilerOptions, make_config, write_yaml
from export.x3.detector_frames import read_frames
from export.x3.detector_graph import detector_graph
from export.x3.detector_report import detector_warnings, operators_part
from export.x3.detector_simulation import simulate_detector
from export.x3.speed import predicted_speed
from runtime.bundle import check_destination, file_sha256
from runtime.detectors.kinds import Kind, recognise
from runtime.detectors.record import NAME, SCHEMA
from runtime.errors import ReidEdgeError
from runtime.horizon_model import NV12_STRIDE
from runtime.letterbox import Letterbox
from runtime.preprocess import preprocess


@dataclass(frozen=True)
class DetectorExport:
    """What an export of a detector has made.

    Attributes:
        folder: Where it lies.
        record: Contents of ``detector.json``.
        warnings: Sentences the user must see.
    """

    folder: Path
    record: dict[str, Any]
    warnings: list[str]


def export_detector(
    path: Path,
    frames: Path,
    folder: Path,
    *,
    kind: str | None = None,
    board_input: str = "nv12",
    calibration_type: str = "default",
    compiler: CompilerOptions = COMPILER_DEFAULTS,
    count: int = FILES,
    force: bool = False,
    threads: int | None = None,
    progress: Callable[[str, int], Any] | None = None,
) -> DetectorExport:
    """Write a folder like a bundle's ``x3/``, with ``detector.json`` beside it.

    Args:
        path: The detector, ONNX of opset 10 or 11 with a fixed input (1, 3, H, W).
        frames: Folder of camera frames, searched with its subfolders: calibrated on, and others of
            them judged on.
        folder: Where to; appears whole or not at all.
        kind: One of ``runtime.detectors.kinds.KINDS``; default: recognised.
        board_input, calibration_type, compiler: As for a ReID network.
        count: Frames to calibrate on.
        force: Replace an older one.
        threads: CPU threads.
        progress: Called as ``progress(label, total)`` for a progress bar.

    Raises:
        ReidEdgeError: No such detector, one that the toolchain cannot take or that is of no known
            kind, no frames, or a destination that exists.
        VerificationError: A rewrite changed the network.
    """
    check_destination(folder, force, NAME)
    graph = detector_graph(path)
    _check_input(board_input, graph.size, path.name)
    # The kind does not depend on how pixels are scaled.
    grey = graph.run(np.full((1, 3, *graph.size), 0.5, np.float32))
    found = recognise(grey, graph.size, path.name, kind)
    prepared = found.preparation
    contract = prepared.contract(graph.size)
    pictures = read_frames(frames, count)
    images = _letterboxed(pictures.calibration, found, graph.size)
    simulation = simulate_detector(
        graph,
        found,
        preprocess(images, contract),
        pictures.judge,
        calibration_type=calibration_type,
        max_percentile=compiler.max_percentile,
        nv12=board_input == "nv12",
        threads=threads,
        progress=progress,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as hidden:
        made = Path(hidden) / "made"
        made.mkdir()
        name = f"{path.stem}.onnx"
        (made / name).write_bytes(graph.model.SerializeToString())
        data = write_calibration_data(
            made / folder_name(contract, board_input), images, contract, board_input, count=count
        )
        config = make_config(
            contract,
            board_input,
            onnx_model=name,
            prefix=path.stem,
            input_name=graph.input_name,
            cal_data_dir=data["folder"],
            calibration_type=calibration_type,
            compiler=compiler,
        )
        write_yaml(config, made / "config.yaml")
        (made / "build.sh").write_text(build_script(config, "config.yaml"), encoding="utf-8")
        (made / "build.sh").chmod(0o755)
        (made / "operators.json").write_text(json.dumps(graph.check.to_dict(), indent=2) + "\n")
        record = {
            "schema": SCHEMA,
            "detector": path.name,
            "sha256": file_sha256(made / name),
            "kind": found.name,
            # The compiler may arrange them differently; runtime.detectors.arrangement undoes that.
            "outputs": [{"name": name, "shape": list(shape)} for name, shape in graph.outputs],
            "input": asdict(contract),
            "board_input": board_input,
            "letterbox": {
                "fit": prepared.fit,
                "rounding": prepared.rounding,
                "pad_value": prepared.pad_value,
            },
            "calibration_data": data,
            "operators": operators_part(graph),
            "predicted_latency": predicted_speed(made / name),
            "rewrites": [asdict(step) for step in graph.rewrites],
            "simulation": simulation,
        }
        (made / NAME).write_text(json.dumps(record, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(made, folder)
    return DetectorExport(folder, record, detector_warnings(record, pictures))


def _letterboxed(
    frames: Sequence[np.ndarray], kind: Kind, size: tuple[int, int]
) -> list[np.ndarray]:
    """Frames as the network sees them, (H, W, 3) uint8 BGR."""
    prepared = kind.preparation
    return [
        Letterbox.fit(frame.shape[:2], size, prepared.fit, prepared.rounding).apply(
            frame, prepared.pad_value, prepared.resize
        )
        for frame in frames
    ]


def _check_input(board_input: str, size: tuple[int, int], name: str) -> None:
    if board_input == "nv12" and (size[0] % 2 or size[1] % NV12_STRIDE):
        raise ReidEdgeError(
            f"NV12 input needs an even height and a width that is a multiple of {NV12_STRIDE}, and "
            f"{name} takes {size[0]}x{size[1]}; export the detector with another input size."
        )
