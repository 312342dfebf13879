"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import numpy as np
import onnxruntime

from runtime.backends.base import Backend
from runtime.errors import ReidEdgeError

# Rounds weights (one scale for all channels) and biases of any convolution between two integer
# tensors, also of those that were left in float on purpose. Bundles for the CPU bring both rounded.
_UNASKED = ["WeightBiasQuantization"]


def make_session(
    model: Union[str, Path, bytes], threads: Optional[int] = None, optimize: bool = True
):
    """An onnxruntime.InferenceSession on the CPU.

    Args:
        model: Path of an ONNX file, or its serialised bytes.
        threads: Threads inside one operator; by default all cores.
        optimize: False runs the graph node by node as written, so that every tensor can be read.

    Raises:
        ReidEdgeError: The file is missing or is no model ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=_UNASKED
        )
    except Exception as error:  # onnxruntime raises a different class for every kind of failure
        name = "the model" if isinstance(model, bytes) else str(model)
        reason = str(error).strip().splitlines()[0]
        raise ReidEdgeError(
            "ONNX Runtime %s cannot open %s: %s" % (onnxruntime.__version__, name, reason)
        ) from None


class OnnxRuntimeBackend(Backend):
    """Runs an ONNX file with one image input and one embedding output."""

    def __init__(
        self,
        model: Union[str, Path, bytes],
        input_shape: Optional[Sequence[int]] = None,
        threads: Optional[int] = None,
        optimize: bool = True,
    ):
        self._session = make_session(model, threads, optimize)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
            raise ReidEdgeError(
                "A ReID network has one NCHW input and one output, got %d inputs and %d outputs."
                % (len(inputs), len(outputs))
            )
        self._input_name = inputs[0].name
        shape: Tuple[int, ...] = tuple(inputs[0].shape[1:])
        if input_shape is not None and shape != tuple(input_shape):
            raise ReidEdgeError(
                "The model takes inputs of %s but the contract says %s."
                % (shape, tuple(input_shape))
            )
        self.input_shape = shape  # type: ignore[assignment]
        fixed = inputs[0].shape[0]
        if isinstance(fixed, int):
            self.min_batch = self.max_batch = fixed
        self.name = "onnxruntime-cpu"

    def _run(self, batch: np.ndarray) -> np.ndarray:
        output = self._session.run(None, {self._input_name: batch})[0]
        return output.reshape(len(output), -1)  # an X3 network ends in (1, D, 1, 1)
