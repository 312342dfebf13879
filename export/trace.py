"""torch network -> ONNX, by default opset 13, batch-dynamic with fixed height and width."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

# Opset 13 is the first with per-axis Q/DQ and the last TensorRT 8.2 parses; from 18 on ReduceMean
# takes its axes as an input, which TensorRT 8.x does not read.
OPSET = 13
IR_VERSION = 7  # readable by TensorRT 8.2's parser and by ONNX Runtime on JetPack 5
INPUT_NAME, OUTPUT_NAME = "images", "embedding"
MAX_CHANGE = 1e-4  # relative L2 error of the embeddings that rounding may cost


def trace(
    network: torch.nn.Module,
    contract: InputContract,
    opset: int = OPSET,
    batch: int | None = None,
) -> onnx.ModelProto:
    """Export a network in eval mode and simplify the graph.

    Args:
        network: Maps (N, 3, H, W) float32 to (N, D) float32.
        contract: Gives H and W, which are fixed in the graph.
        opset: ONNX operator set.
        batch: N, if it is fixed too; None leaves it free.

    Returns:
        A checked model with input ``images`` and output ``embedding``.

    Raises:
        ReidEdgeError: The network cannot be traced, gives NaN, or is changed by the simplifier.
    """
    example = torch.zeros((batch or 2, *contract.shape))
    names = (INPUT_NAME, OUTPUT_NAME) if batch is None else ()
    stream = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter(
                "ignore"
            )  # the TorchScript exporter announces its own deprecation
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                network.eval(),
                (example,),
                stream,  # type: ignore[arg-type]
                opset_version=opset,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_axes={name: {0: "batch"} for name in names},
                # The dynamo exporter starts at opset 18 and converts down; this one writes 13 itself.
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ReidEdgeError(
            "The network cannot be written as ONNX opset %d: %s" % (opset, reason)
        ) from error
    model = onnx.load_from_string(stream.getvalue())
    return simplify(model)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and remove no-ops with onnxsim, and compare both models on random pixels.

    Raises:
        ReidEdgeError: The two disagree by more than rounding, or the result is not finite.
    """
    simplified, _ = onnxsim.simplify(model)  # its own check is off unless asked for, and prints
    images = model.graph.input[0]
    shape = [d.dim_value or 2 for d in images.type.tensor_type.shape.dim]
    pixels = np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)
    before, after = _run(model, pixels), _run(simplified, pixels)
    if not np.isfinite(before).all():
        raise ReidEdgeError(
            "The network gives NaN or infinity for random pixels; check its weights."
        )
    if not np.linalg.norm(after - before) <= MAX_CHANGE * np.linalg.norm(before):
        raise ReidEdgeError(
            "onnxsim changed the network's result; please report the network that did it."
        )
    simplified.ir_version = min(simplified.ir_version, IR_VERSION)
    onnx.checker.check_model(simplified, full_check=True)
    return simplified


def _run(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {model.graph.input[0].name: pixels})[0]
