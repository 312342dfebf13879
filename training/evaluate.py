"""Retrieval accuracy of a network in training."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.accuracy import measure_accuracy
from benchmarks.datasets import RetrievalSet
from runtime.contract import EmbeddingContract, InputContract


def evaluate(
    network: nn.Module,
    dataset: RetrievalSet,
    contract: InputContract,
    embedding: EmbeddingContract,
    *,
    batch: int = 128,
    progress: bool = True,
) -> dict[str, float]:
    """mAP and Rank-k in percent, in float32 whatever the training precision.

    Args:
        network: (N, 3, H, W) prepared pixels to (N, D); put into eval mode and back.
        dataset: Queries and gallery.
        contract, embedding: As ``benchmarks.accuracy.measure_accuracy``.
        batch, progress: Likewise.
    """
    device = next(network.parameters()).device
    training = network.training

    def run(pixels):
        with torch.inference_mode():
            return network(torch.from_numpy(pixels).to(device)).float().cpu().numpy()

    network.eval()
    try:
        report = measure_accuracy(
            {"fp32": run}, dataset, contract, embedding, batch=batch, progress=progress, resamples=0
        )
    finally:
        network.train(training)
    return report.results["fp32"].to_dict()
