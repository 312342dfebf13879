"""The result of a placement policy, and graph questions that policies share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from export.graph import Graph, attribute

WEIGHTED = ("Conv", "Gemm")
CHOSEN_FLOAT = "left in float because that measured better"
GATES = ("Sigmoid", "Softmax", "Tanh")


@dataclass
class Placement:
    """Which reads of which tensors are quantized.

    Attributes:
        reads: activation tensor -> names of the nodes that read its quantized form.
        weights: names of Conv/Gemm nodes whose weight is quantized per output channel.
        skipped: name of a weighted node left in float -> the reason, for the report.
    """

    reads: dict[str, set[str]] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> list[str]:
        """The activation tensors that need a range."""
        return list(self.reads)

    def read(self, tensor: str, node: NodeProto) -> None:
        self.reads.setdefault(tensor, set()).add(node.name)

    def covers(self, node: NodeProto, position: int) -> bool:
        """Whether input ``position`` of ``node`` is read quantized (as an activation)."""
        return node.name in self.reads.get(node.input[position], ())


def main_path(graph: Graph) -> set[str]:
    """Names of nodes with a path to the output that meets no gate (sigmoid, softmax, tanh).

    The others compute attention weights: their values steer a product, a wrong one cannot be
    averaged out, and they are cheap; every policy leaves them in float.
    """
    made_by = {t: n for n in graph.nodes for t in n.output}
    seen: set[str] = set()
    stack = [graph.output_name]
    while stack:
        node = made_by.get(stack.pop())
        if node is None or node.name in seen or node.op_type in GATES:
            continue
        seen.add(node.name)
        stack.extend(node.input)
    return seen


def weight_of(graph: Graph, node: NodeProto):
    """The constant weight of a Conv or Gemm, or None."""
    return graph.constant(node.input[1]) if node.op_type in WEIGHTED else None


def output_axis(node: NodeProto) -> int:
    """Axis of the output channels in the weight of a Conv or Gemm."""
    return 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1


def multiply_adds_per_node(graph: Graph) -> dict[str, float]:
    """node name -> multiply-adds per image, for Conv, Gemm and MatMul."""
    shapes, macs = graph.shapes(), {}
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        positions = _product(shapes[node.output[0]][1:])
        weight = shapes[node.input[1]]
        if node.op_type == "Conv":
            depth = _product(weight[1:])
        elif node.op_type == "Gemm":
            depth = float(weight[1 if attribute(node, "transB", 0) else 0])
        else:
            depth = float(shapes[node.input[0]][-1])
        macs[node.name] = positions * depth
    return macs


def _product(dims) -> float:
    return float(np.prod([float(d) for d in dims if isinstance(d, int)]))
