"""From torch to ONNX: the graph's form, and the original codebases' features through it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.executor import Executor
from export.graph import Graph
from export.trace import INPUT_NAME, OUTPUT_NAME, simplify, trace
from models.zoo import default_network
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from tests.export.conftest import GOLDEN
from tests.export.small_models import normal

TOLERANCE = 1e-4


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def relative_error(got, expected):
    assert got.shape == expected.shape
    return float((np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def test_every_golden_file_is_tested(shared):
    assert {f.stem for f in (shared / "golden").glob("*.npz")} == set(GOLDEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_feature_through_onnx(name, exported):
    network = exported(name)
    (got,) = session(str(network.path)).run([OUTPUT_NAME], {INPUT_NAME: network.pixels})
    assert relative_error(got, network.feature) <= TOLERANCE

    model = network.model
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.ir_version <= 7
    assert not {"BatchNormalization", "Einsum", "Shape"} & {n.op_type for n in model.graph.node}
    height, width = network.pixels.shape[2:]
    shapes = Graph(model).shapes()
    assert shapes[INPUT_NAME][1:] == (3, height, width) and isinstance(shapes[INPUT_NAME][0], str)
    assert shapes[OUTPUT_NAME] == (shapes[INPUT_NAME][0], network.feature.shape[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["osnet_ain_x1_0", "fastreid_sbs_r50_ibn", "rga_sc_r50", "bot_r18"]
)
def test_executor_reproduces_golden_feature(name, exported):
    network = exported(name)
    with torch.no_grad():
        got = Executor(Graph(network.model))(torch.from_numpy(network.pixels)).numpy()
    assert relative_error(got, network.feature) <= 1e-5


@pytest.fixture(scope="module")
def default():
    loaded = default_network()
    return loaded, trace(loaded.for_export(), loaded.input)


def test_form_of_the_traced_graph(default):
    loaded, model = default
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    (images,), (embedding,) = model.graph.input, model.graph.output
    assert (images.name, embedding.name) == ("images", "embedding")
    dims = images.type.tensor_type.shape.dim
    assert dims[0].dim_param == "batch" and not dims[0].HasField("dim_value")
    assert [d.dim_value for d in dims[1:]] == list(loaded.input.shape)
    out = embedding.type.tensor_type.shape.dim
    assert out[0].dim_param == "batch" and out[1].dim_value == loaded.embedding.dim


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_torch_gives(default, batch):
    loaded, model = default
    images = normal(batch, *loaded.input.shape, seed=batch)
    (got,) = session(model).run(None, {INPUT_NAME: images})
    with torch.no_grad():
        expected = loaded.network(torch.from_numpy(images)).numpy()
    assert relative_error(got, expected) <= TOLERANCE


@pytest.mark.parametrize("shape", [(1, 3, 128, 60), (1, 3, 64, 64), (1, 1, 128, 64)])
def test_another_size_is_refused(default, shape):
    with pytest.raises(
        onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="invalid dimensions"
    ):
        session(default[1]).run(None, {INPUT_NAME: np.zeros(shape, np.float32)})


class Pool(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def test_opset_can_be_lowered_for_other_targets():
    model = trace(Pool(), InputContract(32, 16), opset=11)
    assert model.opset_import[0].version == 11
    images = normal(2, 3, 32, 16)
    (got,) = session(model).run(None, {INPUT_NAME: images})
    np.testing.assert_allclose(got, images.mean((2, 3)), atol=1e-6)


def test_batch_can_be_fixed():
    model = trace(Pool(), InputContract(32, 16), batch=1)
    for value, shape in ((model.graph.input[0], [1, 3, 32, 16]), (model.graph.output[0], [1, 3])):
        assert [d.dim_value for d in value.type.tensor_type.shape.dim] == shape


def test_training_mode_is_left_before_tracing():
    network = torch.nn.Sequential(torch.nn.Dropout(0.9), Pool()).train()
    images = normal(2, 3, 32, 16)
    (got,) = session(trace(network, InputContract(32, 16))).run(None, {INPUT_NAME: images})
    np.testing.assert_allclose(got, images.mean((2, 3)), atol=1e-6)


class Untraceable(torch.nn.Module):
    def __init__(self, message):
        super().__init__()
        self.message = message

    def forward(self, x):
        raise RuntimeError(self.message)


class UnknownToOnnx(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x.mean(1))


@pytest.mark.parametrize(
    "network, reason",
    [
        (Untraceable("no such kernel\nand a long trace"), "no such kernel"),
        (Untraceable(""), "RuntimeError"),
        (UnknownToOnnx(), "svd"),
    ],
    ids=["error", "silent error", "operator"],
)
def test_untraceable_network_is_one_clear_sentence(network, reason):
    with pytest.raises(
        ReidEdgeError, match="cannot be written as ONNX opset 13: .*" + reason
    ) as caught:
        trace(network, InputContract(32, 16))
    assert "\n" not in str(caught.value)


def test_a_simplifier_that_changes_the_result_is_caught(default, monkeypatch):
    model = default[1]
    assert len(simplify(model).graph.node) == len(model.graph.node)
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    next(n for n in damaged.graph.node if n.op_type == "Relu").op_type = "Sigmoid"
    monkeypatch.setattr("onnxsim.simplify", lambda m: (damaged, True))
    with pytest.raises(ReidEdgeError, match="onnxsim changed the network's result"):
        simplify(model)


def test_a_network_that_gives_nan_is_not_passed_on():
    class Root(torch.nn.Module):
        def forward(self, x):
            return torch.sqrt(x.mean((2, 3)) - 100)

    with pytest.raises(ReidEdgeError, match="NaN"):
        trace(Root(), InputContract(32, 16))
