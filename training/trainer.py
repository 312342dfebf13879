"""The training loop: steps, epochs, judging, saving, and stopping cleanly."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.adapters.native import save_network
from runtime.contract import EmbeddingContract
from runtime.errors import ReidEdgeError
from training.blend import StartBlend
from training.curves import draw_curves
from training.distributed import Processes
from training.ema import EmaNetwork
from training.evaluate import evaluate
from training.learner import Learner
from training.loader import Batch
from training.optimizer import build_optimizer, set_backbone_frozen
from training.position import Position
from training.progress import Progress
from training.run_folder import replace_file
from training.said import JUDGED, accuracy_of, epoch_line, not_finite
from training.schedule import LearningRate
from training.task import Task

SAVE_EVERY_S = 600.0
DRAW_EVERY_S = 60.0
_LOG = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


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
        self.blend = StartBlend(task.network, recipe.keep_start) if recipe.keep_start else None
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
        """The network that is saved and evaluated: the running mean, where there is one, mixed
        with the start, where the recipe asks for it."""
        network = self.ema.network if self.ema else self.task.network
        return self.blend.mixed(network) if self.blend else network

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
            if self.task.judge_start and (self.position.epoch, self.position.step) == (0, 0):
                self._judge_start()
            while self.position.epoch < epochs:
                self._epoch(bar)
        finally:
            bar.close()
        return self.position.history[-1]

    def _judge_start(self) -> None:
        """Judge the network before the first step: training may make it worse."""
        if self.processes.first and self.task.evaluation is not None:
            self.position.start = self._evaluate()
            self._keep_if_best({"epoch": 0, **self.position.start})
            _LOG.log(JUDGED, "start: %s", accuracy_of(self.position.start))
        self.processes.wait()

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
            raise ReidEdgeError(self._not_finite(batch, total.detach(), losses))
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

    def _not_finite(self, batch: Batch, total: Tensor, losses: Tensor) -> str:
        # Gradients are averaged, so one process's NaN is in all; its loss says whose batch it was.
        finite = bool(torch.isfinite(total))
        # Every process asks, whatever its own loss is: the question is a collective one.
        if not self.processes.agree(finite) and finite:
            return "The loss of another process is not finite; see the batch that it names."
        position, folder = self.position, self.task.folder
        return not_finite(
            where=f"epoch {position.epoch + 1}, step {position.step + 1}",
            losses=dict(zip(self.learner.loss_names, losses.tolist())),
            batch=[self.task.paths[i] for i in batch.indices.tolist()],
            folder=folder.path,
            last=folder.last if folder.last.exists() else None,
            learning_rate=self.task.recipe.optimizer.learning_rate,
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
            level = JUDGED if "mAP" in row else logging.INFO
            _LOG.log(level, "%s", epoch_line(row, recipe.schedule.epochs))
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
        self._keep_if_best(row)
        folder.write_curves(position.history)
        now = time.monotonic()
        if now - self._drawn > DRAW_EVERY_S or position.epoch == recipe.schedule.epochs:
            title = f"{recipe.name}: {recipe.network.arch}"
            replace_file(
                folder.curves_png,
                lambda p: draw_curves(position.history, title, p, position.start),
            )
            self._drawn = now
        self._save_state()

    def _keep_if_best(self, row: dict[str, float]) -> None:
        position = self.position
        if row.get("mAP", -1.0) > position.best:
            position.best, position.best_epoch = row["mAP"], int(row["epoch"])
            self._save_network(self.task.folder.best, row)

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
                "start": self.blend and self.blend.state_dict(),
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
        if self.blend:
            self.blend.load_state_dict(state["start"])
        torch.set_rng_state(state["random"])
