"""BPU segments of a judged model, and what passes between them and the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto

from export.x3.check_report import BPU, FOLDED, Crossing, NodeCheck, Traffic
from export.x3.tensors import Tensors


def partition(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    checks: Sequence[NodeCheck],
    tensors: Tensors,
) -> tuple[int, Traffic]:
    """Number the BPU segments into ``checks`` and measure the traffic.

    A segment is a connected part of the graph on the BPU that no path leaves and enters again:
    the compiler turns each into one call.

    Returns:
        Number of segments, traffic.
    """
    made_by = _makers(nodes, checks)
    level = [0] * len(nodes)  # how often a path to the node has come back from the CPU
    parent = list(range(len(nodes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    before = [sorted({made_by[t] for t in node.input if t in made_by}) for node in nodes]
    for i, check in enumerate(checks):
        if check.on == FOLDED:
            continue
        back = check.on == BPU
        level[i] = max((level[j] + (back and checks[j].on != BPU) for j in before[i]), default=0)
        if check.on == BPU:
            for j in before[i]:
                if checks[j].on == BPU and level[j] == level[i]:
                    parent[root(i)] = root(j)
    numbers: dict[int, int] = {}
    for i, check in enumerate(checks):
        if check.on == BPU:
            check.segment = numbers.setdefault(root(i), len(numbers))
    return len(numbers), _traffic(model, nodes, checks, tensors, made_by)


def _makers(nodes: Sequence[NodeProto], checks: Sequence[NodeCheck]) -> dict[str, int]:
    """Tensor -> position of the node that makes it; through removed nodes to the one before."""
    made_by: dict[str, int] = {}
    for i, (node, check) in enumerate(zip(nodes, checks)):
        if check.on != FOLDED:
            made_by.update((t, i) for t in node.output if t)
        elif node.input and node.input[0] in made_by and check.reason == "removed":
            made_by[node.output[0]] = made_by[node.input[0]]
    return made_by


def _traffic(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    checks: Sequence[NodeCheck],
    tensors: Tensors,
    made_by: dict[str, int],
) -> Traffic:
    crossing: dict[tuple[str, str], int | None] = {}
    for node, check in zip(nodes, checks):
        for tensor in node.input if check.on != FOLDED else ():
            if tensor not in made_by:
                continue
            maker = checks[made_by[tensor]]
            if (maker.on == BPU) != (check.on == BPU):
                direction = "BPU to CPU" if maker.on == BPU else "CPU to BPU"
                crossing[tensor, direction] = tensor_bytes(tensors, tensor)
    outputs = [o.name for o in model.graph.output if o.name in made_by]
    sizes = [tensor_bytes(tensors, t) for t in outputs if checks[made_by[t]].on == BPU]
    return Traffic(
        tuple(Crossing(t, d, size) for (t, d), size in crossing.items() if size is not None),
        output_bytes=sum(size or 0 for size in sizes),
        unknown=sum(size is None for size in crossing.values()),
    )


def tensor_bytes(tensors: Tensors, name: str) -> int | None:
    """Size of a tensor; None if its shape or type is unknown."""
    shape, kind = tensors.shapes.get(name), tensors.types.get(name, "unknown")
    if shape is None or kind in ("unknown", "string"):
        return None
    return math.prod(shape) * np.dtype(kind).itemsize
