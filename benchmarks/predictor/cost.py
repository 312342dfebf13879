"""What a network costs: its fused kernels, each with multiply-accumulates, weights and activations.

Everything is counted per image (batch 1) and in elements, not bytes: a board's model decides how many
bytes an element has and how a batch scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, NamedTuple, Optional, Tuple

OPS = (
    "conv",  # dense or grouped convolution, transposed convolution
    "depthwise",  # one filter per channel
    "gemm",  # fully connected
    "matmul",  # two activations
    "pool",  # max or average over a window
    "reduce",  # over the whole map: global pooling, means, sums
    "pointwise",  # element by element: additions, gates, activations that no convolution absorbs
    "softmax",
    "resize",
    "copy",  # data moved and nothing else: transpose, slice, concatenation that is not free
)
"""Kinds of kernels. Normalisation, bias, ReLU and a residual addition belong to their convolution."""


class Shape(NamedTuple):
    """A feature map of one image: channels, height, width."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width


class Gemm(NamedTuple):
    """A kernel as a matrix product: ``groups`` times (rows, depth) by (depth, columns), per image."""

    rows: int
    columns: int
    depth: int
    groups: int = 1

    @property
    def macs(self) -> int:
        return self.rows * self.columns * self.depth * self.groups


@dataclass(frozen=True)
class Kernel:
    """One fused kernel.

    Attributes:
        name: Of the layer, for people.
        op: One of ``OPS``.
        input, output: Feature maps of one image (the main input, without a residual operand).
        gemm: The product it computes; None where nothing is multiplied and accumulated.
        window: Filter or pooling window, (height, width).
        stride: Of the window.
        weights: Elements of filters, matrices and biases.
        reads, writes: Activation elements per image, residual operands included.
        functions: What it computes beside the product, ONNX operator names in lower case; ReLU,
            clipping and the residual addition of a convolution are not listed.
        int8: Whether it can run in int8 when the network does. False for what Q/DQ leaves in float.
    """

    name: str
    op: str
    input: Shape
    output: Shape
    gemm: Optional[Gemm] = None
    window: Tuple[int, int] = (1, 1)
    stride: int = 1
    weights: int = 0
    reads: int = 0
    writes: int = 0
    functions: Tuple[str, ...] = ()
    int8: bool = True

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ValueError("a kernel's op is one of %s, got %r" % (", ".join(OPS), self.op))

    @property
    def macs(self) -> int:
        return self.gemm.macs if self.gemm else 0


@dataclass(frozen=True)
class NetworkCost:
    """A network as its fused kernels.

    Attributes:
        name: Of the network.
        input: One input image.
        kernels: In the order they run.
        outputs: Elements of all outputs of one image.
        quantized: Q/DQ pairs were found, so each kernel's ``int8`` is meant; otherwise a converter
            chooses, and all kernels that can run in int8 do.
    """

    name: str
    input: Shape
    kernels: Tuple[Kernel, ...]
    outputs: int = 0
    quantized: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(kernel.macs for kernel in self.kernels)

    @property
    def weights(self) -> int:
        """Parameters, with normalisation folded into the convolutions."""
        return sum(kernel.weights for kernel in self.kernels)

    def macs_by_op(self) -> Dict[str, int]:
        """Op to multiply-accumulates, of the ops that have some."""
        return _sums((kernel.op, kernel.macs) for kernel in self.kernels)


def _sums(pairs: Iterable[Tuple[str, int]]) -> Dict[str, int]:
    sums: Dict[str, int] = {}
    for key, value in pairs:
        if value:
            sums[key] = sums.get(key, 0) + value
    return sums
