"""Checkpoint and table together are the network that was trained."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from calibration.table import CalibrationTable
from export.graph import Graph
from export.parity import compare
from export.qdq import Scale
from export.quantize import POLICIES, Quantizer
from export.ranges import model_sha256
from models.checkpoint import LoadedNetwork, load_network, source_state_dict
from models.zoo import demo_crops
from runtime.bundle import Bundle
from runtime.preprocess import preprocess
from tests.export.cli_helpers import HEIGHT, SIZE, WIDTH, checkpoint, drawn_pixels, run
from tests.export.small_models import run as onnx_run
from tests.training.qat_networks import (
    Light,
    Shallow,
    batches_of,
    embeddings,
    filled,
    loaded_of,
    seen_by,
    settled,
)
from training.qat import QatOptions, quantization_aware_finetune
from training.qat_table import collect_histograms, learned_table, scales_of
from training.qat_task import float_graph


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return loaded_of(settled(Shallow()))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return drawn_pixels(64)


@pytest.mark.parametrize(
    "scale", [Scale(0.02), Scale(0.015, 100, "uint8"), Scale(0.03, 0, "uint8")]
)
def test_a_learned_scale_survives_the_table_with_its_true_error(loaded, images, scale):
    graph = float_graph(loaded)
    placement = POLICIES["xavier" if scale.dtype == "int8" else "cpu"](graph)
    crops = images[:4]
    record = {"from": "a test"}
    learned = {"images": scale}
    table = learned_table(graph, crops, learned, "mse", record, threads=1)
    read = CalibrationTable.from_json(table.to_json())
    assert read.selection == {"from": "a test", "learned": ["images"]}
    placement.reads = {"images": placement.reads["images"]}
    target = "xavier" if scale.dtype == "int8" else "cpu"
    (found,) = scales_of(read, placement, target).values()
    assert found.scale == pytest.approx(scale.scale, rel=1e-12)
    assert (found.zero_point, found.dtype) == (scale.zero_point, scale.dtype)
    low, high = scale.limits
    codes = np.clip(np.rint(crops / scale.scale) + scale.zero_point, low, high)
    error = np.mean(((codes - scale.zero_point) * scale.scale - crops.astype(np.float64)) ** 2)
    loss = read.tensors["images"].losses["mse"]
    stated = loss.mse if target == "xavier" else loss.mse_asymmetric
    assert stated == pytest.approx(error, rel=0.02)
    # What the other target would use, and tensors that have learned nothing, are as "mse" finds them.
    plain = CalibrationTable.from_histograms(
        collect_histograms(graph, crops, 1).values(), "mse", table.network_sha256
    )
    assert {n: t for n, t in read.tensors.items() if n != "images"} == {
        n: t for n, t in plain.tensors.items() if n != "images"
    }
    other = scales_of(read, placement, "cpu" if target == "xavier" else "xavier")
    assert other == scales_of(plain, placement, "cpu" if target == "xavier" else "xavier")


@pytest.mark.parametrize("target", ["xavier", "cpu"])
def test_checkpoint_and_table_are_the_network_that_was_trained(loaded, images, target):
    """The export's own quantizer, given both, makes the embeddings the student had."""
    seen: list[np.ndarray] = []
    result = quantization_aware_finetune(
        loaded,
        batches_of(images[8:24]),
        images[:8],
        QatOptions(target=target, method="percentile", epochs=2, threads=1),
        judge=seen_by(images[24:], seen),
    )
    graph = float_graph(filled(loaded, result))
    table = CalibrationTable.from_json(result.table.to_json())
    assert table.network_sha256 == model_sha256(graph.to_model())
    kept = frozenset(table.selection["keep_float"])
    quantizer = Quantizer(graph, target, table, images[:4], images[24:], threads=1, keep_float=kept)
    exported = quantizer.run(table.method, "none")
    assert set(exported.scales) == set(table.selection["learned"])
    again = onnx_run(exported.model, quantizer.held_out)
    learned = compare(seen[result.kept_epoch], again)
    assert learned.cosine_min > 0.9999, learned
    # And that is no accident: what was there before training is further away.
    assert compare(seen[0], again).cosine_min < learned.cosine_min
    untouched = set(table.tensors) - set(exported.scales)
    assert untouched and table.tensors[min(untouched)].amax > 0


def test_equalised_channels_come_back_in_the_checkpoint(images):
    """And the export must not equalise again: it would move the ranges."""
    network = settled(Light())
    network.conv2[0].weight *= torch.linspace(0.05, 1.0, 16).reshape(16, 1, 1, 1)
    network.conv2[1].weight /= torch.linspace(0.05, 1.0, 16).reshape(16, 1, 1, 1)
    loaded = loaded_of(network)
    seen: list[np.ndarray] = []
    options = QatOptions(method="minmax", epochs=1, learning_rate=0.0, scale_rate=0.0, threads=1)
    result = quantization_aware_finetune(
        loaded, batches_of(images[:8]), images[:8], options, judge=seen_by(images[48:], seen)
    )
    before = loaded.network.state_dict()
    changed = {k for k, v in result.state_dict.items() if not torch.equal(v, before[k])}
    assert {k for k in changed if k.endswith("weight")} == {"conv2.0.weight", "conv2.1.weight"}
    trained = filled(loaded, result)
    between = trained.network.conv2[0].register_forward_hook(
        lambda _module, _inputs, output: ranges.append(output.abs().amax((0, 2, 3)))
    )
    ranges: list[torch.Tensor] = []
    embeddings(trained.network, images[:8])
    between.remove()
    assert float(ranges[0].min() / ranges[0].max()) > 0.99  # on the crops it was done with
    graph = float_graph(trained)
    quantizer = Quantizer(graph, "xavier", result.table, images[:4], images[48:], threads=1)
    again = onnx_run(quantizer.run(result.table.method, "none").model, quantizer.held_out)
    assert compare(seen[-1], again).cosine_min > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("target", ["xavier", "cpu"])
def test_the_export_command_takes_both(capsys, checkpoint, images, tmp_path, target):
    """From a checkpoint of reid-strong-baseline to one that reid-export opens like any other."""
    loaded = load_network(checkpoint, height=HEIGHT, width=WIDTH)
    options = QatOptions(target=target, method="minmax", epochs=1, scale_rate=1e-2, threads=1)
    seen: list[np.ndarray] = []
    result = quantization_aware_finetune(
        loaded, batches_of(images[8:24]), images[:8], options, judge=seen_by(images[48:], seen)
    )
    network = filled(loaded, result).network
    torch.save(source_state_dict(network, loaded.family), tmp_path / "trained.pth")
    result.table.save(tmp_path / "trained.table.json")
    command = ["--target", target, "--weights", tmp_path / "trained.pth", *SIZE]
    command += ["--ranges", tmp_path / "trained.table.json", "--threads", "1"]
    outcome = run(capsys, *command, "--out", tmp_path / "bundle")
    assert outcome.status == 0, outcome.err
    assert "another float network" not in outcome.out  # the very graph the table was made for
    bundle = Bundle.open(tmp_path / "bundle")
    model = Graph(onnx.load(bundle.find("model.int8")))
    learned = result.table.selection["learned"]  # on a CPU, of the layers that were timed faster
    assert learned
    for name in learned:
        tensor = result.table.tensors[name]
        expected = tensor.amax / 127 if target == "xavier" else (tensor.high - tensor.low) / 255
        assert model.initializers[name + "_scale"] == pytest.approx(expected, rel=1e-6)
    float_ = onnx_run(onnx.load(bundle.find("model.fp32")), images[48:])
    assert float_ == pytest.approx(embeddings(network, images[48:]), rel=1e-3, abs=1e-3)
    if target == "xavier":
        int8 = onnx_run(onnx.load(bundle.find("model.int8")), images[48:])
        away = 1 - compare(seen[-1], int8).cosine_mean
        assert away < 0.6 * (1 - compare(float_, int8).cosine_mean)


@pytest.mark.slow
def test_trained_osnet(shared):
    """The weights its authors published, on drawn people: pruned channels and 187 convolutions."""
    loaded = load_network(shared / "weights" / "osnet_x0_25_market1501.pth")
    crops = preprocess([image for image, _, _ in demo_crops(6, 2, seed=5)], loaded.input)
    seen: list[np.ndarray] = []
    result = quantization_aware_finetune(
        loaded,
        batches_of(crops[4:], 4),
        crops[:4],
        QatOptions(method="percentile", epochs=1, threads=1),
        judge=seen_by(crops[8:], seen),
    )
    assert len(result.losses) == 2 and max(result.losses) < 0.1
    assert result.frozen and all("BatchNorm gain" in reason for reason in result.frozen.values())
    reference = embeddings(loaded.network, crops[8:])
    graph = float_graph(filled(loaded, result))
    quantizer = Quantizer(graph, "xavier", result.table, crops[:4], crops[8:], threads=1)
    again = onnx_run(quantizer.run(result.table.method, "none").model, quantizer.held_out)
    # Codes that fall the other way shift those behind them, by much less than all rounding.
    away = 1 - compare(seen[-1], again).cosine_mean
    assert away < 0.5 * (1 - compare(reference, again).cosine_mean)
