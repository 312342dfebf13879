"""The quantized network in training: what it may change, and that it is the one that ships."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.fakequant import FakeQuantizer
from export.graph import Graph
from export.placement.base import Placement
from export.qdq import Scale, insert, symmetric, weight_scales
from export.quantize import POLICIES
from tests.export.small_models import run as onnx_run
from tests.training.qat_networks import Shallow, drawn_pixels, graph_of, settled
from training.qat_student import Student, embed, teacher

SHAPE = (3, 64, 32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return drawn_pixels(8)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(settled(Shallow()), SHAPE).copy()  # without what was folded


@pytest.fixture(scope="module")
def placement(graph) -> Placement:
    return POLICIES["xavier"](graph)


@pytest.fixture(scope="module")
def scales(graph, placement, images) -> dict[str, Scale]:
    """Ranges a quarter of what they should be: values are clipped and means sink."""
    tensors = [t for t in placement.tensors if t != graph.input_name]
    values = dict(zip(tensors, onnx_run(graph.to_model(), images, tensors)), images=images)
    return {t: symmetric(np.abs(values[t]).max() / 4) for t in placement.tensors}


def conv(graph: Graph, name: str):
    return next(n for n in graph.nodes if n.op_type == "Conv" and name in n.name)


def all_masks(graph: Graph) -> dict[str, np.ndarray]:
    convs = [n for n in graph.nodes if n.op_type == "Conv"]
    return {t: np.ones(1, np.float32) for n in convs for t in n.input[1:]}


def test_it_computes_what_ships_after_its_weights_have_changed(graph, placement, scales, images):
    student = Student(graph, placement, scales, all_masks(graph))
    rng = torch.Generator().manual_seed(0)
    name = conv(graph, "conv3").input[1]
    with torch.no_grad():
        weight = student.fake.executor.value(name)
        weight.mul_(torch.rand(weight.shape, generator=rng) * 3)
    tuned = student.tuned()
    assert tuned.initializers[name] == pytest.approx(weight.detach().numpy())
    assert not np.array_equal(tuned.initializers[name], graph.initializers[name])
    shipped = onnx_run(insert(tuned, placement, student.scales()), images)
    again = embed(FakeQuantizer(tuned, placement, student.scales()), images)
    found = student.embed(images)
    rounding = np.abs(shipped - onnx_run(tuned.to_model(), images)).max()
    assert np.abs(found - shipped).max() < 0.05 * rounding
    assert np.abs(found - again).max() < 0.05 * rounding
    # A weight scale from before would have been another.
    used = student.fake.weight_scale()[conv(graph, "conv3").name]
    assert used == pytest.approx(weight_scales(tuned.initializers[name], 0), rel=1e-5)
    assert used != pytest.approx(weight_scales(graph.initializers[name], 0), rel=1e-2)


def test_the_largest_weights_have_a_gradient_too(graph, placement, scales, images):
    student = Student(graph, placement, scales, all_masks(graph))
    student(torch.from_numpy(images)).square().sum().backward()
    weight = student.fake.executor.value(conv(graph, "conv2").input[1])
    largest = weight.detach().abs().reshape(16, -1).argmax(1)
    gradient = weight.grad.reshape(16, -1)[torch.arange(16), largest]
    assert (gradient != 0).all()


def test_masked_channels_and_unnamed_values_stay(graph, placement, scales, images):
    first, second = conv(graph, "conv1"), conv(graph, "conv2")
    mask = np.ones((16, 1, 1, 1), np.float32)
    mask[[3, 8]] = 0
    masks = {first.input[1]: mask, second.input[2]: np.zeros(16, np.float32)}
    student = Student(graph, placement, scales, masks)
    groups = student.parameter_groups(1e-2, 1e-2)
    learned = {id(p) for group in groups for p in group["params"]}
    assert len(learned) == 1 + len(placement.tensors)
    optimizer = torch.optim.Adam(groups)
    for _ in range(2):
        optimizer.zero_grad()
        student(torch.from_numpy(images)).square().sum().backward()
        optimizer.step()
    tuned = student.tuned()
    changed = {n for n, v in graph.initializers.items() if (v != tuned.initializers[n]).any()}
    assert changed == {first.input[1]}
    moved = (tuned.initializers[first.input[1]] != graph.initializers[first.input[1]]).any(
        (1, 2, 3)
    )
    assert np.flatnonzero(~moved).tolist() == [3, 8]
    assert all(student.scales()[t].scale != scales[t].scale for t in placement.tensors)


def test_learning_rates_are_relative_to_each_tensor(graph, placement, scales):
    student = Student(graph, placement, scales, all_masks(graph))
    *weights, last = student.parameter_groups(0.5, 0.25)
    assert last["lr"] == 0.25 and len(weights) == 8
    for group in weights:
        (parameter,) = group["params"]
        rms = float(parameter.detach().square().mean().sqrt())
        assert group["lr"] == pytest.approx(0.5 * max(rms, 1e-3), rel=1e-5)


def channel_means(module: torch.nn.Module, name: str, images: np.ndarray) -> np.ndarray:
    found = {}

    def made(node, tensor):
        found[node.name] = tensor.mean((0, 2, 3)) if tensor.ndim == 4 else None
        return tensor

    with torch.no_grad():
        module(torch.from_numpy(images), made=made)
    return found[name].numpy()


def test_biases_are_corrected_where_they_may_change(graph, placement, scales, images):
    """Means are restored behind a layer whose bias is fixed, too."""
    last, fixed = conv(graph, "conv4"), conv(graph, "conv3").input[2]
    masks = all_masks(graph)
    del masks[fixed]
    masks[last.input[2]] = np.array([0] + [1] * 31, np.float32)
    student = Student(graph, placement, scales, masks)
    student.embed(images)  # sets the weight scales
    wanted = channel_means(teacher(graph, "cpu"), last.name, images)
    error = np.abs(channel_means(student.fake, last.name, images) - wanted)
    assert error.max() > 0.3
    student.correct_biases(images)
    error = np.abs(channel_means(student.fake, last.name, images) - wanted)
    assert error[1:].max() < 1e-4 < error[0]
    tuned = student.tuned()
    moved = {n for n, v in graph.initializers.items() if (v != tuned.initializers[n]).any()}
    assert moved == {conv(graph, "conv%d" % i).input[2] for i in (1, 2, 4)}
    assert tuned.initializers[last.input[2]][0] == graph.initializers[last.input[2]][0]


def test_state_is_a_copy_that_restores(graph, placement, scales, images):
    student = Student(graph, placement, scales, all_masks(graph))
    state, before = student.state(), student.embed(images)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1)
    assert np.abs(student.embed(images) - before).max() > 1e-2
    student.load_state_dict(state)
    assert np.array_equal(student.embed(images), before)
