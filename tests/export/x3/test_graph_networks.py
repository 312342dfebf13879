"""Real architectures at full size: the features of the original codebases, all on the BPU."""

from __future__ import annotations

import numpy as np
import pytest

from export.x3.check_report import CPU
from export.x3.checker import check_model
from export.x3.graph import plain_graph, x3_graph
from models.checkpoint import load_network
from models.zoo.default import untrained_network
from runtime.backends.onnxruntime import make_session
from runtime.preprocess import preprocess
from tests.models.conftest import golden, tmp_path  # noqa: F401  (fixtures)

# name -> operators that stay on the CPU
GOLDEN = {
    "bot_r18": (),
    "bot_r50": (),
    "osnet_x0_25": (),
    "rga_s_r50": (),
    "rga_sc_r50": (),
    "torchreid_resnet50_fc512": (),
    "fastreid_sbs_r50_ibn": ("InstanceNormalization",),
    "osnet_ain_x1_0": ("InstanceNormalization",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_feature(name, golden, tmp_path):  # noqa: F811
    reference = golden(name)
    loaded = load_network(reference.save(tmp_path / "model.pth"))
    result = x3_graph(loaded, reference.crops()[:1])
    assert all(step.relative_l2 <= 1e-5 for step in result.steps)

    session = make_session(result.model.SerializeToString(), threads=1)
    pixels = preprocess(reference.crops(), result.input)
    got = np.concatenate([session.run(None, {"images": p[None]})[0] for p in pixels])
    assert got.shape[2:] == (1, 1)
    wanted = reference.feature()
    difference = np.linalg.norm(got[..., 0, 0] - wanted, axis=1)
    assert (difference / np.linalg.norm(wanted, axis=1)).max() <= 1e-4

    report = check_model(result.model)
    assert {n.op for n in report.on(CPU)} == set(GOLDEN[name])
    assert report.problems == []
    if name.startswith("rga"):
        plain = check_model(plain_graph(loaded)).on(CPU)
        for stage in "1234":  # each module leaves a dozen nodes and more there as it was written
            branches = 2 if "_sc_" in name else 1
            assert sum("/attention.%s/" % stage in n.name for n in plain) >= 9 * branches


def test_trained_osnet_is_all_on_the_bpu(shared):
    result = x3_graph(load_network(shared / "weights" / "osnet_x0_25_market1501.pth"))
    report = check_model(result.model)
    assert report.on(CPU) == [] and report.segments == 1, report.text()


@pytest.mark.slow
def test_default_network_is_all_on_the_bpu():
    loaded = untrained_network()
    result = x3_graph(loaded)
    report = check_model(result.model)
    assert report.on(CPU) == [] and report.segments == 1, report.text()
    assert len(check_model(plain_graph(loaded)).on(CPU)) > 80
