"""Several outputs made one, so that what is written for embeddings works on detectors too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

PREFIX = "reid_edge_joined"  # of the nodes that are added


def join_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with one output (1, D): all of its outputs, flattened and side by side.

    Args:
        model: Opset 10 or 11, batch 1. The nodes that are added carry PREFIX.
    """
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    outputs = [output.name for output in model.graph.output]
    flat = ["%s_%d" % (PREFIX, i) for i in range(len(outputs))]
    shape = np.array([1, -1], np.int64)
    joined.graph.initializer.append(onnx.numpy_helper.from_array(shape, PREFIX + "_shape"))
    for name, row in zip(outputs, flat, strict=True):
        joined.graph.node.append(helper.make_node("Reshape", [name, PREFIX + "_shape"], [row], row))
    joined.graph.node.append(helper.make_node("Concat", flat, [PREFIX], PREFIX, axis=1))
    del joined.graph.output[:]
    joined.graph.output.append(helper.make_tensor_value_info(PREFIX, onnx.TensorProto.FLOAT, None))
    return joined


def separate_outputs(
    joined: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """Undo ``join_outputs``."""
    model = onnx.ModelProto()
    model.CopyFrom(joined)
    kept = [n for n in model.graph.node if not n.name.startswith(PREFIX)]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    constants = [t for t in model.graph.initializer if t.name != PREFIX + "_shape"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def split_row(row: np.ndarray, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The outputs, of these shapes, in a row of a joined one."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [
        part.reshape(shape) for part, shape in zip(np.split(row, ends[:-1]), shapes, strict=True)
    ]
