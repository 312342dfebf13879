"""Compares two stages of the same network on real crops and finds where they part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from benchmarks.metrics import rank_agreement
from export.graph import Graph
from runtime.backends.onnxruntime import make_session
from runtime.errors import VerificationError
from runtime.preprocess import l2_normalize

Runner = Callable[[np.ndarray], np.ndarray]

# Float stages must agree up to rounding. A quantized stage must still point the same way: below
# these cosines ranking breaks down, whatever mAP on one data set says.
FLOAT_RELATIVE_L2 = 1e-4
QUANTIZED_MEAN_COSINE = {"fp16": 0.999, "int8": 0.97}
_LAYER_RELATIVE_L2 = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.5}


@dataclass(frozen=True)
class Parity:
    """How far the embeddings of two stages are apart, over N crops.

    Attributes:
        n: Number of crops.
        relative_l2_max: Largest |candidate - reference| / |reference| of a crop.
        cosine_min, cosine_p1, cosine_mean: Of each crop's pair of embeddings.
        abs_max: Largest absolute difference of an entry, before normalisation.
        rank_top1, rank_overlap: Percentage of crops with the same nearest neighbour, and mean
            overlap of the ten nearest in percent, when each crop is ranked against the others.
    """

    n: int
    relative_l2_max: float
    cosine_min: float
    cosine_p1: float
    cosine_mean: float
    abs_max: float
    rank_top1: float
    rank_overlap: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(reference: np.ndarray, candidate: np.ndarray) -> Parity:
    """Compare (N, D) embeddings of the same crops; the reference's must be finite."""
    if not np.isfinite(candidate).all():  # no order, no angle: worse than any tolerance
        return Parity(len(reference), np.inf, np.nan, np.nan, np.nan, np.inf, 0.0, 0.0)
    difference = candidate.astype(np.float64) - reference
    norms = np.linalg.norm(reference, axis=1)
    cosines = np.sum(l2_normalize(reference) * l2_normalize(candidate), axis=1)
    ranks = rank_agreement(reference, candidate) if len(reference) > 2 else None
    return Parity(
        n=len(reference),
        relative_l2_max=float(
            (np.linalg.norm(difference, axis=1) / np.maximum(norms, 1e-12)).max()
        ),
        cosine_min=float(cosines.min()),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_mean=float(cosines.mean()),
        abs_max=float(np.abs(difference).max()),
        rank_top1=float(ranks.top1) if ranks else 100.0,
        rank_overlap=float(ranks.overlap) if ranks else 100.0,
    )


def check(
    stage: str,
    precision: str,
    parity: Parity,
    locate: Callable[[], str | None],
) -> Parity:
    """Return ``parity`` if it is within the tolerance of ``precision``.

    Args:
        stage: Name for the message.
        precision: "fp32" (float rounding only), "fp16" or "int8".
        parity: The measurement.
        locate: Called on failure; names the first layer that diverges.

    Raises:
        VerificationError: Out of tolerance, or not finite.
    """
    if precision == "fp32":
        failed = not parity.relative_l2_max <= FLOAT_RELATIVE_L2
        what = "relative L2 error %.2e (allowed %.0e)" % (parity.relative_l2_max, FLOAT_RELATIVE_L2)
    else:
        floor = QUANTIZED_MEAN_COSINE[precision]
        failed = not parity.cosine_mean >= floor
        what = "mean cosine %.4f (required %.3f)" % (parity.cosine_mean, floor)
    if failed:
        layer = locate()
        where = "; the first layer that diverges is %s" % layer if layer else ""
        raise VerificationError(
            "%s does not reproduce the network it was made from: %s over %d crops%s."
            % (stage, what, parity.n, where)
        )
    return parity


def layer_errors(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, images: np.ndarray
) -> dict[str, float]:
    """Relative L2 error of every node's output, in graph order.

    Args:
        reference, candidate: Two models with the same tensor names (quantization only adds some).
        images: A few inputs, (N, 3, H, W) float32.

    Returns:
        node name -> |candidate - reference| / |reference| over all images.
    """
    a, b = Graph(reference), Graph(candidate)
    shared = {t for n in b.nodes for t in n.output}
    outputs = [(n.name, n.output[0]) for n in a.nodes if n.output[0] in shared]
    names = [tensor for _, tensor in outputs]
    left, right = _run_all(reference, names, images), _run_all(candidate, names, images)
    return {
        node: float(np.linalg.norm(y - x) / max(float(np.linalg.norm(x)), 1e-12))
        for (node, _), x, y in zip(outputs, left, right)
    }


def first_divergence(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, images: np.ndarray, precision: str
) -> str | None:
    """Name of the first node, in graph order, whose output differs by more than the tolerance.

    Args:
        reference, candidate, images: As ``layer_errors``.
        precision: Precision of the candidate.
    """
    for node, error in layer_errors(reference, candidate, images).items():
        if not error <= _LAYER_RELATIVE_L2[precision]:
            return "%s (relative error %.2g)" % (node, error)
    return None


def _run_all(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> list[np.ndarray]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    have = {o.name for o in tapped.graph.output}
    tapped.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
    session = make_session(tapped.SerializeToString())
    return session.run(names, {session.get_inputs()[0].name: images})
