"""Latency of the Sunrise X3: a BPU "bernoulli2" core, and ARM cores for what it cannot compute.

The BPU multiplies INT8 maps stored in blocks of 8 columns by 4 channels; maps are filled up to whole
blocks, and the filler is computed too. A layer takes the longer of its arithmetic and its traffic with
the DDR memory: weights, and maps that do not fit on the chip. What the vendor's operator table does not
put on the BPU is computed in float on the CPU, between a dequantisation and a quantisation, and each
such piece costs a change of processor.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from benchmarks.predictor.cost import Kernel, Shape
from benchmarks.predictor.parameters import Parameter
from benchmarks.predictor.table import Job, Table, Terms, round_up

PARAMETERS = (
    Parameter("macs", 256.0, 0.7, "INT8 multiply-accumulates per clock of one BPU core on dense convolutions. No data sheet says; the advertised 5 TOPS of two cores would be 1250, and no figure comes near."),
    Parameter("depthwise", 1.0, 0.3, "The same on depthwise filters, as a share: close to 100 %, says the manual."),
    Parameter("elements", 32.0, 0.7, "Elements per clock of layers without multiplications."),
    Parameter("weight_gb_per_s", 8.0, 0.4, "Rate at which weights come from DDR."),
    Parameter("map_gb_per_s", 16.0, 0.7, "Rate at which maps go to DDR and come back."),
    Parameter("layer_us", 2.0, 0.7, "Start of a layer."),
    Parameter("fixed_ms", 0.15, 0.7, "Start and end of an inference."),
    Parameter("dequantize_ns", 4.2, 0.1, "Conversion of one element to float, at 1.2 GHz: the manual times it for three detectors."),
    Parameter("cpu_ns", 8.0, 0.5, "A function of one element in float with both conversions, at 1.2 GHz."),
    Parameter("cpu_mac_ns", 0.5, 0.7, "A multiply-accumulate in float on the CPU; no figure informs it."),
    Parameter("switch_us", 30.0, 0.7, "Change from BPU to CPU and back."),
)  # fmt: skip

COLUMN_BLOCK, CHANNEL_BLOCK = 8, 4
CHIP_BYTES = 1 << 20
"""A map larger than this does not stay on the chip; of 0, 1/2 and 1 MiB the best on the figures."""
REFERENCE_CPU_MHZ = 1200.0
TABLE_LIMIT = 8192
"""Elements of a block-aligned map up to which the BPU looks functions up in a table."""
LOOKED_UP = ("sigmoid", "tanh", "sqrt", "sin", "cos", "softplus")
ON_CPU = frozenset(
    "transpose reshape flatten squeeze unsqueeze expand gather sub reducesum reducemax reducemin "
    "reducel2 abs neg log erf max min where tile cast elu hardsigmoid hardswish "
    "batchmatmul instancenormalization layernormalization lrn softmax quantizelinear dequantizelinear".split()
)
"""Functions without a BPU kernel in the vendor's operator table. Two maps are multiplied only as
1xBxMxK by 1x1xKxN; every other product of them is a "batchmatmul"."""


class X3Model:
    """The model of a set of jobs; evaluated for any parameter values.

    Args:
        jobs: On unit "bpu".
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.table = table = Table(jobs)
        kernel, batch = table.kernel, table.batch
        self.cpu = table.from_kernels(runs_on_cpu) > 0
        blocks = kernel.height * round_up(kernel.width, COLUMN_BLOCK)
        spatial = (kernel.height * kernel.width == kernel.rows) & (kernel.rows > 1)
        rows = np.where(spatial, blocks, kernel.rows)
        columns = round_up(kernel.columns, CHANNEL_BLOCK)
        depth = round_up(kernel.channels, CHANNEL_BLOCK) * kernel.window
        dense = rows * columns * depth * kernel.groups
        filters = blocks * round_up(kernel.groups, CHANNEL_BLOCK) * kernel.window
        self.macs = np.where(kernel.dense, dense, 0) * batch
        self.filtered = np.where(kernel.depthwise, filters, 0) * batch
        other = ~kernel.dense & ~kernel.depthwise
        self.moved = np.where(other, np.maximum(kernel.reads, kernel.writes), 0) * batch
        self.map_bytes = batch * (
            np.maximum(kernel.reads - CHIP_BYTES, 0) + np.maximum(kernel.writes - CHIP_BYTES, 0)
        )
        self.bpu_mhz = table.per_kernel(lambda job: job.clocks.bpu_mhz)
        self.slower = REFERENCE_CPU_MHZ / table.per_job(lambda job: job.clocks.cpu_mhz)
        self.switches = np.where(self.cpu & ~_follows(self.cpu, table.job), 1.0, 0.0)
        self.converted = table.per_job(
            lambda job: job.network.outputs * job.batch if job.dequantize else 0
        )

    def terms(self, values: Mapping[str, float]) -> Terms:
        """Milliseconds per job."""
        table, kernel = self.table, self.table.kernel
        rate = values["macs"] * self.bpu_mhz
        work = {
            "compute": self.macs / rate,
            "depthwise": self.filtered / (rate * values["depthwise"]),
            "elementwise": self.moved / (values["elements"] * self.bpu_mhz),
        }
        memory = kernel.weights / (values["weight_gb_per_s"] * 1e3)
        memory = memory + self.map_bytes / (values["map_gb_per_s"] * 1e3)
        bound = memory > sum(work.values())
        times = {name: np.where(bound, 0.0, us) for name, us in work.items()}
        times["memory"] = np.where(bound, memory, 0.0)
        times["launch"] = np.full(len(memory), values["layer_us"])
        times = {name: np.where(self.cpu, 0.0, us) for name, us in times.items()}
        on_cpu = kernel.writes * table.batch * values["cpu_ns"]
        on_cpu = on_cpu + (self.macs + self.filtered) * values["cpu_mac_ns"]
        times["cpu"] = np.where(self.cpu, on_cpu * 1e-3, 0.0)
        times["switch"] = self.switches * values["switch_us"]
        terms = {name: table.sums(us) * 1e-3 for name, us in times.items()}
        terms["cpu"] = terms["cpu"] * self.slower
        terms["switch"] = terms["switch"] * self.slower
        terms["dequantize"] = self.dequantize_ms(values)
        terms["fixed"] = np.full(len(self.slower), values["fixed_ms"])
        return terms

    def dequantize_ms(self, values: Mapping[str, float]) -> np.ndarray:
        """Conversion of the outputs to float, per job."""
        return self.converted * values["dequantize_ns"] * 1e-6 * self.slower


def runs_on_cpu(kernel: Kernel) -> bool:
    """Whether the vendor's operator table leaves a kernel to the CPU (X3 column, opset 10 and 11)."""
    functions = set(kernel.functions)
    if functions & ON_CPU:
        return True
    if functions & set(LOOKED_UP) and aligned_elements(kernel.output) > TABLE_LIMIT:
        return True
    if kernel.op in ("conv", "depthwise"):
        transposed = "convtranspose" in functions
        channels = max(kernel.input.channels, kernel.output.channels)
        plain = kernel.op == "conv" and not transposed and kernel.gemm.groups == 1  # type: ignore[union-attr]
        return max(kernel.window) > (14 if transposed else 7) or channels > (
            4096 if plain else 2048
        )
    if kernel.op == "pool":
        return max(kernel.window) > (7 if "averagepool" in functions else 64)
    if kernel.op == "reduce":
        whole = kernel.input.height * kernel.input.width
        return not functions & {"globalaveragepool", "globalmaxpool"} or whole > TABLE_LIMIT
    return False


def aligned_elements(shape: Shape) -> int:
    """Elements of a map in the smaller of the chip's two layouts: 8 columns by 4 channels, 32 channels."""
    blocks = -(-shape.width // 8) * 8 * -(-shape.channels // 4) * 4
    wide = shape.width * -(-shape.channels // 32) * 32
    return shape.height * min(blocks, wide)


def _follows(mask: np.ndarray, job: np.ndarray) -> np.ndarray:
    """For each kernel, whether the one before it in the same job has the mask set."""
    before = np.zeros(len(mask), bool)
    before[1:] = mask[:-1] & (job[1:] == job[:-1])
    return before
