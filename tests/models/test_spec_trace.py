"""Every kind of backbone through the exporter: same embeddings, only operators the boards know."""

import numpy as np
import onnxruntime
import pytest
import torch

from export.executor import Executor
from export.graph import Graph
from export.legality import check_tensorrt
from export.rewrites import fold_batchnorm
from export.trace import trace
from models.checkpoint import load_network, save_network
from models.spec import NetworkSpec, build_network

torch.set_num_threads(1)
SMALL = {"height_px": 64, "width_px": 32}
SPECS = [
    NetworkSpec("resnet18", width=16, rga="sc", **SMALL),
    NetworkSpec("resnet50", width=8, ibn=True, non_local=(0, 1, 1, 0), pool="gem", **SMALL),
    NetworkSpec("resnext50_32x4d", width=16, rga="s", head="reduction", dim=32, **SMALL),
    NetworkSpec("resnest50", width=16, rga="sc", **SMALL),
    NetworkSpec("resnest50", width=16, last_stride=2, height_px=72, width_px=40),  # odd maps
    NetworkSpec("osnet_x0_25", pool="max", **SMALL),
    NetworkSpec("osnet_ain_x0_25", pool="attention", head="linear", dim=32, **SMALL),
]


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.arch)
def test_parity(tmp_path, spec, opset):
    torch.manual_seed(0)
    network = build_network(spec)
    with torch.no_grad():  # BatchNorm statistics of the data, so that no layer dies or explodes
        for _ in range(10):
            network(torch.randn(8, 3, spec.height_px, spec.width_px))
    save_network(tmp_path / "net.pt", network, spec, {})
    loaded = load_network(tmp_path / "net.pt")
    model = trace(loaded.for_export(), loaded.input, opset)
    assert not {"Shape", "Gather", "If", "Einsum"} & {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, spec.height_px, spec.width_px)
        with torch.no_grad():
            expected = network.eval()(pixels).numpy()
        (got,) = session.run(None, {"images": pixels.numpy()})
        assert got.shape == (batch, loaded.embedding.dim)
        assert np.linalg.norm(got - expected) <= 1e-4 * np.linalg.norm(expected)
    if opset == 13:  # what quantization works on
        check_tensorrt(model)
        graph = Graph(model)
        fold_batchnorm(graph)
        with torch.no_grad():
            run = Executor(graph)(pixels).numpy()
        assert np.linalg.norm(run - expected) <= 1e-4 * np.linalg.norm(expected)
