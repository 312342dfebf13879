"""Checks a quantized graph against TensorRT's rules for explicit INT8.

Written from the published rules alone, and on plain protos, so that a mistake in the placement code
cannot hide here. Sources: NvInfer.h at 8.5.2 (IQuantizeLayer), onnx-tensorrt's docs/operators.md for
8.2 and 8.5, NVIDIA/TensorRT issues #1992, #2383, #2664 and #4527, the pytorch-quantization ResNet-50
tutorial at 8.5.2, and the exclusions of NVIDIA's Model-Optimizer (modelopt/onnx/quantization).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

# Operator -> the types TensorRT 8.5 computes it in. Only operators that our graphs have; an operator
# that is not here is either unsupported or unconsidered, and both are an error.
OPERATORS = {
    "Add": "FP32 FP16",
    "AveragePool": "FP32 FP16 INT8",
    "Clip": "FP32 FP16 INT8",
    "Concat": "FP32 FP16 INT8",
    "Constant": "FP32 FP16 INT8",
    "Conv": "FP32 FP16 INT8",
    "ConvTranspose": "FP32 FP16 INT8",
    "DequantizeLinear": "INT8",
    "Div": "FP32 FP16",
    "Flatten": "FP32 FP16",
    "Gemm": "FP32 FP16 INT8",
    "GlobalAveragePool": "FP32 FP16 INT8",
    "GlobalMaxPool": "FP32 FP16 INT8",
    "InstanceNormalization": "FP32 FP16",
    "MatMul": "FP32 FP16",
    "MaxPool": "FP32 FP16 INT8",
    "Mul": "FP32 FP16",
    "Pow": "FP32 FP16",
    "QuantizeLinear": "FP32 FP16",
    "ReduceMean": "FP32 FP16",
    "Relu": "FP32 FP16 INT8",
    "Reshape": "FP32 FP16 INT8",
    "Sigmoid": "FP32 FP16 INT8",
    "Slice": "FP32 FP16 INT8",
    "Softmax": "FP32 FP16",
    "Split": "FP32 FP16",
    "Sqrt": "FP32 FP16",
    "Squeeze": "FP32 FP16 INT8",
    "Sub": "FP32 FP16",
    "Transpose": "FP32 FP16 INT8",
    "Unsqueeze": "FP32 FP16 INT8",
}
# Inputs that the parser needs as build-time constants.
CONSTANT_INPUTS = {
    "InstanceNormalization": (1, 2), "Reshape": (1,), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "Unsqueeze": (1,),
}  # fmt: skip
KERNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}
GATES = ("Sigmoid", "Softmax", "Tanh")
# Results that stay in FP16: gates, products of activations, pooled vectors and what follows them.
FLOAT_SOURCES = (
    *GATES,
    "MatMul",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "Gemm",
    "Flatten",
)
MIN_CHANNELS = 16


class Violation(NamedTuple):
    """A broken rule and the node that breaks it."""

    rule: str
    where: str


def violations(model: onnx.ModelProto) -> list[Violation]:
    """Every broken rule of ``model``; empty for a graph TensorRT 8.5 runs in INT8 as intended."""
    view = _View(model)
    return [Violation(rule, where) for rule, check in RULES.items() for where in check(view)]


def float_graph(model: onnx.ModelProto) -> tuple[dict[str, tuple], dict[str, np.ndarray]]:
    """What is left without Q/DQ: node name -> (operator, inputs, outputs, attributes), and constants."""
    view = _View(model)
    nodes = {}
    for node in view.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear", "Constant"):
            inputs = tuple(view.original(t) for t in node.input)
            attributes = tuple(sorted(a.SerializeToString() for a in node.attribute))
            nodes[node.name] = (node.op_type, inputs, tuple(node.output), attributes)
    used = {t for _, inputs, _, _ in nodes.values() for t in inputs}
    return nodes, {k: v for k, v in view.constants.items() if k in used}


class _View:
    """A model's nodes, constants, and who makes and reads each tensor."""

    def __init__(self, model: onnx.ModelProto):
        self.model, self.nodes = model, list(model.graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.maker = {t: n for n in self.nodes for t in n.output}
        self.readers: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in self.nodes:
            for position, tensor in enumerate(node.input):
                self.readers.setdefault(tensor, []).append((node, position))
        self.outputs = {o.name for o in model.graph.output}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
            for i in (*inferred.value_info, *inferred.input, *inferred.output)
        }

    def all(self, *op_types: str) -> list[NodeProto]:
        return [n for n in self.nodes if n.op_type in op_types]

    def made_by(self, tensor: str, *op_types: str) -> NodeProto | None:
        node = self.maker.get(tensor)
        return node if node is not None and node.op_type in op_types else None

    def original(self, tensor: str) -> str:
        """The float tensor behind a dequantized one; any other tensor itself."""
        restored = self.made_by(tensor, "DequantizeLinear")
        quantized = restored and self.made_by(restored.input[0], "QuantizeLinear")
        return quantized.input[0] if quantized else tensor

    def is_int8(self, tensor: str) -> bool:
        return self.made_by(tensor, "DequantizeLinear") is not None

    def ancestors(self, tensor: str, barrier: tuple[str, ...] = ()) -> list[NodeProto]:
        """All nodes that ``tensor`` depends on, not looking past operators in ``barrier``."""
        found: dict[int, NodeProto] = {}
        waiting = [tensor]
        while waiting:
            node = self.maker.get(waiting.pop())
            if node is None or node.op_type in barrier or id(node) in found:
                continue
            found[id(node)] = node
            waiting.extend(node.input)
        return list(found.values())

    def weight_pairs(self) -> list[NodeProto]:
        return [q for q in self.all("QuantizeLinear") if q.input[0] in self.constants]

    def activation_pairs(self) -> list[NodeProto]:
        return [q for q in self.all("QuantizeLinear") if q.input[0] not in self.constants]


def _attributes(node: NodeProto) -> dict:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _versions(view: _View) -> Iterator[str]:
    opsets = {o.domain: o.version for o in view.model.opset_import}
    if opsets != {"": 13}:  # the first with per-axis Q/DQ, the last that 8.2 parses
        yield "opset %s" % opsets
    if view.model.ir_version > 8:
        yield "IR version %d" % view.model.ir_version


def _operators(view: _View) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type not in OPERATORS or node.domain:
            yield "%s %s" % (node.op_type, node.name)
        for position in CONSTANT_INPUTS.get(node.op_type, ()):
            given = node.input[position] if position < len(node.input) else ""
            if given and given not in view.constants:
                yield "%s reads %s, which is no constant" % (node.name, given)
        if node.op_type == "ReduceMean" and len(node.input) != 1:
            yield "%s has its axes as an input" % node.name
        if node.op_type == "MaxPool" and len(node.output) != 1:
            yield "%s returns indices" % node.name
        if node.op_type in KERNEL_AXIS:
            weight = view.constants.get(view.original(node.input[1]))
            if weight is None or weight.ndim not in (4, 5):
                yield "%s: the weight must be constant, of a 2-D or 3-D kernel" % node.name
    for name, value in view.constants.items():
        if value.dtype not in (np.float32, np.int64, np.int32, np.int8):
            yield "constant %s is %s" % (name, value.dtype)


def _pairs(view: _View) -> Iterator[str]:
    for q in view.all("QuantizeLinear"):
        readers = view.readers.get(q.output[0], [])
        if [n.op_type for n, _ in readers] != ["DequantizeLinear"] or q.output[0] in view.outputs:
            yield "%s is not followed by exactly one DequantizeLinear" % q.name
            continue
        dq = readers[0][0]
        for position in (1, 2):
            values = [
                view.constants.get(n.input[position]) for n in (q, dq) if position < len(n.input)
            ]
            if len(values) == 2 and not np.array_equal(*values):
                yield "%s and %s differ in input %d" % (q.name, dq.name, position)
        if _attributes(q).get("axis", 1) != _attributes(dq).get("axis", 1):
            yield "%s and %s differ in their axis" % (q.name, dq.name)
    for dq in view.all("DequantizeLinear"):
        if view.made_by(dq.input[0], "QuantizeLinear") is None:
            yield "%s has no QuantizeLinear before it" % dq.name


def _zero_points(view: _View) -> Iterator[str]:
    for node in view.all("QuantizeLinear", "DequantizeLinear"):
        zero = view.constants.get(node.input[2]) if len(node.input) == 3 else None
        if zero is None:
            yield "%s has no constant zero-point" % node.name  # the default type is uint8
        elif zero.dtype != np.int8 or zero.any():
            yield "%s has zero-point %s of type %s" % (node.name, zero.ravel()[:3], zero.dtype)


def _scales(view: _View) -> Iterator[str]:
    for node in view.all("QuantizeLinear", "DequantizeLinear"):
        scale = view.constants.get(node.input[1])
        if scale is None or scale.dtype != np.float32:
            yield "%s has no constant float32 scale" % node.name
        elif not np.all(np.isfinite(scale) & (scale > 0)):
            yield "%s has a scale that is not positive and finite" % node.name


def _activation_scales(view: _View) -> Iterator[str]:
    for q in view.activation_pairs():
        scale = view.constants.get(q.input[1])
        if scale is not None and scale.shape not in ((), (1,)):
            yield "%s has %d scales for an activation" % (q.name, scale.size)


def _weight_scales(view: _View) -> Iterator[str]:
    for q in view.weight_pairs():
        weight, scale = view.constants[q.input[0]], view.constants.get(q.input[1])
        for dq, _ in view.readers.get(q.output[0], []):
            for reader, position in view.readers.get(dq.output[0], []):
                axis = KERNEL_AXIS.get(reader.op_type)
                if axis is None or position != 1:
                    continue  # rules "bias" and "reader" speak about those
                if scale is None or scale.shape != (weight.shape[axis],):
                    yield "%s does not have one scale per output channel" % q.name
                elif _attributes(q).get("axis", 1) != axis:
                    yield "%s quantizes along the wrong axis" % q.name


def _operands(view: _View) -> Iterator[str]:
    for node in view.all("Conv", "ConvTranspose", "Gemm", "MatMul"):
        if view.is_int8(node.input[0]) != view.is_int8(node.input[1]):
            yield "%s has only one quantized operand" % node.name


def _biases(view: _View) -> Iterator[str]:
    for node in view.all("Conv", "ConvTranspose", "Gemm"):
        if len(node.input) > 2 and node.input[2] and node.input[2] not in view.constants:
            yield "%s has a bias that is quantized or not constant" % node.name


def _readers(view: _View) -> Iterator[str]:
    """INT8 values go into convolutions and residual additions, nowhere else."""
    for dq in view.all("DequantizeLinear"):
        if dq.output[0] in view.outputs:
            yield "%s is the network's output" % dq.name
        for reader, position in view.readers.get(dq.output[0], []):
            convolution = reader.op_type in KERNEL_AXIS and position < 3
            addition = reader.op_type == "Add" and not any(
                t in view.constants for t in reader.input
            )
            if not convolution and not addition:
                yield "%s %s reads an INT8 value" % (reader.op_type, reader.name)


def _sources(view: _View) -> Iterator[str]:
    for q in view.activation_pairs():
        maker = view.made_by(q.input[0], *FLOAT_SOURCES)
        if maker is not None:
            yield "%s quantizes the result of %s %s" % (q.name, maker.op_type, maker.name)


def _residuals(view: _View) -> Iterator[str]:
    """One Q/DQ on the identity branch of Conv + Add, none on the branch the Add fuses with."""
    for add in view.all("Add"):
        branches = [view.original(t) for t in add.input]
        if any(t in view.constants for t in add.input) or branches[0] == branches[1]:
            continue
        quantized = [i for i, t in enumerate(add.input) if view.is_int8(t)]
        fusable = [i for i, t in enumerate(branches) if _ends_in_int8_convolution(view, t, add)]
        if not fusable:
            allowed: list[list[int]] = [[]]
        elif len(fusable) == 1:
            allowed = [[1 - fusable[0]]]
        else:
            first, second = (
                {n.name for n in view.ancestors(t) if n.op_type == "Conv"} for t in branches
            )
            longer = len(first - second) - len(second - first)
            allowed = [[0], [1]] if longer == 0 else [[1]] if longer > 0 else [[0]]
        if quantized not in allowed:
            yield "%s has Q/DQ on inputs %s, not on %s" % (add.name, quantized, allowed)


def _ends_in_int8_convolution(view: _View, tensor: str, add: NodeProto) -> bool:
    conv = view.made_by(tensor, "Conv", "ConvTranspose")
    if conv is None or not view.is_int8(conv.input[0]) or tensor in view.outputs:
        return False
    final = []
    for reader, _ in view.readers[tensor]:
        if reader.op_type == "QuantizeLinear":
            restored = [n for n, _ in view.readers.get(reader.output[0], [])]
            final.extend(n for dq in restored for n, _ in view.readers.get(dq.output[0], []))
        else:
            final.append(reader)
    return all(n is add for n in final)


def _shared_pairs(view: _View) -> Iterator[str]:
    activations = [q.input[0] for q in view.activation_pairs()]
    for tensor in sorted({t for t in activations if activations.count(t) > 1}):
        yield "%s has more than one Q/DQ pair" % tensor
    by_weight: dict[str, list] = {}
    for q in view.weight_pairs():
        by_weight.setdefault(q.input[0], []).append(view.constants.get(q.input[1]))
    for weight, scales in by_weight.items():
        if not all(np.array_equal(s, scales[0]) for s in scales):
            yield "%s is quantized with different scales" % weight


def _channels(view: _View) -> Iterator[str]:
    """Model-Optimizer's exclusion of convolutions with few channels, with its exceptions."""
    for conv in view.all("Conv"):
        weight = view.constants.get(view.original(conv.input[1]))
        if weight is None or not view.is_int8(conv.input[0]):
            continue
        outputs, per_group, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
        if min(outputs, per_group) >= MIN_CHANNELS:
            continue
        if _attributes(conv).get("group", 1) > 1:
            good = outputs % 8 == 0 and min(kernel) >= 3
        else:
            first = not any(n.op_type == "Conv" for n in view.ancestors(conv.input[0]))
            good = (
                (outputs % 8 == 0 or per_group % 8 == 0)
                and (first or max(outputs, per_group) >= MIN_CHANNELS)
                and len(set(kernel)) == 1
            )
        if not good:
            yield "%s has a %s weight" % (conv.name, weight.shape)


def _vectors(view: _View) -> Iterator[str]:
    """A convolution on a 1x1 map is a matrix-vector product, which INT8 does not speed up."""
    for conv in view.all("Conv"):
        shape = view.shapes.get(view.original(conv.input[0]), ())
        if view.is_int8(conv.input[0]) and shape[2:] == (1, 1):
            yield "%s reads a 1x1 map" % conv.name


def _gates(view: _View) -> Iterator[str]:
    """What only steers a sigmoid or softmax (attention) stays in FP16."""
    main = {id(n) for o in view.outputs for n in view.ancestors(o, barrier=GATES)}
    for conv in view.all("Conv", "ConvTranspose"):
        if id(conv) not in main and view.is_int8(conv.input[0]):
            yield "%s computes attention weights" % conv.name


RULES = {
    "version": _versions,
    "operator": _operators,
    "pair": _pairs,
    "zero point": _zero_points,
    "scale": _scales,
    "activation scale": _activation_scales,
    "weight scale": _weight_scales,
    "operands": _operands,
    "bias": _biases,
    "reader": _readers,
    "source": _sources,
    "residual": _residuals,
    "shared pair": _shared_pairs,
    "channels": _channels,
    "1x1 map": _vectors,
    "gate": _gates,
}
