"""What the limits of the operator table speak about, read off a node: kernels, channels, sizes.

A quantity is a tuple of values, each of which must keep the limit; None where a shape is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Optional

from export.graph import attribute
from export.x3.operators import Value
from export.x3.tensors import Shape
from export.x3.view import View, map_size, shape_text

Values = Optional[tuple[Value, ...]]
_MODES = {"Pad": "constant", "Resize": "nearest", "Upsample": "nearest"}


def _pair(view: View, name: str, default: int) -> tuple[int, ...]:
    return tuple(attribute(view.node, name) or (default, default))


def _kernel(view: View) -> tuple[int, ...] | None:
    given = attribute(view.node, "kernel_shape")
    if given:
        return tuple(given)
    weights = view.shape(view.input(1))
    return None if weights is None else weights[2:]


def _strides(view: View) -> tuple[int, ...]:
    return _pair(view, "strides", 1)


def dilations(view: View) -> tuple[int, ...]:
    return _pair(view, "dilations", 1)


def _pads(view: View) -> tuple[int, ...] | None:
    """Padding at the beginnings, then at the ends, of H and W; of all dimensions for Pad."""
    if view.node.op_type == "Pad":
        pads = view.setting("pads", 1)
        return None if pads is None else tuple(pads)
    return tuple(attribute(view.node, "pads") or (0, 0, 0, 0))


def _padding_difference(view: View) -> Values:
    pads = _pads(view)
    if pads is None:
        return None
    return tuple(abs(a - b) for a, b in zip(pads, pads[len(pads) // 2 :]))


def _group_channels(view: View) -> Values:
    """Channels in and out of one group."""
    weights = view.shape(view.input(1))
    if weights is None:
        return None
    group = attribute(view.node, "group", 1)
    if view.node.op_type == "ConvTranspose":
        return weights[0] // group, weights[1]
    return weights[1], weights[0] // group


def _kernel_volume(view: View) -> Values:
    """H x W x C of one kernel."""
    if view.node.op_type == "Gemm":
        size = map_size(view)
        return None if size is None else (math.prod(size),)
    kernel, weights = _kernel(view), view.shape(view.input(1))
    return None if kernel is None or weights is None else (math.prod(kernel) * weights[1],)


def _ratio(pair: tuple[float, ...]) -> Values:
    return (round(pair[0] / pair[1], 4),) if len(pair) == 2 and pair[1] else ()


def _beyond_half_kernel(view: View) -> Values:
    kernel, pads = _kernel(view), _pads(view)
    if kernel is None or pads is None:
        return None
    return tuple(pad - (k - 1) / 2 for pad, k in zip(pads, (*kernel, *kernel)))


def _variable_weights(view: View) -> Values:
    return (int(not view.is_constant(view.input(1))),)


def _rank(view: View) -> Values:
    """Of the inputs that are computed; the compiler reshapes outputs."""
    shapes = view.shapes(view.features)
    return None if shapes is None else tuple(len(s) for s in shapes)


def _batch(view: View) -> Values:
    shapes = view.shapes(view.features)
    return None if shapes is None else tuple(s[0] for s in shapes if len(s) == 4)


def _channels(view: View, outputs: bool = False) -> Values:
    names = [t for t in view.node.input if t] + (list(view.node.output) if outputs else [])
    shapes = view.shapes(names)
    return None if shapes is None else tuple(s[1] for s in shapes if len(s) == 4)


def operand_shapes(view: View) -> Values:
    """How two operands relate, as the table writes it; else their shapes."""
    shapes = view.shapes([t for t in view.node.input if t])
    if shapes is None:
        return None
    if len(shapes) == 1:
        return ("NCHW, NCHW",)
    # Sum takes any number of operands: each is held against the largest.
    largest = max(shapes, key=math.prod)
    rest = list(shapes)
    rest.remove(largest)
    return tuple(_relation(largest, other) for other in rest)


def _relation(large: Shape, small: Shape) -> str:
    if len(large) == len(small) == 4:
        if large == small:
            return "NCHW, NCHW"
        if small == (*large[:2], 1, 1):
            return "NCHW, NC11"
        if small == (large[0], 1, 1, 1):
            return "NCHW, N111"
    return "%s, %s" % (shape_text(large), shape_text(small))


def _constant_operands(view: View) -> Values:
    return (sum(view.is_constant(t) for t in view.node.input),)


def _zeros(view: View) -> Values:
    values = [view.constant(i) for i, t in enumerate(view.node.input) if view.is_constant(t)]
    if any(v is None for v in values):
        return None
    return tuple(int((v == 0).sum()) for v in values if v is not None)


def _rows(view: View) -> Values:
    """Of the left matrix of a Gemm."""
    shape = view.shape(view.input(0))
    if shape is None:
        return None
    return (shape[1 if attribute(view.node, "transA", 0) else 0],)


def _of_map(view: View, compute: Callable[[int, int, int], tuple[Value, ...]]) -> Values:
    size = map_size(view)
    return None if size is None else compute(*size)


def _of_input(view: View, compute: Callable[[int, int, int], tuple[Value, ...]]) -> Values:
    """Of the first input's (C, H, W); nothing where it is not 4-D, which ``rank`` reports."""
    shape = view.shape(view.input(0))
    if shape is None:
        return None
    return compute(*shape[1:]) if len(shape) == 4 else ()


def aligned_size(channels: int, height: int, width: int) -> int:
    """Elements of a map after the smaller of the alignments 8W4C and 32C."""
    up = lambda value, step: -(-value // step) * step  # noqa: E731
    return height * min(up(width, 8) * up(channels, 4), width * up(channels, 32))


def _axes(view: View) -> tuple[int, ...] | None:
    axes = view.setting("axes", 1)
    shape = view.shape(view.input(0))
    if shape is None:
        return None
    if axes is None:
        return tuple(range(len(shape)))
    return tuple(sorted(a % len(shape) for a in axes))


def _axes_text(view: View) -> Values:
    axes = _axes(view)
    return None if axes is None else (",".join(map(str, axes)),)


def _number_of_axes(view: View) -> Values:
    axes, shape = _axes(view), view.shape(view.input(0))
    if axes is None or shape is None:
        return None
    return ("all" if len(axes) == len(shape) else len(axes),)


def _axis(view: View) -> Values:
    shape = view.shape(view.input(0))
    axis = attribute(view.node, "axis", 0)
    return (axis,) if shape is None or axis >= 0 else (axis + len(shape),)


def _split_sizes(view: View) -> Values:
    axis = _axis(view)
    shapes = view.shapes([t for t in view.node.output if t])
    if axis is None or shapes is None:
        return None
    return (len({s[int(axis[0])] for s in shapes}),)


def _scales(view: View) -> tuple[float, ...] | None:
    before, after = view.shape(view.input(0)), view.shape(view.node.output[0])
    if before is None or after is None or len(before) != 4 or 0 in before:
        return None
    return tuple(a / b for a, b in zip(after, before))


def _scale_hw(view: View) -> tuple[float, ...] | None:
    scales = _scales(view)
    return None if scales is None else scales[2:]


def _scale_nc(view: View) -> tuple[float, ...] | None:
    scales = _scales(view)
    return None if scales is None else scales[:2]


def _scale_ratio(view: View) -> Values:
    scales = _scale_hw(view)
    return None if scales is None else _ratio(scales)


def _padding_nc(view: View) -> Values:
    pads = _pads(view)
    return None if pads is None else (sum(abs(p) for i, p in enumerate(pads) if i % 4 < 2),)


def _broadcast_rank(view: View) -> Values:
    shapes = view.shapes([t for t in view.node.input if t])
    return None if shapes is None else (max(map(len, shapes)),)


def _type(view: View) -> Values:
    position = 1 if view.node.op_type == "Where" else 0
    found = view.tensors.types.get(view.input(position))
    return None if found in (None, "unknown") else (str(found),)


def _exponent_values(view: View) -> Values:
    shape = view.shape(view.input(1))
    return None if shape is None else (math.prod(shape),)


def _lstm_batch(view: View) -> Values:
    shape = view.shape(view.input(0))
    return None if shape is None else (shape[1],)


QUANTITIES: dict[str, Callable[[View], Values]] = {
    "rank": _rank,
    "batch": _batch,
    "kernel": _kernel,
    "stride": _strides,
    "dilation": dilations,
    "padding": _pads,
    "group channels": _group_channels,
    "kernel volume": _kernel_volume,
    "stride h over w": lambda v: _ratio(_strides(v)),
    "dilation h over w": lambda v: _ratio(dilations(v)),
    "dilation modulo stride": lambda v: tuple(d % s for d, s in zip(dilations(v), _strides(v))),
    "padding beyond half the kernel": _beyond_half_kernel,
    "padding difference between sides": _padding_difference,
    "padding of N and C": _padding_nc,
    "variable weights": _variable_weights,
    "rows": _rows,
    "map channels": lambda v: _of_map(v, lambda c, h, w: (c,)),
    "map height and width": lambda v: _of_map(v, lambda c, h, w: (h, w)),
    "H x W/8 x C/4": lambda v: _of_map(v, lambda c, h, w: (h * w * c / 32,)),
    "channels": _channels,
    "channels in and out": lambda v: _channels(v, outputs=True),
    "operand shapes": operand_shapes,
    "constant operands": _constant_operands,
    "zeros in a constant operand": _zeros,
    "axis": _axis,
    "axes": _axes_text,
    "number of axes": _number_of_axes,
    "different sizes": _split_sizes,
    "exponent values": _exponent_values,
    "H x W": lambda v: _of_input(v, lambda c, h, w: (h * w,)),
    "height and width": lambda v: _of_input(v, lambda c, h, w: (h, w)),
    "C x H x W": lambda v: _of_input(v, lambda c, h, w: (c * h * w,)),
    "smaller aligned size": lambda v: _of_input(v, lambda c, h, w: (aligned_size(c, h, w),)),
    "scale": _scale_hw,
    "scale of N and C": _scale_nc,
    "scale h over w": _scale_ratio,
    "mode": lambda v: (attribute(v.node, "mode", _MODES.get(v.node.op_type, "")),),
    "coordinate mode": lambda v: (
        attribute(v.node, "coordinate_transformation_mode", "half_pixel"),
    ),
    "blocksize": lambda v: (attribute(v.node, "blocksize", 0),),
    "auto_pad": lambda v: (attribute(v.node, "auto_pad", "NOTSET"),),
    "direction": lambda v: (attribute(v.node, "direction", "forward"),),
    "p": lambda v: (attribute(v.node, "p", 2),),
    "broadcast rank": _broadcast_rank,
    "type": _type,
    "opset": lambda v: (v.opset,),
    "LSTM batch": _lstm_batch,
}
