"""reid-build --detector: from a person detector's ONNX file to a TensorRT plan that was compared.

Tested on a stand-in for TensorRT only, not on a board.
"""

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from runtime.detection import iou
from runtime.detectors.decoders import Candidates, Size
from runtime.detectors.drawing import draw_street
from runtime.detectors.kinds import Kind
from runtime.detectors.network import NetworkDetector
from runtime.detectors.runner import OnnxRunner, Runner
from runtime.detectors.tensorrt import TensorRTRunner, check_detector_plan
from runtime.errors import ReidEdgeError, VerificationError
from runtime.plan_builder import BuildOptions, build_from_onnx
from runtime.plan_store import make_plan

BATCH = {"min": 1, "opt": 1, "max": 1}
PICTURES = 3
# What a plan must reach against ONNX Runtime in fp32, over all cells of a drawn street: the cosine of
# the persons' scores, and the overlap of the BEST surest boxes. With weights and activations in half
# precision on a CPU, YOLOX-nano, NanoDet-m and FastestDet came to at least 0.9994 and 0.994. The fp32
# of newer GPUs is TF32, which has no more bits than fp16.
MIN_COSINE = {"fp32": 0.998, "fp16": 0.99}
MIN_OVERLAP = {"fp32": 0.95, "fp16": 0.9}
BEST = 20


def choose_precision(wanted: str, device: str, precision_flags: bool) -> str:
    """The precision to build a detector in.

    Args:
        wanted: ``"fp32"``, ``"fp16"``, ``"int8"`` or ``"best"``.
        device: As in BuildOptions.
        precision_flags: Whether this TensorRT takes precisions from flags, not from the model.

    Raises:
        ReidEdgeError: One that a detector cannot be built in here.
    """
    if wanted == "int8":
        raise ReidEdgeError(
            "A detector's ONNX file carries no INT8 scales, got --precision int8; pass fp16 or fp32."
        )
    if not precision_flags and wanted == "fp16":
        raise ReidEdgeError(
            "This TensorRT takes precisions from the model, got --precision fp16; pass fp32, which "
            "keeps the types that the model has."
        )
    chosen = ("fp16" if precision_flags else "fp32") if wanted == "best" else wanted
    if device != "gpu" and chosen == "fp32":
        raise ReidEdgeError(
            "The DLA computes in fp16 or int8 only, got fp32; pass --precision fp16 or --device gpu."
        )
    return chosen


def plan_path(onnx: Path, folder: Path, precision: str, device: str) -> Path:
    """Where the plan of a detector lies."""
    return folder / ("%s-%s-%s.plan" % (onnx.stem, precision, device))


def build_detector(
    onnx: Path, options: BuildOptions, folder: Path, kind: Optional[str] = None
) -> Dict[str, Any]:
    """Build a plan, compare it with ONNX Runtime, and put it with its stamp into a folder.

    Args:
        onnx: The detector, with a fixed input size.
        options: What to build; its batch must be ``BATCH`` and its precision fit this TensorRT, see
            choose_precision.
        folder: Where to.
        kind: Name of the network's kind; by default recognised.

    Returns:
        A JSON-serialisable report: ``plan``, ``stamp``, ``size_bytes``, ``build_s``, ``notes``,
        ``reformat_layers``, ``detector`` (kind and input size) and ``self_test``, which is None
        where ONNX Runtime cannot run the model here.

    Raises:
        ReidEdgeError: No such file, TensorRT is missing or cannot build this, or the network is no
            known detector; nothing is left behind.
        VerificationError: The plan finds other boxes than ONNX Runtime; it was deleted.
    """
    if not onnx.is_file():
        raise ReidEdgeError("Detector %s is not a file; check the path." % onnx)

    def test(candidate: Path) -> Dict[str, Any]:
        runner = TensorRTRunner(candidate, onnx=onnx)
        try:
            detector = NetworkDetector(runner, kind)
            notes: List[str] = []
            result = self_test(detector, runner, onnx, options.precision, notes.append)
            return {
                "detector": {"kind": detector.kind.name, "input_size": list(runner.input_size)},
                "self_test": result,
                "reformat_layers": runner.layer_reformats(),
                "self_test_notes": notes,
            }
        finally:
            runner.close()

    report = make_plan(
        plan_path(onnx, folder, options.precision, options.device),
        options,
        onnx_folder=folder,
        with_outputs=True,
        build=lambda trt, cache: build_from_onnx(
            trt, onnx, options, cache, lambda network: _check_network(network, onnx)
        ),
        fits=lambda plan, board: check_detector_plan(plan, board, onnx),
        test=test,
    )
    report["notes"] += report.pop("self_test_notes")
    return report


def self_test(
    detector: NetworkDetector,
    runner: Runner,
    onnx: Path,
    precision: str,
    note: Callable[[str], None],
) -> Optional[Dict[str, Any]]:
    """Compare a detector with its ONNX file on drawn pictures.

    Args:
        detector: The detector under test, which prepares and decodes.
        runner: Its network.
        onnx: The file it was made from.
        precision: ``"fp32"`` or ``"fp16"``.
        note: Takes a sentence where the two cannot be compared.

    Returns:
        ``pictures``, ``min_cosine``, ``min_overlap``, ``largest_score_change`` and the two
        thresholds, or None where ONNX Runtime cannot run the file here.

    Raises:
        VerificationError: Scores or boxes differ by more than the thresholds, or are not finite.
    """
    reference = None
    try:
        reference = OnnxRunner(onnx)
    except ReidEdgeError as error:
        note("The plan's boxes could not be compared with those of the model: %s" % error)
    try:
        results = [_on_picture(detector, runner, reference, seed) for seed in range(PICTURES)]
    finally:
        if reference is not None:
            reference.close()
    if reference is None:
        return None
    worst = {
        "min_cosine": float(np.min([result["cosine"] for result in results])),
        "min_overlap": float(np.min([result["overlap"] for result in results])),
        "largest_score_change": float(np.max([result["score_change"] for result in results])),
    }
    least = MIN_COSINE[precision], MIN_OVERLAP[precision]
    if not (worst["min_cosine"] >= least[0] and worst["min_overlap"] >= least[1]):  # also NaN
        raise VerificationError(
            "The plan failed its self-test: against ONNX Runtime the cosine of its scores is %.4f and "
            "the overlap of its best boxes %.3f at worst, expected at least %g and %g; the plan was "
            "deleted, try --precision fp32 or --device gpu."
            % (worst["min_cosine"], worst["min_overlap"], *least)
        )
    return {"pictures": PICTURES, **worst, "cosine_needed": least[0], "overlap_needed": least[1]}


def _on_picture(detector, runner, reference, seed):
    """The comparison on one picture; empty without a reference."""
    batch, letterbox = detector.prepare(draw_street(seed))
    outputs = runner(batch)
    try:
        detector.decode(outputs, letterbox)
        ours = _every_cell(detector.kind, outputs, runner.input_size)
    except ReidEdgeError as error:
        raise VerificationError(
            "The plan failed its self-test on a drawn picture (%s); the plan was deleted, try "
            "--precision fp32." % str(error).rstrip(".")
        ) from None
    if reference is None:
        return {}
    return compare(ours, _every_cell(detector.kind, reference(batch), runner.input_size))


def compare(ours: Candidates, theirs: Candidates) -> Dict[str, float]:
    """How far two executions of one network agree, cell by cell.

    Args:
        ours, theirs: All cells' boxes and scores, in the same order.

    Returns:
        ``cosine`` of the scores, ``overlap`` (the smallest intersection over union among the
        ``BEST`` boxes that ``theirs`` is surest of) and ``score_change``; NaN where undefined.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(ours.scores) * np.linalg.norm(theirs.scores)
        cosine = float(ours.scores @ theirs.scores / lengths)
        best = np.argsort(-theirs.scores, kind="stable")[:BEST]
        overlaps = np.diag(iou(ours.boxes[best], theirs.boxes[best]))
    change = np.abs(ours.scores - theirs.scores).max()
    return {"cosine": cosine, "overlap": float(overlaps.min()), "score_change": float(change)}


def _every_cell(kind: Kind, outputs: List[np.ndarray], size: Size) -> Candidates:
    return kind.decode(outputs, size, -1.0, 0)


def _check_network(network, onnx: Path) -> None:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3 or shapes[0][0] not in (1, -1):
        raise ReidEdgeError(
            "A detector takes one image (1, 3, height, width), but %s takes %s; export it with batch "
            "1." % (onnx.name, ", ".join(map(str, shapes)))
        )
    if -1 in shapes[0][2:]:
        raise ReidEdgeError(
            "A plan has one input size and %s leaves height and width open; export it with a fixed "
            "size, such as 640 x 640." % onnx.name
        )
