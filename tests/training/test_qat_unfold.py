"""Values tuned in the graph go back into the network, and what cannot is frozen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.executor import Executor
from tests.training.qat_networks import (
    SHAPE,
    Mixed,
    Torn,
    graph_of,
    pixels,
    refilled,
    run,
    seeded,
    shaken,
)
from training.qat_layers import match_layers
from training.qat_unfold import (
    UNWRITABLE,
    channel_masks,
    equalized,
    frozen_layers,
    unfold,
)


@pytest.fixture(scope="module")
def mixed():
    network = seeded(Mixed())
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    return network, graph, layers, ambiguous


@pytest.mark.parametrize("seed", range(4))
def test_what_is_tuned_in_the_graph_is_what_the_network_then_computes(seed):
    network = seeded(Mixed(), seed)
    graph = graph_of(network)
    layers, _ = match_layers(graph, network, SHAPE)
    start, pairs = equalized(graph, layers, pixels())
    assert pairs == 1
    masks = channel_masks(start, layers)
    tuned = shaken(start, masks, seed)
    images = pixels(seed=seed + 10)
    expected, before = run(Executor(tuned), images), run(network, images)
    again = refilled(network, unfold(tuned, layers, graph, network.state_dict()))
    assert np.abs(expected - before).max() > 0.05 * np.abs(before).max()
    assert run(again, images) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    # Statistics and gains are kept, and so is what has no place to go back to.
    for key, value in network.state_dict().items():
        kept = key.endswith(("running_mean", "running_var", "num_batches_tracked", "_bn.weight"))
        if kept or key in ("stem.bias", "bare.bias"):
            assert torch.equal(again.state_dict()[key], value), key
        elif key.endswith("weight"):
            assert not torch.equal(again.state_dict()[key], value), key


def test_equalisation_alone_changes_the_two_layers_and_not_the_function(mixed):
    network, graph, layers, _ = mixed
    start, pairs = equalized(graph, layers, pixels())
    state = unfold(start, layers, graph, network.state_dict())
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, state[k])}
    assert pairs == 1 and changed == {"expand.weight", "depthwise.weight"}
    assert run(refilled(network, state), pixels()) == pytest.approx(
        run(network, pixels()), rel=1e-4, abs=1e-5
    )


def test_untouched_values_keep_their_bits(mixed):
    network, graph, layers, _ = mixed
    state = unfold(graph.copy(), layers, graph, network.state_dict())
    for key, value in network.state_dict().items():
        assert torch.equal(state[key], value), key
        assert state[key] is not value


def test_pruned_channels_are_kept_and_said():
    network = seeded(Mixed())
    network.stem_bn.weight.data[2] = 0.0
    network.stem_bn.weight.data[5] = 1e-7
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    masks = channel_masks(graph, layers)
    tuned = shaken(graph, masks)
    state = unfold(tuned, layers, graph, network.state_dict())
    for key in ("stem.weight", "stem_bn.bias"):
        same = (state[key] == network.state_dict()[key]).reshape(8, -1).all(1)
        assert same.tolist() == [i in (2, 5) for i in range(8)], key
    reasons = frozen_layers(graph, layers, network, ambiguous)
    assert reasons["stem"].startswith("2 of 8 channels")
    assert run(refilled(network, state), pixels()) == pytest.approx(
        run(Executor(tuned), pixels()), rel=1e-4, abs=1e-5
    )


def test_equalisation_that_would_tear_a_shared_layer_apart_is_not_done():
    network = seeded(Torn())
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    assert len(layers) == 3
    start, pairs = equalized(graph, layers, pixels())
    assert pairs == 0
    assert run(Executor(start), pixels()) == pytest.approx(run(network, pixels()), abs=1e-5)
    assert frozen_layers(start, layers, network, ambiguous) == {}


def test_one_layer_with_two_folded_weights_is_frozen():
    class TwoNorms(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 1, bias=False)
            self.first, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

        def forward(self, x):
            return (self.first(self.conv(x)) + self.second(self.conv(torch.relu(x)))).mean((2, 3))

    network = seeded(TwoNorms())
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    assert sorted(str(layer.bias) for layer in layers.values()) == ["first.bias", "second.bias"]
    masks = channel_masks(graph, layers)
    weights = {n.input[1] for n in graph.nodes if n.op_type == "Conv"}
    assert len(weights) == 2 and not weights & set(masks)
    assert frozen_layers(graph, layers, network, ambiguous) == {"conv": UNWRITABLE}
    tuned = shaken(graph, masks)  # the two biases still can be trained
    state = unfold(tuned, layers, graph, network.state_dict())
    assert torch.equal(state["conv.weight"], network.conv.weight)
    assert not torch.equal(state["first.bias"], network.first.bias)
    assert run(refilled(network, state), pixels()) == pytest.approx(
        run(Executor(tuned), pixels()), rel=1e-4, abs=1e-5
    )
