"""What the X3 is expected to find of the people that a float detector finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from export.judge import open_model
from export.x3.check_report import BPU
from export.x3.detector_graph import DetectorGraph
from export.x3.joined import PREFIX, join_outputs, split_row
from export.x3.simulate import Simulation, simulate
from runtime.detection import iou
from runtime.detectors.kinds import Kind
from runtime.detectors.network import NetworkDetector
from runtime.detectors.runner import OnnxRunner
from runtime.nv12 import nv12_to_yuv444, yuv444_to_bgr
from runtime.preprocess import preprocess

SCORE_THRESHOLD = 0.3  # a box below is no person for this count
SAME_IOU = 0.5  # boxes that overlap so are of the same person


def simulate_detector(
    graph: DetectorGraph,
    kind: Kind,
    calibration: np.ndarray,
    judge: list[np.ndarray],
    *,
    calibration_type: str,
    max_percentile: float | None = None,
    nv12: bool,
    threads: int | None = None,
    progress: Callable[[str, int], Any] | None = None,
) -> dict[str, Any]:
    """Quantize a detector as the board is expected to, and count whom it still finds.

    Args:
        graph: The detector.
        kind: What it is.
        calibration: (N, 3, H, W) float32, prepared.
        judge: Frames, (H, W, 3) uint8 BGR.
        calibration_type, max_percentile: As in ``export.x3.simulate``.
        nv12: Whether the board is fed with NV12; then that is judged as well.

    Returns:
        JSON-able: the record of ``export.x3.simulate`` and ``people``: score and overlap counted
        with, frames, people the float network finds, and per "int8" (and "int8_nv12") how many of
        them are found (``recall``) and what share of its boxes are such (``precision``); None
        where the float network finds nobody.
    """
    joined = join_outputs(graph.model)
    added = {n.name for n in joined.graph.node if n.name.startswith(PREFIX)}
    detector = NetworkDetector(OnnxRunner(graph.model.SerializeToString(), threads), kind.name)
    held_out = np.concatenate([detector.prepare(frame)[0] for frame in judge])
    simulation = simulate(
        joined,
        calibration,
        held_out,
        calibration_type=calibration_type,
        max_percentile=1.0 if max_percentile is None else max_percentile,
        cpu_nodes=frozenset({n.name for n in graph.check.nodes if n.on != BPU} | added),
        threads=threads,
        progress=progress,
    )
    expected = [_people(detector, frame) for frame in judge]
    counts = {}
    for name in ("int8", "int8_nv12")[: 1 + nv12]:
        board = NetworkDetector(_Board(graph, simulation, kind, name != "int8", threads), kind.name)
        bar = progress("judging " + name, len(judge)) if progress else None
        found = []
        for frame in judge:
            found.append(_people(board, frame))
            if bar:
                bar.update(1)
        if bar:
            bar.close()
        counts[name] = agreement(expected, found)
    people = {
        "score_threshold": SCORE_THRESHOLD,
        "iou": SAME_IOU,
        "frames": len(judge),
        "float": sum(map(len, expected)),
        **counts,
    }
    return {**simulation.record, "people": people}


class _Board:
    """A runtime.detectors.runner.Runner of the simulated board."""

    name = "simulated X3"

    def __init__(
        self,
        graph: DetectorGraph,
        simulation: Simulation,
        kind: Kind,
        nv12: bool,
        threads: int | None,
    ):
        self.input_size, self.input_kind = graph.size, "nv12" if nv12 else "float"
        self._contract = kind.preparation.contract(graph.size)
        self._shapes = [shape for _, shape in graph.outputs]
        # As it is written, so that the result does not hang on this CPU's integer kernels.
        self._network = open_model(simulation.model, threads, optimize=False)

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        if self.input_kind == "nv12":
            picture = batch.reshape(self.input_size[0] * 3 // 2, self.input_size[1])
            batch = preprocess([yuv444_to_bgr(nv12_to_yuv444(picture))], self._contract)
        return split_row(self._network.run(batch)[0], self._shapes)

    def close(self) -> None:
        self._network.close()


def _people(detector: NetworkDetector, frame: np.ndarray) -> np.ndarray:
    """(N, 4) boxes of the people in a frame."""
    found = detector.detect(frame)
    return found.boxes[found.scores >= SCORE_THRESHOLD]


def agreement(expected: list[np.ndarray], found: list[np.ndarray]) -> dict[str, float | None]:
    """How far boxes agree, frame by frame, each matched with one other at most.

    Args:
        expected, found: Per frame (N, 4) and (M, 4) boxes.

    Returns:
        ``recall`` and ``precision``, 0 to 1; None where there is nothing to be found, or found.
    """
    same = 0
    for boxes, others in zip(expected, found, strict=True):
        overlaps = iou(boxes, others)
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        same += int((overlaps[rows, columns] >= SAME_IOU).sum())
    wanted, got = sum(map(len, expected)), sum(map(len, found))
    return {
        "recall": same / wanted if wanted else None,
        "precision": same / got if got else None,
    }
