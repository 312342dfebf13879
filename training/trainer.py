"""The training loop: steps, epochs, judging, saving, and stopping cleanly."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.adapters.native import save_network
from runtime.contract import EmbeddingContract
from runtime.errors import ReidEdgeError
from training.curves import draw_curves
from training.distributed import Processes
from training.ema import EmaNetwork
from training.evaluate import evaluate
from training.learner import Learner
from training.loader import Batch
from training.optimizer import build_optimizer, set_backbone_frozen
from training.progress import Progress
from training.run_folder import replace_file
from training.schedule import LearningRate
from training.task import Task

SAVE_EVERY_S = 600.0
DRAW_EVERY_S = 60.0
_LOG = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


@dataclass
class Position:
    """Where a run is: saved with the weights.

    Attributes:
        epoch, step: Next step to do.
        losses: Sums of the epoch's losses so far, in the order of the learner.
        total: Sum of the weighted loss.
        elapsed_s: Time spent training, over all interruptions.
        history: One row per finished epoch.
        best: Best mAP so far.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    total: float = 0.0
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -1.0


class Trainer:
    """Runs a task to its end, or until asked to stop.

    Args:
        task: See ``Task``.
        processes: This process among all.
        progress: Makes progress bars.
    """

    def __init__(self, task: Task, processes: Processes, progress: Progress):
        self.task, self.processes, self._progress = task, processes, progress
        recipe = task.recipe
        teacher_dim = None
        if isinstance(task.teacher, Tensor):
            teacher_dim = task.teacher.shape[-1]
        elif task.teacher is not None:
            teacher_dim = task.teacher.dim
        self.learner = Learner(
            task.network,
            recipe.network.input_contract(),
            recipe.losses,
            int(task.labels.max()) + 1,
            teacher_dim,
            bf16=recipe.precision == "bf16",
        ).to(processes.device)
        self.learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.learner, recipe.optimizer)
        self.ema = EmaNetwork(task.network, recipe.ema.decay) if recipe.ema else None
        self._model: nn.Module = self.learner
        if processes.world_size > 1:
            self._model = DistributedDataParallel(
                self.learner,
                device_ids=[processes.device] if processes.device.type == "cuda" else None,
                find_unused_parameters=recipe.schedule.freeze_backbone_epochs > 0
                or not self.learner.trains_neck,
            )
        schedule = recipe.schedule
        self.rate = LearningRate(
            schedule.kind,
            schedule.epochs,
            schedule.warmup_epochs,
            schedule.warmup_factor,
            schedule.milestones,
            schedule.gamma,
            schedule.floor,
        )
        self.labels = torch.from_numpy(task.labels).to(processes.device)
        self.bank = None
        if isinstance(task.teacher, Tensor) and recipe.losses.distill_similarity.bank:
            self.bank = task.teacher[0].to(processes.device)
        self.position = Position()
        self._stop = False
        self._drawn = -math.inf  # when the curves were last drawn

    @property
    def judged(self) -> nn.Module:
        """The network that is saved and evaluated: the running mean, where there is one."""
        return self.ema.network if self.ema else self.task.network

    def request_stop(self) -> None:
        """Stop behind the current step; safe to call from a signal handler."""
        self._stop = True

    def run(self) -> dict[str, Any]:
        """Train to the end.

        Returns:
            The last epoch's row of the history.

        Raises:
            Interrupted: ``request_stop`` was called; the state is saved.
            ReidEdgeError: Loss or gradient is not finite, or a file cannot be written.
        """
        epochs = self.task.recipe.schedule.epochs
        steps = self.task.sampler.steps
        bar = self._progress("training", epochs * steps)
        bar.update(self.position.epoch * steps + self.position.step)
        try:
            while self.position.epoch < epochs:
                self._epoch(bar)
        finally:
            bar.close()
        return self.position.history[-1]

    def _epoch(self, bar) -> None:
        position, task = self.position, self.task
        plan = task.sampler.epoch(position.epoch)
        self._model.train()
        frozen = position.epoch < task.recipe.schedule.freeze_backbone_epochs
        set_backbone_frozen(self.learner, frozen)
        batches = task.loader.batches(
            plan, position.epoch, position.step, self.processes.rank, self.processes.world_size
        )
        saved = started = time.monotonic()
        for batch in batches:
            total, losses = self._step(batch, position.epoch + position.step / len(plan))
            sums = position.losses or [0.0] * len(losses)
            position.losses = [s + v for s, v in zip(sums, losses)]
            position.total += total
            position.step += 1
            bar.set_postfix_str(
                f"epoch {position.epoch + 1} loss {position.total / position.step:.3f}"
            )
            bar.update(1)
            now = time.monotonic()
            if self._asked_to_stop():
                position.elapsed_s += now - started
                self._save_state()
                raise Interrupted
            if now - saved > SAVE_EVERY_S:
                position.elapsed_s += now - started
                saved = started = now
                self._save_state()
        position.elapsed_s += time.monotonic() - started
        self._finish_epoch(len(plan))

    def _step(self, batch: Batch, epoch: float) -> tuple[float, list[float]]:
        """One optimizer step; returns the weighted loss and the single ones."""
        rate = self.task.recipe.optimizer.learning_rate * self.rate.at(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = self.processes.device
        labels = self.labels[batch.indices.to(device)]
        total, losses = self._model(
            batch.images.to(device), labels, self._teacher_of(batch), self.bank
        )
        self.optimizer.zero_grad()
        total.backward()
        limit = self.task.recipe.optimizer.clip_norm or math.inf
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(weights, limit)
        if not self.processes.agree(bool(torch.isfinite(total.detach() + norm))):
            raise ReidEdgeError(self._not_finite(batch, losses))
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.task.network)
        values = self.processes.mean(torch.cat([total.detach().reshape(1), losses])).tolist()
        return values[0], values[1:]

    def _teacher_of(self, batch: Batch) -> Tensor | None:
        teacher = self.task.teacher
        if teacher is None:
            return None
        if isinstance(teacher, Tensor):
            return teacher[batch.flipped.long(), batch.indices].to(self.processes.device)
        return teacher(batch)

    def _not_finite(self, batch: Batch, losses: Tensor) -> str:
        paths = [self.task.paths[i] for i in batch.indices.tolist()]
        names = [f"{path.parent.name}/{path.name}" for path in paths]  # as folders name the person
        values = ", ".join(f"{n} {v:.3g}" for n, v in zip(self.learner.loss_names, losses.tolist()))
        position = self.position
        kept = "no checkpoint was written yet"
        if self.task.folder.last.exists():
            kept = f"{self.task.folder.last} is the last good network"
        return (
            f"The loss or its gradient is not finite in epoch {position.epoch + 1}, step "
            f"{position.step + 1} ({values}), batch of {len(names)} images: {', '.join(names)}; "
            f"lower optimizer.learning_rate or set optimizer.clip_norm ({kept})."
        )

    def _finish_epoch(self, steps: int) -> None:
        position, recipe = self.position, self.task.recipe
        row: dict[str, float] = {
            "epoch": position.epoch + 1,
            "learning_rate": recipe.optimizer.learning_rate * self.rate.at(position.epoch + 1),
            "total_loss": position.total / steps,
        }
        for name, value in zip(self.learner.loss_names, position.losses):
            row[f"{name}_loss"] = value / steps
        last = position.epoch + 1 == recipe.schedule.epochs
        due = (position.epoch + 1) % recipe.evaluate_every_epochs == 0
        if self.processes.first and self.task.evaluation is not None and (due or last):
            row.update(self._evaluate())
        row["elapsed_s"] = round(position.elapsed_s, 1)
        position.history.append(row)
        position.epoch, position.step, position.losses, position.total = (
            position.epoch + 1,
            0,
            [],
            0.0,
        )
        if self.processes.first:
            self._write(row)
            _LOG.info("%s", _line(row, recipe.schedule.epochs))
        self.processes.wait()
        if self._asked_to_stop() and not last:
            raise Interrupted

    def _asked_to_stop(self) -> bool:
        return not self.processes.agree(not self._stop)

    def _evaluate(self) -> dict[str, float]:
        network = self.task.network
        assert self.task.evaluation is not None
        return evaluate(
            self.judged,
            self.task.evaluation,
            self.task.recipe.network.input_contract(),
            EmbeddingContract(dim=network.dim, feature=network.feature, l2_normalize=True),
        )

    def _write(self, row: dict[str, float]) -> None:
        """The files of a finished epoch; the state last, so that it never claims too much."""
        folder, position, recipe = self.task.folder, self.position, self.task.recipe
        self._save_network(folder.last, row)
        if row.get("mAP", -1.0) > position.best:
            position.best = row["mAP"]
            self._save_network(folder.best, row)
        folder.write_curves(position.history)
        now = time.monotonic()
        if now - self._drawn > DRAW_EVERY_S or position.epoch == recipe.schedule.epochs:
            title = f"{recipe.name}: {recipe.network.arch}"
            replace_file(folder.curves_png, lambda p: draw_curves(position.history, title, p))
            self._drawn = now
        self._save_state()

    def _save_network(self, path, row: dict[str, float]) -> None:
        notes = {**self.task.provenance, "epoch": int(row["epoch"])}
        if "mAP" in row:
            notes["mAP"] = round(row["mAP"], 2)
        save_network(path, self.judged, self.task.recipe.network, notes)

    def _save_state(self) -> None:
        if not self.processes.first:
            return
        self.task.folder.save_state(
            {
                "position": dict(vars(self.position)),
                "learner": self.learner.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema and self.ema.state_dict(),
                "random": torch.get_rng_state(),
                "fingerprint": self.task.fingerprint,
                "world_size": self.processes.world_size,
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state of the same task."""
        self.position = Position(**state["position"])
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        torch.set_rng_state(state["random"])


def _line(row: dict[str, float], epochs: int) -> str:
    """An epoch for people who read a log."""
    names = {"mAP": "mAP", "rank1": "Rank-1"}
    judged = "".join(f", {label} {row[key]:.2f}" for key, label in names.items() if key in row)
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['total_loss']:.4f}{judged}, "
        f"{row['elapsed_s']:.0f} s"
    )
