"""Latency of TensorRT on a Jetson Xavier: its GPU (SM 7.2) and its DLAs.

A convolution is a matrix product, cut into tiles of the output that one streaming multiprocessor
computes each. With T tiles on S multiprocessors that hold two tiles each, it takes

    (waves + ramp) * rows * columns * (depth + fill) * (1 + reuse * (1/rows + 1/columns))
    -------------------------------------------------------------------------------------
       peak multiply-accumulates of a multiprocessor * share * (1 + reuse * 2/128)

where waves = max(1, half steps of T / S) and rows and columns are those of a tile. The last factor is
the traffic a small tile causes (``share`` is what tiles of 128 by 128 reach), ``ramp`` what the first
wave loses before and after full load, ``fill`` the start and end of each tile. TensorRT times
its kernels and keeps the fastest, so the tile size with the least time counts. A kernel takes the
longer of that and of its memory traffic, and a fixed time to start. Between kernels of a network that
is not a CUDA graph the CPU adds its share. Depthwise convolutions and everything without
multiplications are bound by load and store units or by memory.
"""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

import numpy as np

from benchmarks.predictor.cost import Kernel
from benchmarks.predictor.parameters import Parameter
from benchmarks.predictor.table import Job, Table, Terms, round_up

PARAMETERS = (
    Parameter("tensor_fp16", 0.70, 0.3, "Share of the tensor cores' FP16 peak that tiles of 128 by 128 reach."),
    Parameter("int8_share", 0.80, 0.15, "That share in INT8 over the one in FP16: the same kernels, but arithmetic is twice as fast and loads and epilogues are not."),
    Parameter("cores_fp32", 0.70, 0.3, "Share of the CUDA cores' FP32 peak; no figure informs it."),
    Parameter("reuse_elements", 24.0, 0.5, "Tile side at which operand traffic costs as much as arithmetic."),
    Parameter("fill_depth", 96.0, 0.5, "Depth of the product that starting and ending a tile is worth."),
    Parameter("ramp_waves", 0.5, 0.7, "Waves that a kernel loses before and after full load."),
    Parameter("dram", 0.75, 0.2, "Share of the memory bandwidth that kernels reach."),
    Parameter("stream_elements", 8.0, 0.7, "Elements per clock and multiprocessor of kernels that only move or add."),
    Parameter("depthwise_macs", 40.0, 0.5, "Multiply-accumulates per clock and multiprocessor of depthwise filters."),
    Parameter("kernel_us", 9.0, 0.4, "Start and end of a kernel on the GPU; clock scaling of MLPerf's MaxQ shows that it does not follow the GPU clock."),
    Parameter("enqueue_us", 5.0, 0.4, "Gap the CPU leaves before a kernel, at 2265 MHz, without a CUDA graph."),
    Parameter("fixed_ms", 0.06, 0.7, "Start and end of an inference."),
    Parameter("tuned", 0.88, 0.07, "Time of an MLPerf submission over plain TensorRT, beside its CUDA graph: dividiti's plain one needs 12 to 24 % more."),
    Parameter("dla_efficiency", 0.70, 0.3, "Share of a DLA's peak on channels that fill it."),
    Parameter("dla_layer_us", 10.0, 1.0, "Start of a layer on a DLA."),
    Parameter("dla_depthwise", 0.008, 0.7, "The same share on depthwise filters: one of 64 channel lanes works, and few of 32 kernel lanes."),
    Parameter("dla_switch_us", 60.0, 0.7, "Handing over between DLA and GPU; no figure informs it."),
    Parameter("together", 0.93, 0.1, "Rate of GPU and DLAs running together over the sum of their rates: they share the memory."),
)  # fmt: skip

TILES = ((256, 128), (128, 128), (128, 64), (64, 64))
REFERENCE_TILE = 128
VECTOR_ROWS = 8
RESIDENT_TILES = 2
TENSOR_MACS = 512
"""FP16 multiply-accumulates per clock and multiprocessor: 8 tensor cores of 4x4x4."""
CORE_MACS = 64
"""FP32 multiply-accumulates per clock and multiprocessor outside the tensor cores; FP16 does two in
one, INT8 four."""
DLA_MACS = 2048
"""INT8 multiply-accumulates per clock of one DLA: 5.71 TOPS at 1395 MHz, 64 channels by 32 kernels."""
DLA_DRAM = 0.3
"""Share of the memory bandwidth that one DLA can use."""
L2_BYTES = 512 * 1024
REFERENCE_CPU_MHZ = 2265.0
FREE = ("reshape", "flatten", "squeeze", "unsqueeze")
"""Copies that TensorRT does not make."""
FP16_ONLY = ("matmul", "softmax")
"""Without an INT8 kernel in TensorRT 8."""
NOT_ON_DLA = ("matmul", "softmax", "copy", "resize")


class XavierModel:
    """The model of a set of jobs; evaluated for any parameter values.

    Args:
        jobs: On units "gpu" and "dla".
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.table = table = Table(jobs)
        kernel, batch = table.kernel, table.batch
        only_fp16 = table.from_kernels(lambda k: k.op in FP16_ONLY) > 0
        fp32 = table.per_kernel(lambda job: job.precision == "fp32") > 0
        int8 = table.per_kernel(lambda job: job.precision == "int8") > 0
        int8 = int8 & kernel.int8 & ~only_fp16
        self.bytes = np.where(fp32, 4, np.where(int8, 1, 2))
        self.fp32, self.int8 = fp32, int8
        # CUDA cores compute eight times slower than tensor cores on operands twice as large, so what
        # tiles cost beside arithmetic weighs a quarter as much.
        self.light = np.where(fp32, 0.25, 1.0)
        self.starts = table.from_kernels(_starts)
        self.sms = table.per_kernel(lambda job: job.clocks.sms)
        self.gpu_mhz = table.per_kernel(lambda job: job.clocks.gpu_mhz)
        self.bytes_per_us = table.per_kernel(lambda job: job.clocks.gb_per_s) * 1e3
        self.tuned = table.per_job(lambda job: job.tuned) > 0
        lanes = np.where(int8 & (kernel.groups <= 1), 32, np.where(fp32, 1, 8))
        filled = round_up(kernel.channels, np.where(kernel.channels <= 4, 4, lanes))
        self.depth = filled * kernel.window
        self.waves = {tile: self._waves(*tile) for tile in TILES}
        activations = (kernel.reads + kernel.writes) * batch * self.bytes
        self.weight_bytes = kernel.weights * self.bytes
        self.gpu_dram_bytes = self.weight_bytes + np.maximum(activations - L2_BYTES, 0)
        self.dla_dram_bytes = self.weight_bytes + activations
        # A few rows would waste a tile; kernels for matrix times vector do without, and wait for memory.
        self.few_rows = kernel.dense & (kernel.rows * batch <= VECTOR_ROWS)
        self.products = kernel.rows * kernel.columns * self.depth * kernel.groups * batch
        self.vector_macs = CORE_MACS * 4 / self.bytes
        self.streamed = np.maximum(kernel.reads, kernel.writes) * batch
        self.filtered = np.where(kernel.depthwise, kernel.rows * kernel.window * kernel.groups, 0)
        self.filtered = self.filtered * batch
        self.on_dla = table.per_kernel(lambda job: job.unit == "dla") > 0
        self.falls_back = self.on_dla & (table.from_kernels(_falls_back) > 0)
        self.gpu_job = table.per_job(lambda job: job.unit == "gpu") > 0
        slower = REFERENCE_CPU_MHZ / table.per_kernel(lambda job: job.clocks.cpu_mhz)
        graph = self.tuned[table.job] | (self.on_dla & ~self.falls_back)
        self.enqueued = np.where(graph, 0, self.starts * slower)
        self.dla_mhz = table.per_kernel(lambda job: job.clocks.dla_mhz)
        self.dla_work = self._dla_work()

    def terms(self, values: Mapping[str, float]) -> Terms:
        """Milliseconds per job: compute, depthwise, stream, memory, launch, enqueue, fixed."""
        table = self.table
        gpu = ~self.on_dla | self.falls_back
        parts = self._gpu_us(values)
        dla = self._dla_us(values)
        times = {name: np.where(gpu, parts[name], dla[name]) for name in parts}
        layer = values["dla_layer_us"] * (self.starts > 0)
        switch = np.where(self.falls_back, 2 * values["dla_switch_us"], 0.0)
        times["launch"] = np.where(gpu, self.starts * values["kernel_us"], layer) + switch
        times["enqueue"] = self.enqueued * values["enqueue_us"]
        terms = {name: table.sums(us) * 1e-3 for name, us in times.items()}
        terms["fixed"] = np.full(len(table.jobs), values["fixed_ms"])
        scale = np.where(self.tuned & self.gpu_job, values["tuned"], 1.0)
        return {name: ms * scale for name, ms in terms.items()}

    def _gpu_us(self, values: Mapping[str, float]) -> Dict[str, np.ndarray]:
        kernel = self.table.kernel
        peak = np.where(self.fp32, CORE_MACS, np.where(self.int8, 2 * TENSOR_MACS, TENSOR_MACS))
        tensor = values["tensor_fp16"] * np.where(self.int8, values["int8_share"], 1.0)
        share = np.where(self.fp32, values["cores_fp32"], tensor)
        depth = self.depth + values["fill_depth"] * self.light
        reuse = values["reuse_elements"] * self.light
        work = np.min(
            [
                (waves + values["ramp_waves"]) * (rows * columns + reuse * (rows + columns))
                for (rows, columns), waves in self.waves.items()
            ],
            axis=0,
        )
        rate = peak * share * (1 + reuse * 2 / REFERENCE_TILE) * self.gpu_mhz
        clocks = self.sms * self.gpu_mhz
        dense = np.where(self.few_rows, self.products / (self.vector_macs * clocks), 0.0)
        dense = np.where(kernel.dense & ~self.few_rows, work * depth / rate, dense)
        filters = self.filtered / (values["depthwise_macs"] * clocks)
        other = ~kernel.dense & ~kernel.depthwise & (self.starts > 0)
        stream = np.where(other, self.streamed / (values["stream_elements"] * clocks), 0)
        memory = self.gpu_dram_bytes / (self.bytes_per_us * values["dram"]) * (self.starts > 0)
        return _longer(memory, compute=dense, depthwise=filters, stream=stream)

    def _dla_us(self, values: Mapping[str, float]) -> Dict[str, np.ndarray]:
        kernel = self.table.kernel
        rate = np.maximum(self.dla_mhz, 1e-9) * DLA_MACS / np.where(self.int8, 1, 2)
        rate = rate * values["dla_efficiency"]
        dense = np.where(kernel.dense, self.dla_work / rate, 0)
        filters = self.filtered / (rate * values["dla_depthwise"])
        memory = self.dla_dram_bytes / (self.bytes_per_us * DLA_DRAM) * (self.starts > 0)
        return _longer(memory, compute=dense, depthwise=filters, stream=np.zeros(len(rate)))

    def _waves(self, rows: int, columns: int) -> np.ndarray:
        kernel = self.table.kernel
        tiles = np.ceil(kernel.rows * self.table.batch / rows) * np.ceil(kernel.columns / columns)
        steps = np.ceil(RESIDENT_TILES * tiles * kernel.groups / np.maximum(self.sms, 1))
        return np.maximum(1, steps / RESIDENT_TILES)

    def _dla_work(self) -> np.ndarray:
        """Multiply-accumulates with channels filled up to the DLA's lanes.

        An image has too few channels to fill 64 lanes; the DLA then takes a row of the filter at once.
        """
        kernel = self.table.kernel
        image = round_up(kernel.side * kernel.channels, 64) * kernel.window / kernel.side
        maps = round_up(kernel.channels, 64) * kernel.window
        depth = np.where(kernel.channels <= 4, image, maps)
        positions = kernel.rows * self.table.batch * kernel.groups
        return positions * round_up(kernel.columns, 32) * depth


def _longer(memory: np.ndarray, **work: np.ndarray) -> Dict[str, np.ndarray]:
    """The longer of work and memory traffic of each kernel, under the name of what was longer."""
    total = sum(work.values())
    bound = memory > total
    times = {name: np.where(bound, 0.0, us) for name, us in work.items()}
    times["memory"] = np.where(bound, memory, 0.0)
    return times


def _starts(kernel: Kernel) -> float:
    """Kernels that TensorRT starts for one of ours."""
    if kernel.op == "copy" and kernel.functions and kernel.functions[0] in FREE:
        return 0
    # A transpose works on the plain layout: one reformat before it and one after.
    return 3 if "transpose" in kernel.functions else 1


def _falls_back(kernel: Kernel) -> bool:
    """Whether a DLA leaves this kernel to the GPU: see NvInfer.h 8.5 on pooling windows and layers."""
    if kernel.op == "copy":
        return _starts(kernel) > 0
    if kernel.op == "reduce":
        return max(kernel.input.height, kernel.input.width) > 8
    return kernel.op in NOT_ON_DLA or (kernel.op == "pool" and max(kernel.window) > 8)


def fallbacks(job: Job) -> int:
    """Kernels of a job on a DLA that run on the GPU."""
    return sum(map(_falls_back, job.network.kernels)) if job.unit == "dla" else 0
