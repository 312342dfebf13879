"""Hand-made ONNX models and the reference that runs them: ONNX Runtime, unoptimised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper


def node(op_type: str, inputs: str, outputs: str = "y", name: str = "", **attributes) -> NodeProto:
    """A node whose tensors are given as one string, split at blanks; ``-`` is a missing input."""
    names = ["" if t == "-" else t for t in inputs.split()]
    return helper.make_node(
        op_type, names, outputs.split(), name or outputs.split()[0] + "_node", **attributes
    )


def small_model(
    nodes: Iterable[NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: tuple[int | str, ...] = ("batch", 3, 9, 7),
    output: str = "y",
    input_name: str = "x",
    opset: int = 13,
    ir_version: int = 7,
) -> onnx.ModelProto:
    """A checked single-input, single-output float model."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, images: np.ndarray, outputs: list[str] | None = None):
    """The model's output, or the named tensors (any in the graph) as a list."""
    if outputs is not None:
        tapped = onnx.ModelProto()
        tapped.CopyFrom(model)
        del tapped.graph.output[:]
        tapped.graph.output.extend(onnx.ValueInfoProto(name=t) for t in outputs)
        model = tapped
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    # Fusions reorder float sums and would hide what the graph says.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results = session.run(None, {session.get_inputs()[0].name: images})
    return results[0] if outputs is None else results


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Seeded float32 normal values."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)
