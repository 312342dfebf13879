"""Networks for fake_tensorrt and fake_hobot_dnn: small JSON models, or real ONNX files run by ONNX Runtime.

A JSON model is one seeded linear map, rounded as FP16 and INT8 round, so that a plan's result can be
right or wrong without an ONNX package; or a detector that sees chosen boxes in whatever it is shown.
"""

import json
from functools import lru_cache

import numpy as np

from tests.runtime.detectors.heads import HEADS


def make_model(kind="float", height=16, width=8, dim=12, seed=0, batch=-1, output=None):
    """A JSON model: ``kind`` is "float", "fp16" (typed) or "qdq"; ``output`` names a second output."""
    return json.dumps(
        {
            "kind": kind,
            "input": [batch, 3, height, width],
            "dim": dim,
            "seed": seed,
            "extra_output": output,
        }
    ).encode()


def make_detector_model(head, size, boxes=(), scores=(), batch=1, **options):
    """A JSON model with the outputs of tests.runtime.detectors.heads, named out0, out1, ..."""
    head = {"name": head, "boxes": np.reshape(boxes, (-1, 4)).tolist(), "scores": list(scores)}
    spec = {"kind": "float", "input": [batch, 3, *size], "head": head, "options": options}
    return json.dumps(spec).encode()


def _head(spec):
    head = spec["head"]
    boxes = np.reshape(head["boxes"], (-1, 4))
    size = tuple(spec.get("head_size", spec["input"][2:]))
    arrays = HEADS[head["name"]](boxes, head["scores"], size, **spec["options"])
    return {"out%d" % index: array for index, array in enumerate(arrays)}


def embed(model, inputs, precision):
    """What a plan of ``precision`` ("fp32", "fp16", "int8") computes for (N, 3, H, W) inputs."""
    spec = json.loads(model.decode())
    values = int(np.prod(spec["input"][1:]))
    weights = np.random.RandomState(spec["seed"]).standard_normal((values, spec["dim"]))
    if precision == "fp16":
        weights = weights.astype(np.float16).astype(np.float64)
    elif precision == "int8":
        scale = np.abs(weights).max(axis=0) / 127
        weights = np.round(weights / scale) * scale
    return (inputs.reshape(len(inputs), -1) @ weights).astype(np.float32)


def describe(model):
    """What a JSON model or an ONNX file takes and returns.

    Returns:
        ``kind``, ``inputs`` and ``outputs``: lists of (name, shape with -1 where it is open, TensorRT's
        name of the type), and of a JSON model all it says.
    """
    if model.startswith(b"{"):
        spec = json.loads(model.decode())
        batch = spec["input"][0]
        if "head" in spec:
            first = (spec.get("output_batch", batch),)
            outputs = [(n, first + a.shape[1:], "FLOAT") for n, a in _head(spec).items()]
        else:
            outputs = [("embedding", (batch, spec["dim"]), "FLOAT")]
        if spec.get("extra_output"):
            outputs.insert(0, (spec["extra_output"], (batch, 3), "FLOAT"))
        inputs = [("images", tuple(spec["input"]), spec.get("input_type", "FLOAT"))]
        return {**spec, "inputs": inputs, "outputs": outputs}
    session = _session(model)
    return {
        "kind": "qdq" if b"DequantizeLinear" in model else "float",
        "inputs": [_tensor(tensor) for tensor in session.get_inputs()],
        "outputs": [_tensor(tensor) for tensor in session.get_outputs()],
    }


def compute(model, inputs, precision):
    """Output name -> array; what a JSON model does not compute is missing."""
    if model.startswith(b"{"):
        spec = json.loads(model.decode())
        return _head(spec) if "head" in spec else {"embedding": embed(model, inputs, precision)}
    session = _session(model)
    arrays = session.run(None, {session.get_inputs()[0].name: inputs})
    if precision == "fp16":
        with np.errstate(over="ignore"):
            arrays = [array.astype(np.float16).astype(array.dtype) for array in arrays]
    return dict(zip((output.name for output in session.get_outputs()), arrays))


_TYPES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF"}


def _tensor(tensor):
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
    return tensor.name, shape, _TYPES[tensor.type]


@lru_cache(maxsize=4)
def _session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class per kind of failure
        raise ValueError(str(error)) from None
