"""Measures what an export is worth: parity, accuracy against fp32, latency on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.accuracy import AccuracyReport, measure_accuracy
from benchmarks.datasets import RetrievalSet
from benchmarks.latency import compare_latency
from export.parity import Parity, check, compare, first_divergence, layer_errors
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import VerificationError

_STEP = 16  # crops per run
_LOCATE_CROPS = 4


def run_torch(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Embeddings (N, D) of the torch network."""
    with torch.no_grad():
        pieces = [
            network(torch.from_numpy(images[i : i + _STEP])).numpy()
            for i in range(0, len(images), _STEP)
        ]
    return np.concatenate(pieces)


def run_onnx(
    model: onnx.ModelProto, images: np.ndarray, threads: int | None, optimize: bool = True
) -> np.ndarray:
    """Embeddings (N, D) of an ONNX model in ONNX Runtime."""
    with open_model(model, threads, optimize) as backend:
        return np.concatenate(
            [backend.run(images[i : i + _STEP]) for i in range(0, len(images), _STEP)]
        )


def open_model(
    model: onnx.ModelProto, threads: int | None, optimize: bool = True
) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(model.SerializeToString(), threads=threads, optimize=optimize)


def check_float(
    stage: str,
    reference: np.ndarray,
    model: onnx.ModelProto,
    before: onnx.ModelProto,
    images: np.ndarray,
    threads: int | None,
) -> Parity:
    """Check a float ONNX stage against the torch network's embeddings.

    Args:
        stage: Name of the stage, for the message.
        reference: (N, D) embeddings of the torch network.
        model: The stage.
        before: The stage before it, to name the layer where they part.
        images: (N, 3, H, W) float32.
        threads: CPU threads.
    """
    parity = compare(reference, run_onnx(model, images, threads))
    return check(
        stage,
        "fp32",
        parity,
        lambda: first_divergence(before, model, images[:_LOCATE_CROPS], "fp32"),
    )


def check_reduced(
    precision: str,
    model: onnx.ModelProto,
    fp32: onnx.ModelProto,
    images: np.ndarray,
    threads: int | None,
) -> Parity:
    """Check an FP16 or INT8 model against the fp32 one on the same images."""
    parity = compare(run_onnx(fp32, images, threads), run_onnx(model, images, threads))
    if precision == "fp16":
        _refuse_overflow(fp32, model, images[:_LOCATE_CROPS])
    stage = "The %s network" % precision.upper()
    return check(
        stage,
        precision,
        parity,
        lambda: first_divergence(fp32, model, images[:_LOCATE_CROPS], precision),
    )


def _refuse_overflow(fp32: onnx.ModelProto, fp16: onnx.ModelProto, images: np.ndarray) -> None:
    # Left alone, ONNX Runtime keeps what passes between two FP16 operators in float, so the embedding
    # does not show an overflow that the board would have; reading every tensor does.
    for node, error in layer_errors(fp32, fp16, images).items():
        if not np.isfinite(error):
            raise VerificationError(
                "The FP16 network overflows: %s goes beyond 65504 on real crops; "
                "export with --precision fp32 or int8." % node
            )


class Judge:
    """Measures mAP of candidates against one fp32 network, which runs over the set only once."""

    def __init__(
        self,
        dataset: RetrievalSet,
        contract: InputContract,
        embedding: EmbeddingContract,
        fp32: onnx.ModelProto,
        threads: int | None,
    ):
        self._dataset, self._contract, self._embedding = dataset, contract, embedding
        self._threads = threads
        self._fp32 = open_model(fp32, threads)
        self._batches: list[np.ndarray] = []

    def measure(self, candidates: dict[str, onnx.ModelProto]) -> AccuracyReport:
        """Accuracy of fp32 and of each candidate, with the paired drops."""
        runners: dict[str, Callable[[np.ndarray], np.ndarray]] = {"fp32": self._replay()}
        for name, model in candidates.items():
            runners[name] = open_model(model, self._threads).run
        return measure_accuracy(runners, self._dataset, self._contract, self._embedding)

    def _replay(self) -> Callable[[np.ndarray], np.ndarray]:
        # measure_accuracy walks the set in the same order and batches every time.
        position = 0

        def run(batch: np.ndarray) -> np.ndarray:
            nonlocal position
            if position == len(self._batches):
                self._batches.append(self._fp32.run(batch).copy())
            position += 1
            return self._batches[position - 1]

        return run


def cpu_latency(
    models: dict[str, onnx.ModelProto], image: np.ndarray, threads: int | None
) -> dict[str, Any]:
    """Latency of each model in ONNX Runtime on this machine, batch 1, interleaved."""
    runners = {name: open_model(model, threads).run for name, model in models.items()}
    return compare_latency(runners, image, warmup=5, repeats=40)
