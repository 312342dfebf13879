"""One process or many: torch's own process group, started by ``torchrun``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from runtime.errors import ReidEdgeError

# The others wait while the first embeds a training set with the teacher, or evaluates.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Processes:
    """This process among all that train together.

    Attributes:
        rank: Number of this process, 0 writes files.
        world_size: Processes in all.
        device: Where this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def agree(self, value: bool) -> bool:
        """True if ``value`` is true in every process."""
        if self.world_size == 1:
            return value
        flag = torch.tensor(float(value), device=self.device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MIN)
        return bool(flag.item())

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.world_size == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.world_size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            distributed.barrier()

    def close(self) -> None:
        """Leave the group."""
        if distributed.is_initialized():
            distributed.destroy_process_group()


def join(device: str | None = None) -> Processes:
    """Join the group that ``torchrun`` started, or stand alone.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; default: CUDA where there is one. ``"cuda"`` is
            the GPU of this process's number on its machine.

    Raises:
        ReidEdgeError: No such device.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"), local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size > 1 and not distributed.is_initialized():
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
    return Processes(rank, world_size, chosen)


def _device(name: str, local_rank: int) -> torch.device:
    """The device of a name, checked."""
    known = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if known is None:
        raise ReidEdgeError(f"Expected the device cpu, cuda or cuda:1, got {name!r}.")
    if name == "cpu":
        return torch.device("cpu")
    number = int(known[1] or local_rank)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= found:
        raise ReidEdgeError(
            f"Device cuda:{number} was asked for, but torch sees {found} CUDA device(s) here; use "
            "another --device or fewer processes."
        )
    return torch.device("cuda", number)
