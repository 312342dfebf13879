"""Describe a network by hand: each call adds the kernel an inference engine would run.

Fusion is the one all engines do: normalisation, bias, ReLU (or ReLU6, leaky ReLU) and the residual
addition belong to the convolution before them; concatenation is free, because its producers write in
place. An activation a convolution cannot absorb (sigmoid, SiLU, GELU) is a pointwise kernel.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple, Union

from benchmarks.predictor.cost import Gemm, Kernel, NetworkCost, Shape

_GATED = {"silu": ("sigmoid", "mul"), "gelu": ("erf", "mul"), "sigmoid": ("sigmoid",)}
ABSORBED = (None, "relu", "relu6", "leaky")
Window = Union[int, Tuple[int, int]]


class NetworkBuilder:
    """Collects kernels; feature maps are handed from call to call as shapes."""

    def __init__(self, name: str, size: Window, channels: int = 3) -> None:
        height, width = _pair(size)
        self.name = name
        self.input = Shape(channels, height, width)
        self.kernels: List[Kernel] = []

    def conv(
        self,
        x: Shape,
        channels: int,
        window: Window = 1,
        stride: int = 1,
        *,
        pad: Optional[Window] = None,
        groups: int = 1,
        act: Optional[str] = "relu",
        add: Optional[Shape] = None,
    ) -> Shape:
        """A convolution with its bias and activation, and the addition of ``add`` if given.

        Args:
            x: Input.
            channels: Of the output.
            window: Filter size.
            stride: Of the filter.
            pad: Zeros on each side; default: half the window.
            groups: Of channels; as many as input channels is a depthwise convolution.
            act: "relu", "relu6", "leaky", None, or one that needs its own kernel: "silu", "gelu",
                "sigmoid".
            add: A shortcut of the output's shape.
        """
        kh, kw = _pair(window)
        ph, pw = (kh // 2, kw // 2) if pad is None else _pair(pad)
        out = Shape(channels, _slide(x.height, kh, stride, ph), _slide(x.width, kw, stride, pw))
        depthwise = groups == x.channels == channels and groups > 1
        gemm = Gemm(
            out.height * out.width, channels // groups, x.channels // groups * kh * kw, groups
        )
        self._append(
            "depthwise" if depthwise else "conv",
            x,
            out,
            gemm=gemm,
            window=(kh, kw),
            stride=stride,
            weights=channels * (x.channels // groups * kh * kw + 1),
            reads=x.elements + (add.elements if add else 0),
        )
        return out if act in ABSORBED else self.pointwise(out, _GATED[act])

    def depthwise(self, x: Shape, window: Window = 3, stride: int = 1, **more) -> Shape:
        """A depthwise convolution."""
        return self.conv(x, x.channels, window, stride, groups=x.channels, **more)

    def deconv(self, x: Shape, channels: int, window: int, stride: int) -> Shape:
        """A transposed convolution that enlarges by ``stride``."""
        out = Shape(channels, x.height * stride, x.width * stride)
        self._append(
            "conv",
            x,
            out,
            gemm=Gemm(x.height * x.width, channels * window * window, x.channels),
            window=(window, window),
            stride=stride,
            weights=channels * (x.channels * window * window + 1),
            reads=x.elements,
            functions=("convtranspose",),
        )
        return out

    def dense(self, x: Shape, units: int) -> Shape:
        """A fully connected layer on the flattened input."""
        out = Shape(units, 1, 1)
        self._append(
            "gemm",
            x,
            out,
            gemm=Gemm(1, units, x.elements),
            weights=units * (x.elements + 1),
            reads=x.elements,
        )
        return out

    def pool(
        self,
        x: Shape,
        window: int,
        stride: Optional[int] = None,
        *,
        pad: int = 0,
        ceil: bool = False,
        kind: str = "maxpool",
    ) -> Shape:
        """Max or average pooling."""
        step = stride or window
        out = Shape(
            x.channels,
            _slide(x.height, window, step, pad, ceil),
            _slide(x.width, window, step, pad, ceil),
        )
        self._append(
            "pool",
            x,
            out,
            window=(window, window),
            stride=step,
            reads=x.elements,
            functions=(kind,),
        )
        return out

    def mean(self, x: Shape) -> Shape:
        """Global average pooling."""
        out = Shape(x.channels, 1, 1)
        self._append("reduce", x, out, reads=x.elements, functions=("globalaveragepool",))
        return out

    def pointwise(self, x: Shape, functions: Sequence[str], other: Optional[Shape] = None) -> Shape:
        """A function of each element, or of two maps (one may be broadcast)."""
        self._append(
            "pointwise",
            x,
            x,
            reads=x.elements + (other.elements if other else 0),
            functions=tuple(functions),
        )
        return x

    def resize(self, x: Shape, factor: int) -> Shape:
        """Enlarge by an integer factor."""
        out = Shape(x.channels, x.height * factor, x.width * factor)
        self._append("resize", x, out, reads=x.elements, functions=("resize",))
        return out

    def copy(self, x: Shape, function: str) -> Shape:
        """Move data: a transpose, a slice."""
        self._append("copy", x, x, reads=x.elements, functions=(function,))
        return x

    def concat(self, parts: Sequence[Shape]) -> Shape:
        """Concatenate along channels, without a kernel."""
        return Shape(sum(p.channels for p in parts), parts[0].height, parts[0].width)

    def squeeze_excite(self, x: Shape, hidden: int, gate: str = "sigmoid") -> Shape:
        """Squeeze and excitation (Hu et al. 2018): mean, two layers, a gate, a product."""
        y = self.conv(self.mean(x), hidden)
        y = self.conv(y, x.channels, act=None)
        self.pointwise(y, (gate,))
        return self.pointwise(x, ("mul",), y)

    def cost(self, *outputs: Shape) -> NetworkCost:
        """The network, with these outputs."""
        return NetworkCost(
            self.name, self.input, tuple(self.kernels), sum(shape.elements for shape in outputs)
        )

    def _append(self, op: str, x: Shape, out: Shape, **more) -> None:
        name = "%s%d" % (op, len(self.kernels))
        self.kernels.append(Kernel(name, op, x, out, writes=out.elements, **more))


def _pair(value: Window) -> Tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _slide(size: int, window: int, stride: int, pad: int, ceil: bool = False) -> int:
    """Positions of a window; with ``ceil`` a last one may overhang, if it starts inside."""
    free = size + 2 * pad - window
    steps = -(-free // stride) if ceil else free // stride
    if ceil and steps * stride >= size + pad:
        steps -= 1
    return steps + 1
