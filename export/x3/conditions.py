"""When a limit of the operator table applies to a node."""

from __future__ import annotations

from collections.abc import Callable

from export.graph import attribute
from export.x3.operators import operator_table
from export.x3.quantities import dilations, operand_shapes
from export.x3.view import View, map_size

_SHORTCUT = ("Add", "Sum")


def _is_grouped_or_dilated(view: View) -> bool:
    return attribute(view.node, "group", 1) > 1 or max(dilations(view)) > 1


def _before_shortcut(view: View) -> bool:
    """Whether the only reader is an Add of two feature maps, BatchNormalization in between or not."""
    reader = view.only_consumer(view.node.output[0])
    if reader is not None and reader.op_type == "BatchNormalization":
        reader = view.only_consumer(reader.output[0])
    return (
        reader is not None
        and reader.op_type in _SHORTCUT
        and not any(view.is_constant(t) for t in reader.input)
    )


def _read_by_bpu(view: View) -> bool:
    operators = operator_table().operators
    readers = view.consumers.get(view.node.output[0], [])
    return any(r.op_type in operators and operators[r.op_type].on == "BPU" for r in readers)


def _is_flat(view: View) -> bool:
    size = map_size(view)
    return size is None or size[1:] == (1, 1)


def _mode(view: View) -> str:
    return attribute(view.node, "mode", "nearest")


def _shapes_differ(view: View) -> bool:
    shapes = view.shapes([t for t in view.node.input if t])
    return shapes is not None and len(set(shapes)) > 1


CONDITIONS: dict[str, Callable[[View], bool]] = {
    "ordinary convolution": lambda v: not _is_grouped_or_dilated(v),
    "grouped or dilated convolution": _is_grouped_or_dilated,
    "dilated convolution": lambda v: max(dilations(v)) > 1,
    "followed by a shortcut Add": _before_shortcut,
    "flat map": _is_flat,
    "map larger than 1x1": lambda v: not _is_flat(v),
    "read by a BPU operator": _read_by_bpu,
    "not read by a BPU operator": lambda v: not _read_by_bpu(v),
    "NC11 operand": lambda v: "NCHW, NC11" in (operand_shapes(v) or ()),
    "nearest": lambda v: _mode(v) == "nearest",
    "nearest or linear": lambda v: _mode(v) in ("nearest", "linear"),
    "cubic": lambda v: _mode(v) == "cubic",
    "shapes differ": _shapes_differ,
}
