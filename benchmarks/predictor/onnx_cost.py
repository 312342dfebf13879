"""The fused kernels of an ONNX file, as TensorRT and the X3's compiler would form them.

A convolution or matrix product absorbs the normalisation, bias, ReLU (clipped, leaky) and residual
addition that follow it, if nobody else reads what is between. Pointwise operators that follow one
another become one kernel. Concatenation is free unless an operand lives on elsewhere. A Q/DQ pair
belongs to the kernels around it when they are int8, and is a kernel of its own otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from benchmarks.predictor.cost import Gemm, Kernel, NetworkCost
from benchmarks.predictor.onnx_graph import OnnxGraph, attributes
from runtime.errors import ReidEdgeError

UNARY = frozenset(
    "Relu Clip LeakyRelu PRelu Sigmoid Tanh HardSigmoid HardSwish Elu Selu Celu Softplus Softsign Mish "
    "Gelu Erf Exp Log Sqrt Neg Abs Reciprocal Floor Ceil Round Sin Cos Sign Not BatchNormalization "
    "Affine".split()
)
BINARY = frozenset("Add Sub Mul Div Min Max Pow Sum Mean Where Equal Greater Less And Or".split())
ABSORBED = frozenset("BatchNormalization Relu Clip LeakyRelu PRelu".split())
LINEAR = frozenset("Add Sub Mul Div".split())
"""Absorbed by a product when the other operand is constant."""
COPIES = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Expand Tile Slice Split Gather GatherND GatherElements "
    "ScatterND ScatterElements Pad DepthToSpace SpaceToDepth Cast".split()
)
REDUCTIONS = frozenset(
    "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 "
    "ReduceProd ArgMax ArgMin TopK InstanceNormalization LayerNormalization GroupNormalization LRN "
    "LpNormalization".split()
)
PRODUCTS = ("conv", "depthwise", "gemm", "matmul")


def cost_of_onnx(path: Union[str, Path]) -> NetworkCost:
    """The cost of the network in an ONNX file, per image.

    Raises:
        ReidEdgeError: The package onnx is missing, the file is not usable, shapes are not static, or it
            has operators the predictor does not know.
    """
    return _Reader(OnnxGraph(path)).read()


class _Reader:
    """Walks the nodes and collects kernels; a tensor knows the kernel that made it."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.kernels: List[Kernel] = []
        self.maker: Dict[str, int] = {}  # tensor to kernel
        self.inputs: List[Set[str]] = []  # tensors that each kernel reads
        self.rounded: Set[str] = set()  # tensors that are int8
        self.joined: Set[str] = set()  # results of concatenations

    def read(self) -> NetworkCost:
        handlers = {node.op_type: self._handler(node.op_type) for node in self.graph.nodes}
        unknown = sorted(op for op, handler in handlers.items() if handler is None)
        if unknown:
            raise ReidEdgeError(
                "%s has operators the latency predictor does not know: %s; predict the part of the "
                "network before them." % (self.graph.path, ", ".join(unknown))
            )
        for node in self.graph.nodes:
            self._handler(node.op_type)(node)  # type: ignore[misc]
        return NetworkCost(
            self.graph.name,
            self.graph.shape(self.graph.input),
            tuple(self.kernels),
            sum(self.graph.elements(name) for name in self.graph.outputs),
            self.graph.quantized,
        )

    def _handler(self, op: str) -> Optional[Callable[[Any], None]]:
        if op in ("Conv", "ConvTranspose"):
            return self._conv
        if op in ("Gemm", "MatMul"):
            return self._product
        if op in ("QuantizeLinear", "DequantizeLinear"):
            return self._round
        if op in ("Identity", "Dropout"):
            return lambda node: self._same(node.input[0], node.output[0])
        if op == "Concat":
            return self._concat
        if op in ("MaxPool", "AveragePool", "LpPool"):
            return self._pool
        if op in REDUCTIONS:
            return self._reduce
        if op in UNARY or op in BINARY:
            return self._pointwise
        if op in COPIES:
            return self._copy
        if op in ("Softmax", "LogSoftmax"):
            return lambda node: self._add(node, "softmax", functions=("softmax",))
        if op in ("Resize", "Upsample"):
            return lambda node: self._add(node, "resize", functions=("resize",))
        return None

    def _conv(self, node: Any) -> None:
        graph, options = self.graph, attributes(node)
        x, out = graph.shape(node.input[0]), graph.shape(node.output[0])
        filters = graph.dims(node.input[1])
        if len(filters) not in (3, 4):
            raise ReidEdgeError(
                "%s has a convolution in three dimensions (%s); the predictor knows images."
                % (graph.path, node.name)
            )
        groups, window = int(options.get("group", 1)), (1, *filters[2:])[-2:]
        transposed = node.op_type == "ConvTranspose"
        if transposed:
            per_group = filters[1]
            rows, columns = x.height * x.width, per_group * window[0] * window[1]
            gemm = Gemm(rows, columns, x.channels // groups, groups)
        else:
            depth = filters[1] * window[0] * window[1]
            gemm = Gemm(out.height * out.width, out.channels // groups, depth, groups)
        depthwise = not transposed and groups == x.channels == out.channels and groups > 1
        self._add(
            node,
            "depthwise" if depthwise else "conv",
            gemm=gemm,
            window=window,
            stride=max(options.get("strides", [1])),
            weights=graph.elements(node.input[1]) + out.channels,
            functions=("convtranspose",) if transposed else (),
        )

    def _product(self, node: Any) -> None:
        graph = self.graph
        left, right = (list(graph.dims(name)) for name in node.input[:2])
        options = attributes(node) if node.op_type == "Gemm" else {}
        if options.get("transA"):
            left[-2:] = left[:-3:-1]
        if options.get("transB"):
            right[-2:] = right[:-3:-1]
        left, right = [1] * (len(left) < 2) + left, right + [1] * (len(right) < 2)
        constant = [name for name in node.input[:2] if graph.constant(name)]
        rows, depth, columns = left[-2], left[-1], right[-1]
        groups = max(_count(left[:-2]), _count(right[:-2]))
        functions: Tuple[str, ...] = ()
        if graph.constant(node.input[0]) and len(left) == 2:
            # The weights come first: their rows are the output's channels.
            rows, columns, groups = columns * groups, rows, 1
        elif _count(right[:-2]) == 1:
            rows, groups = rows * groups, 1  # all rows meet the same matrix
        if not constant:
            functions = ("matmul" if len(right) == 4 and groups == 1 else "batchmatmul",)
        weights = sum(graph.elements(name) for name in constant)
        gemm = Gemm(rows, columns, depth, groups)
        bias = columns if node.op_type == "Gemm" and len(node.input) > 2 else 0
        self._add(
            node,
            "gemm" if constant else "matmul",
            gemm=gemm,
            weights=weights + bias,
            functions=functions,
        )

    def _pool(self, node: Any) -> None:
        options = attributes(node)
        window = (1, *options["kernel_shape"])[-2:]
        kind = "averagepool" if node.op_type != "MaxPool" else "maxpool"
        stride = max(options.get("strides", [1]))
        self._add(node, "pool", window=window, stride=stride, functions=(kind,))

    def _reduce(self, node: Any) -> None:
        name = node.op_type
        if name == "ReduceMean":
            dims, out = self.graph.dims(node.input[0]), self.graph.dims(node.output[0])
            spatial = len(dims) == 4 and _count(out) == dims[0] * dims[1]
            name = "GlobalAveragePool" if spatial and dims[2] * dims[3] > 1 else name
        self._add(node, "reduce", functions=(name.lower(),))

    def _copy(self, node: Any) -> None:
        if node.op_type == "Cast":
            return self._same(node.input[0], node.output[0])
        function = node.op_type.lower()
        if function == "transpose" and self._only_ones_move(node):
            function = "reshape"
        for output in node.output:
            if self.graph.readers(output) or output in self.graph.outputs:
                moved = self.graph.elements(output)
                self._add(node, "copy", output, reads=moved, functions=(function,))
        return None

    def _only_ones_move(self, node: Any) -> bool:
        dims = self.graph.dims(node.input[0])
        order = attributes(node).get("perm", list(range(len(dims)))[::-1])
        kept = [axis for axis in order if dims[axis] > 1]
        return kept == sorted(kept)

    def _concat(self, node: Any) -> None:
        output = node.output[0]
        lives_on = [
            name
            for name in node.input
            if name in self.joined and not self.graph.private(name)  # it is also read as it is
        ]
        if lives_on:
            self._add(node, "copy", functions=("concat",))
        else:
            makers = [self.maker[name] for name in node.input if name in self.maker]
            if makers:
                self.maker[output] = max(makers)
        if all(name in self.rounded for name in node.input if not self.graph.constant(name)):
            self.rounded.add(output)
        self.joined.add(output)

    def _round(self, node: Any) -> None:
        """A Q or DQ node: part of an int8 kernel beside it, or a kernel of its own."""
        name, output = node.input[0], node.output[0]
        maker = self.maker.get(name)
        if node.op_type == "QuantizeLinear":
            kernel = None if maker is None else self.kernels[maker]
            own = kernel is None or not (kernel.int8 or kernel.op == "pointwise")
        else:
            own = not any(self._takes_int8(reader) for reader in self.graph.readers(output))
        if own:
            self._add(node, "copy", int8=True, functions=(node.op_type.lower(),))
        else:
            self._same(name, output)
        self.rounded.add(output)

    def _takes_int8(self, node: Any) -> bool:
        weighted = node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        movers = COPIES | {"Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Resize"}
        return weighted or node.op_type in movers

    def _pointwise(self, node: Any) -> None:
        graph, output = self.graph, node.output[0]
        data = [name for name in node.input if name and not graph.constant(name)]
        for name in sorted(data, key=lambda name: -self.maker.get(name, -1)):
            others = [other for other in data if other != name]
            if self._absorbs(node, name, others):
                self.maker[output] = index = self.maker[name]
                kernel = self.kernels[index]
                # A product reads a shortcut in its epilogue; a pointwise kernel reads each map once.
                known = self.inputs[index] if kernel.op == "pointwise" else set()
                more = sum(graph.elements(other) for other in others if other not in known)
                functions = kernel.functions
                if kernel.op == "pointwise":
                    functions += (node.op_type.lower(),)
                reads = kernel.reads + more
                self.kernels[index] = replace(kernel, reads=reads, functions=functions)
                self.inputs[index].update(others)
                return
        self._add(node, "pointwise", functions=(node.op_type.lower(),))

    def _absorbs(self, node: Any, name: str, others: List[str]) -> bool:
        """Whether the kernel that made ``name`` computes this node too."""
        if name not in self.maker or name in self.joined or not self.graph.private(name):
            return False
        kernel, same = self.kernels[self.maker[name]], self._same_size(name, node.output[0])
        if kernel.op == "pointwise":
            return same and all(self._same_size(other, name) for other in others)
        if kernel.op not in PRODUCTS or not same:
            return False
        if node.op_type in ABSORBED or (node.op_type in LINEAR and not others):
            return True
        residual = node.op_type in ("Add", "Sum") and len(others) == 1
        return residual and kernel.op != "matmul" and self._same_size(others[0], name)

    def _same_size(self, one: str, other: str) -> bool:
        return self.graph.dims(one) == self.graph.dims(other)

    def _same(self, name: str, output: str) -> None:
        """``output`` is another name of ``name``."""
        if name in self.maker:
            self.maker[output] = self.maker[name]
        for group in (self.rounded, self.joined):
            if name in group:
                group.add(output)

    def _add(self, node: Any, op: str, output: Optional[str] = None, **more: Any) -> None:
        graph, output = self.graph, output or node.output[0]
        data = [name for name in dict.fromkeys(node.input) if name and not graph.constant(name)]
        int8 = not graph.quantized or all(name in self.rounded for name in data)
        values = dict(
            reads=sum(graph.elements(name) for name in data),
            writes=graph.elements(output),
            int8=int8 and op not in ("matmul", "softmax"),
        )
        values.update(more)
        name = node.name or "%s_%d" % (node.op_type, len(self.kernels))
        shapes = graph.shape(data[0]), graph.shape(output)
        self.maker[output] = len(self.kernels)
        self.inputs.append(set(data))
        self.kernels.append(Kernel(name, op, *shapes, **values))  # type: ignore[arg-type]


def _count(dims) -> int:
    count = 1
    for dim in dims:
        count *= dim
    return count
