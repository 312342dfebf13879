"""Shapes, types and constants of an ONNX model's tensors, as far as they are fixed in the file."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

_LARGE = 1024  # elements: shape arithmetic is smaller, weights are larger
_EVALUATED = 1 << 20  # elements of the inputs: larger constant results are known by shape only
_SHAPE_OPS = ("Shape", "Size")
_NOT_FIXED = ("If", "Loop", "Scan")  # read tensors of the graph around them

Shape = tuple[int, ...]
_log = logging.getLogger(__name__)


@dataclass
class Tensors:
    """What is known without running the model.

    Attributes:
        shapes: Tensor -> static shape; a tensor with an unknown dimension is missing.
        types: Tensor -> NumPy name of its element type, such as ``"float32"``.
        values: Constant tensor -> value; large results of constant nodes are missing.
        constants: Names of all tensors that do not depend on the input.
        inputs: The model's inputs, without those that initializers fill.
        dynamic: Input -> positions of its dimensions that the file leaves open. A first dimension
            is taken as 1 in ``shapes``.
    """

    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    inputs: list[str] = field(default_factory=list)
    dynamic: dict[str, list[int]] = field(default_factory=dict)

    def is_constant_node(self, node: NodeProto) -> bool:
        """Whether constant folding removes ``node``."""
        return bool(node.output) and all(t in self.constants for t in node.output if t)


def fixed_tensors(model: onnx.ModelProto) -> Tensors:
    """Infer what the file fixes; ``model`` is not changed.

    Raises:
        onnx.shape_inference.InferenceError: The model contradicts itself.
    """
    tensors = Tensors()
    graph = model.graph
    for tensor in graph.initializer:
        tensors.shapes[tensor.name] = tuple(tensor.dims)
        tensors.types[tensor.name] = _type_name(tensor.data_type)
        tensors.values[tensor.name] = numpy_helper.to_array(tensor)
    tensors.constants = set(tensors.values)
    tensors.inputs = [i.name for i in graph.input if i.name not in tensors.values]
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            _evaluate(node, tensors, model)
    skeleton = _skeleton(model, tensors)
    while True:  # new shapes make constants known, and constants make shapes known
        _read_shapes(onnx.shape_inference.infer_shapes(skeleton, data_prop=True), tensors)
        folded = [_fold(node, tensors, model) for node in skeleton.graph.node]
        if not any(folded):
            return tensors
        _replace(skeleton, folded, tensors)


def _skeleton(model: onnx.ModelProto, tensors: Tensors) -> onnx.ModelProto:
    """The model without large weights and without stale shapes, its batch fixed to 1."""
    skeleton = onnx.ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name or "graph"
    for info in model.graph.input:
        if info.name in tensors.inputs:
            copy = graph.input.add()
            copy.CopyFrom(info)
            _fix_batch(copy, tensors)
    for info in model.graph.output:
        kind = info.type.tensor_type.elem_type
        graph.output.append(helper.make_tensor_value_info(info.name, kind, None))
    graph.node.extend(n for n in model.graph.node if not tensors.is_constant_node(n))
    _add_constants(graph, tensors, tensors.values)
    return skeleton


def _add_constants(graph: onnx.GraphProto, tensors: Tensors, names: Iterable[str]) -> None:
    """Small constants as initializers; large ones as inputs, which spares copying their bytes."""
    for name in names:
        value = tensors.values.get(name)
        if value is not None and value.size <= _LARGE:
            graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        elif name in tensors.shapes:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensors.types[name]))
            graph.input.append(helper.make_tensor_value_info(name, kind, tensors.shapes[name]))


def _fix_batch(info: onnx.ValueInfoProto, tensors: Tensors) -> None:
    dims = info.type.tensor_type.shape.dim
    free = [i for i, d in enumerate(dims) if not d.HasField("dim_value") or d.dim_value < 1]
    if free or not info.type.tensor_type.HasField("shape"):
        tensors.dynamic[info.name] = free
    if free and free[0] == 0:
        dims[0].dim_value = 1


def _read_shapes(inferred: onnx.ModelProto, tensors: Tensors) -> None:
    graph = inferred.graph
    for info in [*graph.input, *graph.value_info, *graph.output]:
        kind = info.type.tensor_type
        if kind.elem_type:
            tensors.types[info.name] = _type_name(kind.elem_type)
        dims = kind.shape.dim
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            tensors.shapes[info.name] = tuple(d.dim_value for d in dims)


def _fold(node: NodeProto, tensors: Tensors, model: onnx.ModelProto) -> bool:
    """Mark the outputs of ``node`` as constant if they are; False where they are not."""
    if node.op_type in _NOT_FIXED or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in _SHAPE_OPS:
        shape = tensors.shapes.get(node.input[0])
        if shape is None:
            return False
        # From opset 15 on a part of the shape can be asked for.
        bounds = {a.name: a.i for a in node.attribute if a.name in ("start", "end")}
        part = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
        value = np.asarray(part if node.op_type == "Shape" else np.prod(shape), np.int64)
        _store(node.output[0], value, tensors)
        return True
    names = [t for t in node.input if t]
    if not names or any(t not in tensors.constants for t in names):
        return False
    if all(t in tensors.values for t in names):
        if sum(tensors.values[t].size for t in names) <= _EVALUATED:
            _evaluate(node, tensors, model)
    tensors.constants.update(t for t in node.output if t)
    return True


def _evaluate(node: NodeProto, tensors: Tensors, model: onnx.ModelProto) -> None:
    """Compute the outputs of a node with constant inputs."""
    names = list(dict.fromkeys(t for t in node.input if t))
    inputs = [
        helper.make_tensor_value_info(
            t, helper.np_dtype_to_tensor_dtype(tensors.values[t].dtype), tensors.values[t].shape
        )
        for t in names
    ]
    outputs = [onnx.ValueInfoProto(name=t) for t in node.output if t]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    single = helper.make_model(graph, opset_imports=model.opset_import)
    try:
        results = ReferenceEvaluator(single).run(None, {t: tensors.values[t] for t in names})
    except Exception as error:  # it has no list of what it lacks; the value then stays unknown
        _log.debug("constant node %s (%s) was not evaluated: %s", node.name, node.op_type, error)
        return
    for info, value in zip(outputs, results):
        _store(info.name, np.asarray(value), tensors)


def _store(name: str, value: np.ndarray, tensors: Tensors) -> None:
    tensors.values[name] = value
    tensors.shapes[name] = value.shape
    tensors.types[name] = value.dtype.name
    tensors.constants.add(name)


def _replace(skeleton: onnx.ModelProto, folded: list[bool], tensors: Tensors) -> None:
    """Put constants where the folded nodes were."""
    for i in reversed([i for i, gone in enumerate(folded) if gone]):
        _add_constants(skeleton.graph, tensors, [t for t in skeleton.graph.node[i].output if t])
        del skeleton.graph.node[i]


def _type_name(elem_type: int) -> str:
    if elem_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return "string" if elem_type == TensorProto.STRING else "unknown"
    return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).name
