"""The graph for the X3 as a whole: header, interface, steps and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from export.x3 import graph as module
from export.x3.check_report import CPU
from export.x3.checker import check_model
from export.x3.graph import plain_graph, x3_graph
from models.checkpoint import LoadedNetwork
from models.network import PixelNormalize, ReidNetwork
from models.pooling import AvgPool
from models.zoo.demo import demo_crops
from runtime.contract import IMAGENET_MEAN, IMAGENET_STD, EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError, VerificationError
from runtime.preprocess import preprocess
from tests.export.x3.small_networks import small_network

# Rounding of float32 in random networks, which amplify it; rewrites are exact to 1e-12.
TOLERANCE = 1e-4
CROPS = [image for image, _, _ in demo_crops(3, 1, 5)]


@pytest.fixture(scope="module")
def network():
    return small_network(head="reduction", dim=12)


def run(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate(
        [session.run(["embedding"], {"images": image[None]})[0] for image in pixels]
    )


def expected(loaded, crops=CROPS) -> np.ndarray:
    with torch.no_grad():
        return loaded.network(torch.from_numpy(preprocess(crops, loaded.input))).numpy()


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    got = got.reshape(len(wanted), -1)
    assert got.shape == wanted.shape
    return float((np.linalg.norm(got - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


def test_header_and_interface(network):
    result = x3_graph(network, CROPS)
    model = onnx.load_from_string(result.model.SerializeToString())
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 11)]
    assert model.ir_version == 7
    (images,), (embedding,) = model.graph.input, model.graph.output
    assert (images.name, embedding.name) == ("images", "embedding")
    for value, shape in ((images, [1, 3, 64, 32]), (embedding, [1, 12, 1, 1])):
        dims = value.type.tensor_type.shape.dim
        assert all(d.HasField("dim_value") for d in dims)
        assert [d.dim_value for d in dims] == shape
    names = [n.name for n in model.graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert result.input == network.input and result.cut == ("flatten", "l2_normalize")
    assert error(run(model, preprocess(CROPS, result.input)), expected(network)) <= TOLERANCE


def test_steps_are_measured(network):
    result = x3_graph(small_network(rga="s"), CROPS[:1])
    assert [(s.name, s.count) for s in result.steps[:-1]] == [("attention", 4), ("tail", 1)]
    assert result.steps[-1].name == "onnx"
    assert result.steps[-1].count == len(result.model.graph.node)
    errors = [s.relative_l2 for s in result.steps]
    assert max(errors[:-1]) <= 1e-12 and 0 < errors[-1] <= result.steps[-1].allowed
    assert [s.allowed for s in result.steps[:-1]] == [1e-5, 1e-5]
    assert 1e-5 <= result.steps[-1].allowed <= 1e-4


def test_the_loaded_network_stays_as_it_is(network):
    before = {k: v.clone() for k, v in network.network.state_dict().items()}
    x3_graph(network)
    after = network.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert network.network.neck is not None and not network.network.training


def test_an_embedding_that_is_not_normalized(network):
    loaded = replace(network, embedding=EmbeddingContract(12, l2_normalize=False))
    assert x3_graph(loaded, CROPS[:1]).cut == ("flatten",)


@pytest.mark.parametrize(
    "contract",
    [
        InputContract(64, 32, "RGB", 1.0, (0.0,) * 3, (1.0,) * 3),  # as fast-reid: 0..255 come in
        InputContract(64, 32, "BGR", 0.5, (3.0, 1.0, 2.0), (2.0, 4.0, 0.25)),
    ],
    ids=["pixels", "half prepared"],
)
def test_normalization_moves_into_the_contract(contract):
    loaded = small_network()
    loaded.network.normalize = PixelNormalize((120.0, 110.0, 100.0), (58.0, 57.0, 56.0))
    loaded = replace(loaded, input=contract)
    result = x3_graph(loaded, CROPS)
    assert result.steps[0].name == "normalization" and result.steps[0].relative_l2 <= 1e-5
    assert (result.input.color, result.input.scale) == (contract.color, contract.scale)
    assert error(run(result.model, preprocess(CROPS, result.input)), expected(loaded)) <= TOLERANCE
    assert "Sub" not in {n.op_type for n in result.model.graph.node}


def test_normalization_of_imagenet_pixels():
    loaded = small_network()
    loaded.network.normalize = PixelNormalize(
        tuple(255 * m for m in IMAGENET_MEAN), tuple(255 * s for s in IMAGENET_STD)
    )
    loaded = replace(loaded, input=InputContract(64, 32, "RGB", 1.0, (0.0,) * 3, (1.0,) * 3))
    prepared = x3_graph(loaded, CROPS[:1]).input
    np.testing.assert_allclose(prepared.mean, [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(prepared.std, [58.395, 57.12, 57.375], rtol=1e-6)


@pytest.mark.parametrize(
    "changes, left",
    [
        ({"pool": "gem"}, set()),
        ({"pool": "max", "head": "linear", "dim": 8}, set()),
        ({"pool": "attention"}, set()),
        ({"non_local": (0, 1, 1, 0)}, set()),
        ({"backbone": "resnet50", "ceil_pool": True, "stem_relu": False}, set()),
        ({"backbone": "resnext50_32x4d", "width": 16}, set()),
        ({"backbone": "resnest50"}, set()),
        ({"ibn": True, "backbone": "resnet50"}, {"InstanceNormalization"}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_networks_of_every_kind(changes, left):
    loaded = small_network(**changes)
    result = x3_graph(loaded, CROPS[:1])
    report = check_model(result.model)
    assert {n.op for n in report.on(CPU)} == left, report.text()
    assert report.problems == []
    assert error(run(result.model, preprocess(CROPS, result.input)), expected(loaded)) <= TOLERANCE


def test_a_batchnorm_of_its_own_is_a_convolution():
    loaded = small_network(ibn=True, backbone="resnet50")
    operators = [n.op_type for n in x3_graph(loaded, CROPS[:1]).model.graph.node]
    assert "Mul" not in operators and "BatchNormalization" not in operators


@pytest.mark.parametrize("variant", ["osnet_x0_25", "osnet_ibn_x0_25", "osnet_ain_x0_25"])
def test_osnets(variant):
    loaded = small_network(backbone=variant, width=64)
    result = x3_graph(loaded, CROPS[:1])
    left = [n.op for n in check_model(result.model).on(CPU)]
    count = {"osnet_x0_25": 0, "osnet_ibn_x0_25": 3, "osnet_ain_x0_25": 5}[variant]
    assert left == ["InstanceNormalization"] * count
    assert error(run(result.model, preprocess(CROPS, result.input)), expected(loaded)) <= TOLERANCE


def test_plain_graph_is_the_network_as_it_was():
    loaded = small_network(rga="sc")
    model = plain_graph(loaded)
    assert error(run(model, preprocess(CROPS, loaded.input)), expected(loaded)) <= TOLERANCE
    assert [o.version for o in model.opset_import] == [11] and model.ir_version == 7
    operators = {n.op_type for n in model.graph.node}
    assert {"Transpose", "ReduceMean", "Reshape"} <= operators
    assert "BatchNormalization" not in operators


def test_a_rewrite_that_changes_the_network_is_caught(monkeypatch):
    class Wrong(module.BpuTail):
        def forward(self, x):
            return super().forward(x) * 1.0001

    monkeypatch.setattr(module, "BpuTail", Wrong)
    with pytest.raises(VerificationError, match=r"rewrite 'tail' .* by 1.0e-04 .* allowed 1e-05"):
        x3_graph(small_network(), CROPS[:1])


class Amplifier(torch.nn.Module):
    """The difference of almost equal large numbers: float32 gets the tail of it wrong."""

    def __init__(self, shift):
        super().__init__()
        self.shift, self.out_channels = shift, 3

    def forward(self, x):
        x = F.adaptive_avg_pool2d(x, 1)
        return (x + self.shift) - self.shift


@pytest.mark.parametrize("shift, passes", [(30.0, True), (1e6, False)])
def test_what_rounding_alone_costs_is_allowed_up_to_a_bound(shift, passes):
    network = ReidNetwork(Amplifier(shift), AvgPool()).eval()
    loaded = LoadedNetwork(network, "a", "f", InputContract(64, 32), EmbeddingContract(3))
    if passes:
        last = x3_graph(loaded, CROPS[:1]).steps[-1]
        assert last.relative_l2 <= last.allowed
    else:
        with pytest.raises(VerificationError, match=r"'onnx' .* allowed 1e-04"):
            x3_graph(loaded, CROPS[:1])


def test_a_network_that_gives_nan_is_caught():
    loaded = small_network()
    loaded.network.neck.weight.data[0] = float("nan")
    with pytest.raises(VerificationError, match="changed the embedding by nan"):
        x3_graph(loaded, CROPS[:1])


@pytest.mark.parametrize(
    "change, layout, message",
    [
        ({}, "gpu", "layout of an X3 graph must be bpu or cpu, got 'gpu'"),
        ({"network": torch.nn.Conv2d(3, 8, 3)}, "bpu", "got Conv2d; load it with load_network"),
    ],
    ids=["layout", "network"],
)
def test_what_is_refused(network, change, layout, message):
    with pytest.raises(ReidEdgeError, match=message):
        x3_graph(replace(network, **change), CROPS[:1], layout=layout)


def test_an_unknown_normalization_is_refused(network):
    loaded = small_network()
    loaded.network.normalize = torch.nn.InstanceNorm2d(3)
    with pytest.raises(ReidEdgeError, match=r"Only PixelNormalize .* this one has InstanceNorm2d"):
        x3_graph(loaded, CROPS[:1])
