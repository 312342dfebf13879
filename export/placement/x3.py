"""Where Horizon's BPU (bernoulli2, the X3) rounds to int8: symmetric, zero-point 0.

Every BPU operator reads and writes int8; what the CPU computes is float. Sources: the X3 manual
(HorizonRDK/rdk_x3_doc), its operator list, and the node tables that hb_mapper prints.

* A ReLU is part of the convolution or addition in front of it: only what comes out behind it is
  rounded.
* A residual addition is part of the convolution that makes one of its operands ("resnet shortcut
  fused", strides 1 and 2): that operand stays in the accumulator. Where no operand comes straight
  from a convolution, the tables show a unit convolution, which reads both as int8. Where two could
  be fused the manual does not say which is; here it is the first.
* Operators that only move codes (max pooling, slices, a ReLU of its own) have one threshold in the
  tables for both ends: the result keeps the codes, and the scale, of the input.
* All operands of a concatenation have the scale of its result. What nothing else reads is made with
  that scale; the rest is rounded a second time (``HzRequantize`` in the tables).
* Sigmoid and the like are tables from int8 to int8 (``HzLut``).
* A convolution whose result is the network's output gives int32, so that is not rounded.
* Normalised pixels are int8 too: ``HzSQuantizedPreprocess`` writes them for the first convolution.

Not documented, and taken the pessimistic way: a fused ReLU in front of the output, and what a
convolution hands to the CPU in the middle of the network, are int8; constant operands of additions
and products have one scale for the whole tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from export.graph import Graph, attribute
from export.placement.base import Placement, weight_of

ON_CPU = "runs in float on the CPU"
CONVOLUTIONS = ("Conv", "ConvTranspose", "Gemm")
SHORTCUTS = ("Add", "Sum")
RESHAPERS = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity")
# Operators whose result holds codes of the input, unchanged.
CARRIERS = (
    "Relu", "Clip", "MaxPool", "GlobalMaxPool", "Split", "Slice", "Pad", "DepthToSpace",
    "SpaceToDepth", *RESHAPERS,
)  # fmt: skip
# Operators all of whose inputs are values; of the others only the first is.
COMBINERS = ("Add", "Sum", "Sub", "Mul", "Div", "MatMul", "Concat", "Max", "Min")
FUSED_STRIDES = (1, 2)


@dataclass
class X3Placement(Placement):
    """A placement in which some tensors share a scale.

    Attributes:
        owners: Rounded tensor -> the tensor whose range gives it its scale; mostly itself.
    """

    owners: dict[str, str] = field(default_factory=dict)


def place(graph: Graph, keep_float: frozenset[str] = frozenset()) -> X3Placement:
    """Place quantization.

    Args:
        graph: The float graph that hb_mapper is given, nodes named.
        keep_float: Names of the nodes that run on the CPU.

    Returns:
        The placement; among its reads are constant operands of additions and products.
    """
    graph.sort()
    placement = X3Placement()
    on_bpu = {n.name for n in graph.nodes} - keep_float
    inside = _accumulators(graph, on_bpu)
    made_on_bpu = {t for n in graph.nodes if n.name in on_bpu for t in n.output}
    for node in graph.nodes:
        weighted = weight_of(graph, node) is not None
        if node.name not in on_bpu:
            if weighted:
                placement.skipped[node.name] = ON_CPU
            read = [t for t in node.input if t in made_on_bpu]
        else:
            if weighted:
                placement.weights.append(node.name)
            read = _operands(graph, node)
        for tensor in read:
            if tensor not in inside:
                placement.read(tensor, node)
    for tensor in placement.tensors:
        placement.owners[tensor] = _scale_owner(graph, placement, on_bpu, tensor)
    return placement


def _scale_owner(graph: Graph, placement: Placement, on_bpu: set[str], tensor: str) -> str:
    """What carriers read to make ``tensor``, the concatenation it goes into, or itself."""
    source, reader = graph.producer(tensor), graph.only_consumer(tensor)
    if (
        source is not None
        and source.name in on_bpu
        and source.op_type in CARRIERS
        and placement.covers(source, 0)
    ):
        return _scale_owner(graph, placement, on_bpu, source.input[0])
    if (
        reader is not None
        and reader.name in on_bpu
        and reader.op_type == "Concat"
        and reader.output[0] in placement.reads
    ):
        return _scale_owner(graph, placement, on_bpu, reader.output[0])
    return tensor


def _operands(graph: Graph, node: NodeProto) -> list[str]:
    """The tensors that a BPU operator reads as int8 values; weights are not among them."""
    if node.op_type in COMBINERS:
        read = [t for t in node.input if t]
    elif node.op_type in CONVOLUTIONS and weight_of(graph, node) is None:
        read = list(node.input[:2])
    else:
        read = list(node.input[:1])
    return [t for t in read if (c := graph.constant(t)) is None or c.dtype == np.float32]


def _accumulators(graph: Graph, on_bpu: set[str]) -> set[str]:
    """Tensors that exist only inside a BPU operator, or leave it as int32."""
    inside: set[str] = set()
    for node in graph.nodes:
        if node.name not in on_bpu or node.op_type not in (*CONVOLUTIONS, *SHORTCUTS):
            continue
        result = node.output[0]
        reader = graph.only_consumer(result)
        if node.op_type in CONVOLUTIONS and _is_output(graph, result, on_bpu):
            inside.add(result)
        elif reader is not None and reader.name in on_bpu:
            if reader.op_type == "Relu" or _fused_operand(graph, reader, on_bpu) == result:
                inside.add(result)
    return inside


def _fused_operand(graph: Graph, add: NodeProto, on_bpu: set[str]) -> str | None:
    """The operand of an addition that is still in the accumulator of its convolution, or None."""
    operands = set(add.input)
    if (
        add.op_type not in SHORTCUTS
        or len(operands) < len(add.input)
        or any(graph.constant(t) is not None for t in operands)
    ):
        return None
    for tensor in add.input:
        source = graph.producer(tensor)
        if (
            source is not None
            and source.name in on_bpu
            and source.op_type == "Conv"
            and set(attribute(source, "strides", (1,))) <= set(FUSED_STRIDES)
            and graph.only_consumer(tensor) is add
        ):
            return tensor
    return None


def _is_output(graph: Graph, tensor: str, on_bpu: set[str]) -> bool:
    """Whether ``tensor`` is the network's output but for a change of shape on the CPU."""
    while tensor != graph.output_name:
        reader = graph.only_consumer(tensor)
        if reader is None or reader.name in on_bpu or reader.op_type not in RESHAPERS:
            return False
        tensor = reader.output[0]
    return True
