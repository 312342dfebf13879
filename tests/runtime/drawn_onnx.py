"""Networks as ONNX files for the drawn people: a detector and the colour network in a bundle."""

import numpy as np
import pytest

from runtime.contract import InputContract
from runtime.preprocess import preprocess
from tests.runtime import drawn
from tests.runtime.detectors.heads import HEADS
from tests.runtime.detectors.test_runner import save
from tests.runtime.fake_bundle import HEIGHT, WIDTH, make_bundle


def colour_detector(path, boxes, size=(256, 320)):
    """A YOLOX that sees these boxes of a frame of 240 x 320 in every frame; needs onnx."""
    boxes = np.array(boxes, np.float32)
    return save(path, HEADS["yolox"](boxes, [0.9] * len(boxes), size), (1, 3, *size))


def colour_bundle(path):
    """A bundle whose network knows the nearest of the drawn people's colours; needs onnx."""
    onnx = pytest.importorskip("onnx")
    contract = InputContract(height=HEIGHT, width=WIDTH)
    patches = [np.full((HEIGHT, WIDTH, 3), drawn.PEOPLE[name], np.uint8) for name in drawn.NAMES]
    colours = preprocess(patches, contract).mean(axis=(2, 3))
    looks = np.stack([drawn.ColourNetwork()([patch])[0] for patch in patches])
    # The nearest colour has the largest c.p - |p|^2 / 2; Softmax makes its share nearly all.
    steep = np.float32(20)
    weights = {
        "towards": steep * colours.T,
        "bias": -steep * (colours**2).sum(axis=1) / 2,
        "looks": looks,
        "nothing": np.zeros(looks.shape[1]),
    }
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            node("GlobalAveragePool", ["images"], ["mean"]),
            node("Flatten", ["mean"], ["colour"]),
            node("Gemm", ["colour", "towards", "bias"], ["near"]),
            node("Softmax", ["near"], ["share"], axis=1),
            node("Gemm", ["share", "looks", "nothing"], ["embedding"]),
        ],
        "colours",
        [value("images", kind, ["N", 3, HEIGHT, WIDTH])],
        [value("embedding", kind, ["N", drawn.DIM])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=7)
    return make_bundle(
        path,
        precision="fp32",
        target="cpu",
        models={"model.fp32": model.SerializeToString()},
        cache=None,
        golden={
            "inputs": preprocess(patches[-2:], contract),
            "embedding_fp32": drawn.strangers(),
            "embedding_int8": drawn.strangers(),
        },
        dim=drawn.DIM,
    )
