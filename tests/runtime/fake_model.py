"""Networks for fake_tensorrt: small JSON models, or real ONNX files run by ONNX Runtime.

A JSON model is one seeded linear map, rounded as FP16 and INT8 round, so that a plan's result can be
right or wrong without an ONNX package.
"""

import json

import numpy as np


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
    """Input shape, width of the output and kind of a JSON model or an ONNX file."""
    if model.startswith(b"{"):
        return json.loads(model.decode())
    session = _session(model)
    shape = [size if isinstance(size, int) else -1 for size in session.get_inputs()[0].shape]
    kind = "qdq" if b"DequantizeLinear" in model else "float"
    return {"kind": kind, "input": shape, "dim": session.get_outputs()[0].shape[1]}


def compute(model, inputs, precision):
    if model.startswith(b"{"):
        return embed(model, inputs, precision)
    session = _session(model)
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def _session(model):
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class per kind of failure
        raise ValueError(str(error)) from None
