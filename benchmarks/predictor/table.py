"""The kernels of many inferences as arrays, so that a model evaluates all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Dict, NamedTuple, Sequence, Tuple

import numpy as np

from benchmarks.predictor.boards import Clocks
from benchmarks.predictor.cost import Kernel, NetworkCost


@dataclass(frozen=True)
class Job:
    """One inference to predict.

    Attributes:
        network: What runs.
        unit: "gpu", "dla" or "bpu".
        precision: "fp32", "fp16" or "int8".
        batch: Images per inference.
        clocks: Of the board's power mode.
        tuned: An MLPerf submission: CUDA graphs, kernels fused by hand.
        dequantize: The outputs' conversion to float is part of it (X3).
    """

    network: NetworkCost
    unit: str
    precision: str
    batch: int
    clocks: Clocks
    tuned: bool = False
    dequantize: bool = True


class Columns(NamedTuple):
    """Per kernel and image: the numbers of ``cost.Kernel`` as float64 arrays."""

    rows: np.ndarray
    columns: np.ndarray
    channels: np.ndarray  # input channels of one group
    window: np.ndarray  # elements of the filter
    side: np.ndarray  # its width
    groups: np.ndarray
    weights: np.ndarray
    reads: np.ndarray
    writes: np.ndarray
    height: np.ndarray  # of the map whose positions are the rows
    width: np.ndarray
    dense: np.ndarray  # bool: convolution or matrix product
    depthwise: np.ndarray  # bool
    int8: np.ndarray  # bool


def _numbers(kernel: Kernel) -> Tuple[float, ...]:
    gemm = kernel.gemm
    transposed = "convtranspose" in kernel.functions
    spatial = kernel.op in ("conv", "depthwise") and not transposed
    window = kernel.window[0] * kernel.window[1] if spatial else 1
    positions = kernel.input if transposed else kernel.output
    return (
        gemm.rows if gemm else 0,
        gemm.columns if gemm else 0,
        gemm.depth // window if gemm else 0,
        window,
        kernel.window[1] if spatial else 1,
        gemm.groups if gemm else 0,
        kernel.weights,
        kernel.reads,
        kernel.writes,
        positions.height,
        positions.width,
        kernel.op in ("conv", "gemm", "matmul"),
        kernel.op == "depthwise",
        kernel.int8,
    )


@lru_cache(maxsize=256)
def columns_of(network: NetworkCost) -> Columns:
    """The columns of one network."""
    values = np.array([_numbers(kernel) for kernel in network.kernels], np.float64)
    arrays = list(values.reshape(-1, len(Columns._fields)).T)
    flags = len(Columns._fields) - 3
    return Columns(*arrays[:flags], *(array > 0 for array in arrays[flags:]))


class Table:
    """Kernels of several jobs, one after another.

    Attributes:
        jobs: The jobs.
        kernel: Columns of all kernels.
        job: For each kernel the number of its job.
        batch: For each kernel the batch of its job.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = tuple(jobs)
        parts = [columns_of(job.network) for job in self.jobs]
        self.kernel = Columns(*(np.concatenate(arrays) for arrays in zip(*parts)))
        self.job = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        self.batch = self.per_kernel(lambda job: job.batch)

    def per_job(self, value: Callable[[Job], float]) -> np.ndarray:
        """A number of each job."""
        return np.array([value(job) for job in self.jobs], np.float64)

    def per_kernel(self, value: Callable[[Job], float]) -> np.ndarray:
        """A number of each job, repeated for its kernels."""
        return self.per_job(value)[self.job]

    def from_kernels(self, value: Callable[[Kernel], float]) -> np.ndarray:
        """A number of each kernel."""
        return np.array([value(k) for job in self.jobs for k in job.network.kernels], np.float64)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of a per-kernel array over each job."""
        return np.bincount(self.job, values, len(self.jobs))


Terms = Dict[str, np.ndarray]
"""Name of a term to its milliseconds per job; they add up to the latency."""


def round_up(values: np.ndarray, multiple) -> np.ndarray:
    """The next multiple of ``multiple``."""
    return np.ceil(values / multiple) * multiple
