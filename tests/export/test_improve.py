"""Bias correction and distillation, on quantization that was made bad on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from export.executor import Executor
from export.fakequant import FakeQuantizer, fake_quantize
from export.graph import Graph
from export.improve import correct_biases, distill
from export.parity import compare
from export.placement import xavier
from export.qdq import symmetric
from tests.export.cli_helpers import drawn_pixels, float_graph, small_network
from tests.export.small_models import run


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(small_network())


@pytest.fixture(scope="module")
def images():
    return drawn_pixels(24)


@pytest.fixture(scope="module")
def ranges(graph, images) -> dict[str, float]:
    tensors = [t for t in xavier.place(graph).tensors if t != graph.input_name]
    values = dict(zip(tensors, run(graph.to_model(), images, tensors)))
    values[graph.input_name] = images
    return {t: float(np.abs(v).max()) for t, v in values.items()}


def quantizer(graph, ranges, factor: float) -> FakeQuantizer:
    """All scales ``factor`` times what the range asks for: below 1 they clip, above they are coarse."""
    placement = xavier.place(graph)
    scales = {t: symmetric(ranges[t] * factor) for t in placement.tensors}
    return FakeQuantizer(graph.copy(), placement, scales)


def channel_means(executor, graph, images, names) -> dict[str, np.ndarray]:
    found = {}

    def made(n, tensor):
        if n.name in names:
            found[n.name] = tensor.mean((0, 2, 3)).numpy()
        return tensor

    with torch.no_grad():
        executor(torch.from_numpy(images), made=made)
    return found


def embeddings(module, images) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(images)).numpy()


def test_bias_correction_restores_the_channel_means(graph, ranges, images):
    """Scales that clip take something off every large value, so means sink."""
    fake = quantizer(graph, ranges, 0.25)
    names = fake.quantized_with_bias()
    assert len(names) > 15
    wanted = channel_means(Executor(graph), graph, images, names)

    def worst():
        got = channel_means(fake, graph, images, names)
        return {
            n: np.abs(got[n] - wanted[n]).max() / (np.abs(wanted[n]).max() + 1e-6) for n in names
        }

    before = worst()
    assert max(before.values()) > 0.2
    correct_biases(fake, graph, images)
    after = worst()
    assert max(after.values()) < 1e-3


def test_bias_correction_carries_over_to_other_crops(graph, ranges, images):
    fake = quantizer(graph, ranges, 0.25)
    reference = embeddings(Executor(graph), images[16:])
    before = compare(reference, embeddings(fake, images[16:])).cosine_mean
    correct_biases(fake, graph, images[:16])
    after = compare(reference, embeddings(fake, images[16:])).cosine_mean
    assert after > before + 0.01


def test_bias_correction_touches_biases_alone(graph, ranges, images):
    fake = quantizer(graph, ranges, 0.25)
    scales = fake.scales()
    correct_biases(fake, graph, images[:8])
    tuned = graph.copy()
    fake.executor.write_back(tuned)
    before = graph.copy().initializers
    changed = {n for n, v in before.items() if not np.array_equal(v, tuned.initializers[n])}
    names = fake.quantized_with_bias()
    assert changed <= {n.input[2] for n in graph.nodes if n.name in names}
    assert len(changed) > 15
    assert fake.scales() == scales


def test_distillation_lowers_the_loss(graph, ranges, images):
    fake = quantizer(graph, ranges, 3.0)
    reference = embeddings(Executor(graph), images)
    before = compare(reference, embeddings(fake, images)).cosine_mean
    ticks: list[int] = []
    losses = distill(fake, graph, images[:16], steps=30, batch=8, progress=ticks.append)
    assert len(losses) == 30 and ticks == [1] * 30
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert compare(reference, embeddings(fake, images)).cosine_mean > before


def test_distillation_repeats_with_its_seed_and_leaves_the_teacher_alone(graph, ranges, images):
    before = graph.to_model().SerializeToString()
    runs = [
        distill(quantizer(graph, ranges, 2.0), graph, images[:8], steps=4, batch=4, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert graph.to_model().SerializeToString() == before


def test_distillation_of_fewer_crops_than_a_batch(graph, ranges, images):
    losses = distill(quantizer(graph, ranges, 2.0), graph, images[:3], steps=3, batch=32)
    assert len(losses) == 3 and np.isfinite(losses).all()


def test_distillation_tunes_weights_and_scales(graph, ranges, images):
    fake = quantizer(graph, ranges, 2.0)
    scales, weight_scale = fake.scales(), fake.weight_scale()
    distill(fake, graph, images[:8], steps=5, batch=8)
    tuned = graph.copy()
    fake.executor.write_back(tuned)
    conv = next(n for n in graph.nodes if n.name in weight_scale)
    weight, after = (g.initializers[conv.input[1]] for g in (graph, tuned))
    assert 0 < np.abs(after - weight).max() < 0.1 * np.abs(weight).max()
    assert all(fake.scales()[t] != s for t, s in scales.items())
    assert all((fake.weight_scale()[n] != s).any() for n, s in weight_scale.items())
    forms = {replace(s, scale=1.0) for s in fake.scales().values()}
    assert forms == {replace(s, scale=1.0) for s in scales.values()}


def test_fake_quantization_rounds_forward_and_passes_gradients():
    x = torch.tensor([0.26, -0.9, 5.0, 0.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    y = fake_quantize(x, scale, 0, -4, 3)
    assert y.tolist() == pytest.approx([0.5, -1.0, 1.5, 0.0])
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([1, 1, 0, 1])  # the clipped one gets none
    # Esser et al.: round(v) - v inside the range, the limit outside.
    assert scale.grad.item() == pytest.approx((1 - 0.52) + (-2 + 1.8) + 3 + 0)
