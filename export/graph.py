"""An ONNX graph that is easy to edit: nodes in order, initializers as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper


class Graph:
    """Editable view of a single-output ONNX model.

    ``nodes`` may be edited freely; ``to_model`` sorts them and drops what nothing uses.

    Attributes:
        nodes: Node protos.
        initializers: name -> array.
        input_name, output_name: The network's one input and one output.
    """

    def __init__(self, model: onnx.ModelProto):
        self._model = model
        graph = model.graph
        self.initializers: dict[str, np.ndarray] = {
            t.name: numpy_helper.to_array(t) for t in graph.initializer
        }
        self.nodes: list[NodeProto] = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.initializers[node.output[0]] = _constant_value(node)
            else:
                copy = NodeProto()
                copy.CopyFrom(node)
                self.nodes.append(copy)
        inputs = [i.name for i in graph.input if i.name not in self.initializers]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(
                "expected one input and one output, got %d and %d"
                % (len(inputs), len(graph.output))
            )
        self.input_name, self.output_name = inputs[0], graph.output[0].name
        self._names = set(self.initializers) | {self.input_name}
        self._names.update(name for n in self.nodes for name in (n.name, *n.output))
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))

    # -- reading ---------------------------------------------------------------------------------

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that makes ``tensor``, or None for inputs and initializers."""
        return next((n for n in self.nodes if tensor in n.output), None)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """The nodes that read ``tensor``, in graph order."""
        return [n for n in self.nodes if tensor in n.input]

    def only_consumer(self, tensor: str) -> NodeProto | None:
        """The one node that reads ``tensor``; None if there are more, or if it is the output."""
        consumers = self.consumers(tensor)
        return consumers[0] if len(consumers) == 1 and tensor != self.output_name else None

    def constant(self, tensor: str) -> np.ndarray | None:
        return self.initializers.get(tensor)

    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Shape of every tensor; the batch is a string."""
        inferred = onnx.shape_inference.infer_shapes(self.to_model(), data_prop=True).graph
        infos = list(inferred.value_info) + list(inferred.input) + list(inferred.output)
        shapes: dict[str, tuple[int | str, ...]] = {
            k: v.shape for k, v in self.initializers.items()
        }
        for info in infos:
            dims = info.type.tensor_type.shape.dim
            shapes[info.name] = tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims
            )
        return shapes

    # -- editing ---------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """Reserve a tensor or node name that was never used here, starting with ``stem``."""
        name, count = stem, 0
        while name in self._names:
            count += 1
            name = "%s_%d" % (stem, count)
        self._names.add(name)
        return name

    def add_constant(self, stem: str, value: np.ndarray) -> str:
        name = self.fresh(stem)
        self.initializers[name] = np.asarray(value)
        return name

    def add_node(
        self,
        op_type: str,
        inputs: Iterable[str],
        outputs: Iterable[str],
        name: str = "",
        **attributes: Any,
    ) -> NodeProto:
        node = helper.make_node(
            op_type, list(inputs), list(outputs), name or self.fresh(op_type), **attributes
        )
        self.nodes.append(node)
        return node

    def remove(self, *nodes: NodeProto) -> None:
        ids = {id(n) for n in nodes}
        self.nodes = [n for n in self.nodes if id(n) not in ids]

    def redirect(self, old: str, new: str, only: Iterable[NodeProto] | None = None) -> None:
        """Make the readers of ``old`` (all, or ``only`` these) read ``new``.

        When ``old`` is the graph's output, ``new`` takes over its name, so the name stays; the node
        that made ``old`` must have been removed.
        """
        targets = self.nodes if only is None else list(only)
        for node in targets:
            for i, tensor in enumerate(node.input):
                if tensor == old:
                    node.input[i] = new
        if only is None and old == self.output_name:
            for node in self.nodes:
                for i, tensor in enumerate(node.output):
                    if tensor == new:
                        node.output[i] = old
                for i, tensor in enumerate(node.input):
                    if tensor == new:
                        node.input[i] = old

    # -- writing ---------------------------------------------------------------------------------

    def sort(self) -> None:
        """Order nodes so that each comes after what it reads; drop those that feed nothing."""
        made_by = {t: n for n in self.nodes for t in n.output}
        order: list[NodeProto] = []
        state: dict[int, int] = {}
        stack = [(made_by[self.output_name], False)]
        while stack:
            node, done = stack.pop()
            if done:
                state[id(node)] = 2
                order.append(node)
                continue
            if state.get(id(node)) is not None:
                continue
            state[id(node)] = 1
            stack.append((node, True))
            for tensor in reversed(node.input):
                parent = made_by.get(tensor)
                if parent is not None:
                    if state.get(id(parent)) == 1:
                        raise ValueError("the graph has a cycle through %s" % tensor)
                    stack.append((parent, False))
        self.nodes = order

    def to_model(self) -> onnx.ModelProto:
        """The model, sorted and without unused nodes or initializers."""
        self.sort()
        used = {t for n in self.nodes for t in n.input}
        model = onnx.ModelProto()
        model.ir_version = self._model.ir_version
        model.opset_import.extend(self._model.opset_import)
        model.metadata_props.extend(self._model.metadata_props)
        model.producer_name = "reid-edge"
        model.graph.name = self._model.graph.name or "reid"
        model.graph.input.extend(i for i in self._model.graph.input if i.name == self.input_name)
        model.graph.output.extend(self._model.graph.output)
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(v, order="C"), k)
            for k, v in self.initializers.items()
            if k in used
        )
        return model

    def copy(self) -> Graph:
        return Graph(self.to_model())


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Value of an attribute of ``node``, or ``default``."""
    for a in node.attribute:
        if a.name == name:
            value = helper.get_attribute_value(a)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    for a in list(node.attribute):
        if a.name == name:
            node.attribute.remove(a)
    node.attribute.append(helper.make_attribute(name, value))


def _constant_value(node: NodeProto) -> np.ndarray:
    for a in node.attribute:
        if a.name == "value":
            return numpy_helper.to_array(a.t)
        if a.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(a), np.float32)
        if a.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(a), np.int64)
    raise ValueError("Constant node %s holds no tensor" % node.name)
