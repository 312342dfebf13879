"""The FP16 network: half-precision weights and activations, float32 input and output.

TensorRT up to 10 makes its own FP16 from the fp32 file (a builder flag); TensorRT 11 takes types from
the file, so it needs this one. Here it also shows what half precision does to the embedding.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from export.graph import Graph
from runtime.errors import ReidEdgeError

FLOAT16_MAX = 65504.0


def to_fp16(graph: Graph) -> onnx.ModelProto:
    """Return the graph with every float tensor in half precision between two Casts.

    Raises:
        ReidEdgeError: A weight is beyond the range of half precision.
    """
    graph = graph.copy()
    for name, value in graph.initializers.items():
        if value.dtype == np.float32:
            if np.abs(value).max(initial=0.0) > FLOAT16_MAX:
                raise ReidEdgeError(
                    "Weight %s reaches %.3g, beyond FP16's 65504; export with --precision fp32."
                    % (name, np.abs(value).max())
                )
            graph.initializers[name] = value.astype(np.float16)
    half_input, half_output = graph.fresh("input_fp16"), graph.fresh("output_fp16")
    graph.redirect(graph.input_name, half_input)
    last = graph.producer(graph.output_name)
    if last is None:
        raise ReidEdgeError("The network has no operator that makes its output.")
    for node in graph.nodes:
        for i, tensor in enumerate(node.input):
            if tensor == graph.output_name:
                node.input[i] = half_output
    last.output[list(last.output).index(graph.output_name)] = half_output
    graph.add_node(
        "Cast", [graph.input_name], [half_input], "input_to_fp16", to=TensorProto.FLOAT16
    )
    graph.add_node(
        "Cast", [half_output], [graph.output_name], "output_to_fp32", to=TensorProto.FLOAT
    )
    model = graph.to_model()
    onnx.checker.check_model(model, full_check=True)
    return model


def overflow_risk(amax: dict[str, float], headroom: float = 2.0) -> dict[str, float]:
    """Tensors whose largest magnitude seen comes within ``headroom`` of FP16's limit."""
    return {name: value for name, value in amax.items() if value * headroom > FLOAT16_MAX}
