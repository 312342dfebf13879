"""From the outputs of a compiled model to those of the ONNX model it was made from.

The vendor's compiler may hand out outputs in another order, with dimensions of 1 added, with channels
last, or as integers with scales. The decoders know the ONNX model's outputs only.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from runtime.detectors.kinds import Kind
from runtime.detectors.record import OutputRecord
from runtime.errors import ReidEdgeError
from runtime.horizon_model import OUTPUT_TYPES, Output, channel_axis

Shape = Tuple[int, ...]
_TO_NCHW = (0, 3, 1, 2)


class Arrangement(NamedTuple):
    """Where an output of the ONNX model comes from.

    Attributes:
        position: Of the compiled model's output.
        given: Its shape.
        scale: Factor that broadcasts over ``given``; None where it is float already.
        axes: Transposition of ``given``.
        shape: What comes out.
    """

    position: int
    given: Shape
    scale: Optional[np.ndarray]
    axes: Tuple[int, ...]
    shape: Shape

    def apply(self, buffers: Sequence[np.ndarray]) -> np.ndarray:
        """The ONNX model's output, float32 in memory of its own."""
        values = buffers[self.position].reshape(self.given)
        values = values.astype(np.float32)  # a copy: the next run writes into the board's buffer
        if self.scale is not None:
            values *= self.scale
        return np.ascontiguousarray(values.transpose(self.axes)).reshape(self.shape)


def arrange(
    outputs: Sequence[Output],
    wanted: Optional[Sequence[OutputRecord]],
    kind: Kind,
    size: Tuple[int, int],
    file: str,
) -> List[Arrangement]:
    """Find each output of the ONNX model among those of the compiled one.

    By name where all names are the same, else by shape.

    Args:
        outputs: The compiled model's.
        wanted: The ONNX model's in their order; None where the record does not name them, then a
            single output is taken for whatever ``kind`` has.
        kind: What the network is.
        size: (height, width) of its input.
        file: Name of the compiled model, for messages.

    Raises:
        ReidEdgeError: An output that is missing, ambiguous, or cannot be turned into floats.
    """
    if wanted is None:
        wanted = [_single(outputs, kind, size, file)]
    if len(outputs) != len(wanted):
        raise ReidEdgeError(
            "%s must have %d outputs, got %d; compile the model of this export."
            % (file, len(wanted), len(outputs))
        )
    by_name = {output.name: index for index, output in enumerate(outputs)}
    named = sorted(by_name) == sorted(want.name for want in wanted)
    found = []
    for want in wanted:
        places = [by_name[want.name]] if named else range(len(outputs))
        fitting = [p for p in places if _axes(outputs[p].shape, want.shape) is not None]
        if len(fitting) != 1:
            raise ReidEdgeError(
                "%s must have one output %s of %s, got %s (%s); compile the model of this export."
                % (
                    file,
                    want.name,
                    want.shape,
                    len(fitting) or "none",
                    ", ".join("%s %s" % (output.name, output.shape) for output in outputs),
                )
            )
        output = outputs[fitting[0]]
        axes = _axes(output.shape, want.shape) or ()
        scale = _scale(output, file)
        found.append(Arrangement(fitting[0], output.shape, scale, axes, want.shape))
    return found


def _axes(given: Shape, wanted: Shape) -> Optional[Tuple[int, ...]]:
    """The transposition that makes ``wanted`` of ``given``, but for dimensions of 1; None if none."""
    candidates = [tuple(range(len(given)))]
    if len(given) == 4:
        candidates.append(_TO_NCHW)
    long = [axis for axis, side in enumerate(given) if side != 1]
    if len(long) == 2:  # rows and columns swapped, wherever the dimensions of 1 are
        swapped = list(range(len(given)))
        swapped[long[0]], swapped[long[1]] = long[1], long[0]
        candidates.append(tuple(swapped))
    target = [side for side in wanted if side != 1]
    for axes in candidates:
        if [given[axis] for axis in axes if given[axis] != 1] == target:
            return axes
    return None


def _single(outputs, kind, size, file):
    """What ``kind`` puts out, where there is one output and nothing recorded."""
    if len(outputs) != 1:
        raise ReidEdgeError(
            "%s has %d outputs and its detector.json does not name them; export the detector again "
            "with this version." % (file, len(outputs))
        )
    given = outputs[0].shape
    long = tuple(side for side in given if side != 1)
    shapes = [(1, *long), (1, *long[::-1])] if len(long) == 2 else []
    if len(given) == 4:
        shapes += [given, tuple(given[axis] for axis in _TO_NCHW)]
    for shape in shapes:
        if kind.classes([np.broadcast_to(np.float32(0), shape)], size) is not None:
            return OutputRecord(outputs[0].name, shape)
    raise ReidEdgeError(
        "%s is no %s: expected %s for an input of %d x %d, got %s; compile the model of this export."
        % (file, kind.name, kind.signature, *size, given)
    )


def _scale(output, file):
    if output.tensor_type not in OUTPUT_TYPES:
        raise ReidEdgeError(
            "%s returns %s as %s, but reid-edge reads %s; compile it again."
            % (file, output.name, output.tensor_type, ", ".join(OUTPUT_TYPES))
        )
    if output.tensor_type == "float32":
        return None
    axis, count = channel_axis(output), len(output.scales)
    if count == 1:
        return output.scales
    if axis is None or count != output.shape[axis]:
        raise ReidEdgeError(
            "%s returns %s of %s in %s with %d scales, so it cannot be turned into floats; compile it "
            "without removing its Dequantize node."
            % (file, output.name, output.shape, output.tensor_type, count)
        )
    return output.scales.reshape([-1 if a == axis else 1 for a in range(len(output.shape))])
