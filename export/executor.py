"""Runs an ONNX graph in torch, node by node, so that it can be tapped, differentiated and tuned.

What is fine-tuned is thus the very graph that ships, with quantization exactly where it will be.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from onnx import NodeProto

from export.graph import Graph, attribute
from runtime.errors import ReidEdgeError

Tensor = torch.Tensor


class Executor(torch.nn.Module):
    """A float graph as a torch module.

    Weights and biases of Conv, Gemm and MatMul are parameters; ``write_back`` puts them into a graph.

    Attributes:
        values: initializer name -> parameter or buffer tensor.
    """

    def __init__(self, graph: Graph):
        super().__init__()
        graph.sort()
        self.graph = graph
        self._nodes = list(graph.nodes)
        unknown = sorted({n.op_type for n in self._nodes} - set(_OPERATORS))
        if unknown:
            raise ReidEdgeError(
                "Operators %s cannot be tuned; pass --improve none." % ", ".join(unknown)
            )
        for node in self._nodes:
            if attribute(node, "auto_pad", "NOTSET") != "NOTSET":
                raise ReidEdgeError(
                    "%s %s with auto_pad cannot be tuned." % (node.op_type, node.name)
                )
        self._index: dict[str, str] = {}
        trainable = {
            t for n in self._nodes if n.op_type in ("Conv", "Gemm", "MatMul") for t in n.input
        }
        for i, (name, value) in enumerate(graph.initializers.items()):
            tensor = torch.from_numpy(np.array(value))
            self._index[name] = "v%d" % i
            if name in trainable and tensor.is_floating_point():
                self.register_parameter("v%d" % i, torch.nn.Parameter(tensor))
            else:
                self.register_buffer("v%d" % i, tensor)
        self._last_use: dict[str, int] = {t: i for i, n in enumerate(self._nodes) for t in n.input}

    def value(self, name: str) -> Tensor:
        """The parameter or buffer of an initializer."""
        return getattr(self, self._index[name])

    def forward(
        self,
        images: Tensor,
        read: Callable[[NodeProto, int, Tensor], Tensor] | None = None,
        made: Callable[[NodeProto, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Run the graph.

        Args:
            images: (N, 3, H, W).
            read: Called as ``read(node, input_index, tensor)`` for every input a node reads; what it
                returns is used instead (fake quantization goes here).
            made: Called as ``made(node, tensor)`` for every first output; may return a correction.
        """
        live: dict[str, Tensor] = {self.graph.input_name: images}
        for i, node in enumerate(self._nodes):
            inputs: list[Tensor | None] = []
            for position, name in enumerate(node.input):
                if not name:
                    inputs.append(None)
                    continue
                tensor = live[name] if name in live else self.value(name)
                inputs.append(tensor if read is None else read(node, position, tensor))
            result = _OPERATORS[node.op_type](node, *inputs)
            outputs = result if isinstance(result, (tuple, list)) else (result,)
            if made is not None:
                outputs = (made(node, outputs[0]), *outputs[1:])
            live.update(zip(node.output, outputs))
            for name in node.input:  # bounded memory: drop what nothing reads any more
                if self._last_use[name] == i and name in live:
                    del live[name]
        return live[self.graph.output_name]

    def write_back(self, graph: Graph) -> None:
        """Copy the parameters into ``graph.initializers``."""
        for name, attr in self._index.items():
            if attr in self._parameters:
                graph.initializers[name] = getattr(self, attr).detach().numpy().copy()


def _pads(node: NodeProto) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) as torch.nn.functional.pad wants them."""
    top, left, bottom, right = attribute(node, "pads", (0, 0, 0, 0))
    return left, right, top, bottom


def _conv(node, x, weight, bias=None):
    left, right, top, bottom = _pads(node)
    if (left, top) != (right, bottom):
        x, left, top = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(
        x,
        weight,
        bias,
        stride=tuple(attribute(node, "strides", (1, 1))),
        padding=(top, left),
        dilation=tuple(attribute(node, "dilations", (1, 1))),
        groups=attribute(node, "group", 1),
    )


def _gemm(node, a, b, c=None):
    a = a.T if attribute(node, "transA", 0) else a
    b = b.T if attribute(node, "transB", 0) else b
    y = attribute(node, "alpha", 1.0) * (a @ b)
    return y if c is None else y + attribute(node, "beta", 1.0) * c


def _max_pool(node, x):
    kernel, strides = (
        tuple(attribute(node, "kernel_shape")),
        tuple(attribute(node, "strides", (1, 1))),
    )
    dilations, ceil = (
        tuple(attribute(node, "dilations", (1, 1))),
        bool(attribute(node, "ceil_mode", 0)),
    )
    left, right, top, bottom = _pads(node)
    padded = F.pad(x, (left, right, top, bottom), value=-torch.inf)
    y = F.max_pool2d(padded, kernel, strides, 0, dilations, ceil)
    if ceil:  # no window starts in the padding behind the map
        y = y[..., : -(-(x.shape[2] + top) // strides[0]), : -(-(x.shape[3] + left) // strides[1])]
    return y


def _average_pool(node, x):
    left, right, top, bottom = _pads(node)
    if (left, top) != (right, bottom):
        raise ReidEdgeError("AveragePool %s with uneven padding cannot be tuned." % node.name)
    return F.avg_pool2d(
        x,
        tuple(attribute(node, "kernel_shape")),
        tuple(attribute(node, "strides", (1, 1))),
        (top, left),
        ceil_mode=bool(attribute(node, "ceil_mode", 0)),
        count_include_pad=bool(attribute(node, "count_include_pad", 0)),
    )


def _reduce(function):
    def run(node, x, axes=None):
        dims = attribute(node, "axes") if axes is None else axes.tolist()
        if dims is None and attribute(node, "noop_with_empty_axes", 0):
            return x
        dims = tuple(dims) if dims is not None else tuple(range(x.ndim))
        return function(x, dim=dims, keepdim=bool(attribute(node, "keepdims", 1)))

    return run


def _flatten(node, x):
    axis = attribute(node, "axis", 1)
    return x.reshape(x.shape[:axis].numel(), -1)


def _reshape(node, x, shape):
    dims = [x.shape[i] if d == 0 else d for i, d in enumerate(shape.tolist())]
    return x.reshape(dims)


def _split(node, x, sizes=None):
    axis = attribute(node, "axis", 0)
    sizes = (
        [x.shape[axis] // len(node.output)] * len(node.output) if sizes is None else sizes.tolist()
    )
    return torch.split(x, sizes, dim=axis)


def _squeeze(node, x, axes=None):
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _unsqueeze(node, x, axes):
    for axis in sorted(a % (x.ndim + len(axes)) for a in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _slice(node, x, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes, steps):
        index[axis] = slice(start, min(end, x.shape[axis]), step)
    return x[tuple(index)]


def _pad(node, x, pads, value=None):
    half = len(pads) // 2
    pairs = [(int(pads[i]), int(pads[i + half])) for i in range(half)]
    flat = [p for pair in reversed(pairs) for p in pair]
    mode = attribute(node, "mode", "constant")
    if mode == "constant":
        return F.pad(x, flat, mode, 0.0 if value is None else float(value))
    while flat[-2:] == [0, 0]:  # torch mirrors and replicates the last dimensions only
        flat = flat[:-2]
    return F.pad(x, flat, "replicate" if mode == "edge" else mode)


def _instance_norm(node, x, gain, offset):
    return F.instance_norm(x, weight=gain, bias=offset, eps=attribute(node, "epsilon", 1e-5))


def _clip(node, x, low=None, high=None):
    return torch.clamp(
        x, -torch.inf if low is None else float(low), torch.inf if high is None else float(high)
    )


_OPERATORS: dict[str, Callable] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda node, a, b: a @ b,
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Div": lambda node, a, b: a / b,
    "Pow": lambda node, a, b: torch.pow(a, b),
    "Sqrt": lambda node, x: torch.sqrt(x),
    "Exp": lambda node, x: torch.exp(x),
    "Relu": lambda node, x: F.relu(x),
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "Tanh": lambda node, x: torch.tanh(x),
    "Softmax": lambda node, x: torch.softmax(x, attribute(node, "axis", -1)),
    "Clip": _clip,
    "Identity": lambda node, x: x,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda node, x: x.amax((2, 3), keepdim=True),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "ReduceMax": _reduce(torch.amax),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": lambda node, x: x.permute(tuple(attribute(node, "perm", range(x.ndim)[::-1]))),
    "Concat": lambda node, *xs: torch.cat(xs, attribute(node, "axis")),
    "Split": _split,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "InstanceNormalization": _instance_norm,
}
