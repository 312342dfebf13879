"""Networks as they go to ONNX: opset 13, dynamic batch, only operators the boards know."""

import numpy as np
import pytest
import torch

from models.checkpoint import LoadedNetwork
from models.network import PixelNormalize, ReidNetwork, bn_neck, fc_neck
from models.osnet import OSNet, OSNetConfig
from models.pooling import AttentionPool, AvgPool, GeMPool
from models.resnet import ResNet, ResNetConfig
from models.rga import RelationAttention, RelationShape
from models.zoo import default_network
from runtime.contract import EmbeddingContract, InputContract

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ALLOWED = {
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "InstanceNormalization",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pow",
    "Reciprocal",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Split",
    "Sub",
    "Transpose",
    "Unsqueeze",
}


def sbs():
    config = ResNetConfig(
        "basic", (1, 2, 2, 1), width=8, ibn=True, ceil_pool=True, non_local=(0, 1, 2, 0)
    )
    return ReidNetwork(
        ResNet(config),
        GeMPool(),
        bn_neck(64),
        64,
        normalize=PixelNormalize((123.0, 116.0, 103.0), (58.0, 57.0, 57.0)),
    )


def ain():
    config = OSNetConfig((16, 64, 96, 128), "ain")
    return ReidNetwork(OSNet(config), AttentionPool(128, 16, 8), fc_neck(128, 512), 512)


def loaded_of(network):
    return LoadedNetwork(
        network.eval(), "test", "test", InputContract(256, 128), EmbeddingContract(dim=network.dim)
    )


def rga_original():
    config = ResNetConfig("basic", (1, 1, 1, 1), width=16)
    shape = RelationShape(64, 16, 8)
    attention = {3: RelationAttention(shape, "original")}
    return ReidNetwork(ResNet(config, attention), AvgPool(), bn_neck(128), 128)


NETWORKS = {
    "rga_sc": default_network,
    "rga_original": lambda: loaded_of(rga_original()),
    "fastreid_sbs": lambda: loaded_of(sbs()),
    "osnet_ain": lambda: loaded_of(ain()),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_export(make, tmp_path):
    loaded = make()
    network, path = loaded.for_export(), str(tmp_path / "model.onnx")
    torch.onnx.export(
        network,
        (torch.rand(1, *loaded.input.shape),),
        path,
        dynamo=False,
        opset_version=13,
        input_names=["images"],
        output_names=["embedding"],
        dynamic_axes={"images": {0: "batch"}, "embedding": {0: "batch"}},
    )
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    assert [opset.version for opset in model.opset_import] == [13]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        pixels = torch.rand(batch, *loaded.input.shape) * 4 - 2
        (got,) = session.run(None, {"images": pixels.numpy()})
        with torch.no_grad():
            expected = loaded.network(pixels).numpy()
        assert got.shape == (batch, loaded.embedding.dim)
        assert np.linalg.norm(got - expected) <= 1e-4 * np.linalg.norm(expected)
