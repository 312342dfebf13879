"""Quantization-aware fine-tuning, on the very graph that reid-export will quantize.

The network is traced and folded as for an export, and fake quantization stands where the export's
Q/DQ pairs will be (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018; scales learned as in Esser et al., "Learned Step Size
Quantization", ICLR 2020). BatchNorm is frozen with its folded statistics. What was learned goes back
into the network's own state dict, so the checkpoint stays one of its codebase; the scales of
activations become a calibration table, and weights keep scales from their maxima, so checkpoint
and table together are all an export needs to make the trained INT8 network again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import length_hint
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.table import CalibrationTable
from models.checkpoint import LoadedNetwork
from runtime.errors import ReidEdgeError
from training.qat_options import QatOptions
from training.qat_student import Student, teacher
from training.qat_task import Embed, QatTask
from training.qat_unfold import State

__all__ = ["QatOptions", "QatResult", "quantization_aware_finetune"]

Batches = Callable[[int], Iterable[tuple[Any, Any]]]
Objective = Callable[[Tensor, Tensor], Tensor]
Judge = Callable[[Embed], float]

WARMUP, MAX_WARMUP_STEPS = 0.1, 50  # share of all steps


@dataclass
class QatResult:
    """What fine-tuning has made.

    Attributes:
        state_dict: For ``LoadedNetwork.network``; on the CPU.
        table: Calibration table with the learned ranges, for reid-export.
        losses: Of every step.
        frozen: Name of each convolution or linear layer that was not (or not wholly) trained -> why.
        scores: What the judge said before training, and behind each epoch.
        kept_epoch: Whose state this is; 0: no epoch was better than the start, where only ranges,
            equalisation and biases were set.
    """

    state_dict: State
    table: CalibrationTable
    losses: list[float]
    frozen: dict[str, str]
    scores: list[float]
    kept_epoch: int = 0

    @property
    def summary(self) -> str:
        """One sentence on whether it was worth it."""
        first, best = self.scores[0], self.scores[self.kept_epoch]
        if not self.kept_epoch:
            return (
                "No epoch scored better than the start (%.6g, at most %.6g behind an epoch), so the "
                "network is kept as it was before fine-tuning, with its ranges and biases set."
                % (first, max(self.scores[1:], default=math.nan))
            )
        return (
            "Fine-tuning took the score from %.6g to %.6g; the state behind epoch %d of %d is kept."
            % (
                first,
                best,
                self.kept_epoch,
                len(self.scores) - 1,
            )
        )


def quantization_aware_finetune(
    loaded: LoadedNetwork,
    batches: Batches,
    calibration: np.ndarray,
    options: QatOptions,
    *,
    objective: Objective | None = None,
    judge: Judge | None = None,
    progress: Callable[[int, float], object] | None = None,
) -> QatResult:
    """Fine-tune a network as it will run in INT8.

    Args:
        loaded: The float network; it is not changed.
        batches: ``batches(epoch)`` yields (images (N, 3, H, W) float32 prepared for the network,
            labels) of one epoch, as arrays or tensors. Labels are not read without an objective.
        calibration: (M, 3, H, W) float32 prepared training crops, to find ranges and to judge on.
        options: How.
        objective: (quantized embedding (N, D), labels) to a scalar loss, e.g. classification. If it
            is a module, its parameters are trained along, in place. None: distillation alone, that
            is 1 - cosine to the float network's embedding of the same images, which needs no labels.
        judge: Gets a function (N, 3, H, W) -> (N, D) that runs the quantized network, returns a
            score (more is better) before training and after each epoch; the best state is kept.
            Default: mean cosine to the float network on the calibration crops. With an objective,
            which means to leave the float network, give one that sees labels (a mAP).
        progress: Called as ``progress(epoch, loss)`` after every step.

    Returns:
        The best state with its table, and what happened.

    Raises:
        ReidEdgeError: The network has nothing to quantize or parts that carry no value, a batch
            does not fit, an epoch is empty, or the loss is not finite.
        VerificationError: The network does not compute what was trained in its graph.
    """
    loaded = replace(loaded, network=copy.deepcopy(loaded.network).cpu().eval())
    _check_images(calibration, loaded, "the calibration crops")
    task = QatTask.of(loaded, calibration, options)
    student = task.start()
    task.written_back(student)  # a fault shows before the long work
    score = judge or task.cosine
    best, kept = student.state(), 0
    scores, losses = [score(student.embed)], []
    if not math.isfinite(scores[0]):
        raise ReidEdgeError(
            "The quantized network's score before fine-tuning must be a number, got %r; check the "
            "judge and the calibration crops." % scores[0]
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        tuner = _Tuner(task, student, objective)
        for epoch in range(options.epochs):
            losses += tuner.epoch(epoch, batches, progress)
            scores.append(score(student.embed))
            if scores[-1] > scores[kept]:
                best, kept = student.state(), epoch + 1
    student.load_state_dict(best)
    state = task.written_back(student)
    record = {
        "from": "quantization-aware fine-tuning",
        "target": options.target,
        "keep_float": sorted(task.keep_float),  # so that reid-export quantizes the same layers
        "crops": len(calibration),
        "epochs": options.epochs,
        "kept_epoch": kept,
        "scores": scores,
    }
    table = task.table(state, student, record)
    return QatResult(state, table, losses, task.frozen(student), scores, kept)


# -- parts ---------------------------------------------------------------------------------------


class _Tuner:
    """The optimizer and its losses."""

    def __init__(self, task: QatTask, student: Student, objective: Objective | None):
        options = task.options
        self._task, self._student, self._objective = task, student, objective
        self._teacher = teacher(task.graph, options.device)
        groups = student.parameter_groups(options.learning_rate, options.scale_rate)
        if isinstance(objective, nn.Module):
            objective.to(options.device)
            learned = [p for p in objective.parameters() if p.requires_grad]
            groups += [{"params": learned, "lr": options.objective_rate}] if learned else []
        self._peaks = [group["lr"] for group in groups]
        self._optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
        self._steps = 0

    def epoch(self, epoch: int, batches: Batches, progress) -> list[float]:
        """One pass over ``batches(epoch)``; returns the losses."""
        options, source = self._task.options, batches(epoch)
        count, losses = length_hint(source), []
        for i, (images, labels) in enumerate(source):
            # Without a known length the rate falls from epoch to epoch only.
            done = epoch + (min(i / count, 1.0) if count else 0.0)
            self._set_rate(done / options.epochs, WARMUP * count * options.epochs)
            loss = self._loss(images, labels)
            if not torch.isfinite(loss):
                raise ReidEdgeError(
                    "The loss of quantization-aware training became %s in epoch %d, step %d; lower "
                    "the learning rate (%g)."
                    % (float(loss.detach()), epoch + 1, i + 1, options.learning_rate)
                )
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(float(loss.detach()))
            if progress is not None:
                progress(epoch, losses[-1])
        if not losses:
            raise ReidEdgeError(
                "Epoch %d of quantization-aware training got no batches; give at least one."
                % (epoch + 1)
            )
        return losses

    def _loss(self, images, labels) -> Tensor:
        _check_images(images, self._task.loaded, "a batch")
        options = self._task.options
        pixels = torch.as_tensor(images).to(options.device)
        embedding = self._student(pixels)
        with torch.no_grad():
            wanted = F.normalize(self._teacher(pixels))
        loss = (1.0 - (F.normalize(embedding) * wanted).sum(1)).mean()
        if self._objective is None:
            return loss
        labels = torch.as_tensor(labels).to(options.device)
        return self._objective(embedding, labels) + options.distill_weight * loss

    def _set_rate(self, done: float, warmup_steps: float) -> None:
        """Cosine from the peak to zero over all epochs, behind a linear warm-up."""
        self._steps += 1
        warm = min(self._steps / min(warmup_steps or math.inf, MAX_WARMUP_STEPS), 1.0)
        factor = warm * 0.5 * (1.0 + math.cos(math.pi * done))
        for group, peak in zip(self._optimizer.param_groups, self._peaks):
            group["lr"] = peak * factor


def _check_images(images: np.ndarray | Tensor, loaded: LoadedNetwork, what: str) -> None:
    expected = (*images.shape[:1], *loaded.input.shape)
    if tuple(images.shape) != expected or not len(images) or "float32" not in str(images.dtype):
        raise ReidEdgeError(
            "Quantization-aware training needs %s as float32 of shape (N, %s), got %s of shape %s; "
            "prepare them as the network's input contract says."
            % (what, ", ".join(map(str, loaded.input.shape)), images.dtype, tuple(images.shape))
        )
