"""Graph nodes find the layers they were traced from."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch import nn

from export.graph import attribute
from models.zoo.default import untrained_network
from tests.export.cli_helpers import small_network
from tests.training.qat_networks import (
    SHAPE,
    Mixed,
    by_module,
    conv_weights,
    graph_of,
    seeded,
)
from training.qat_layers import match_layers
from training.qat_unfold import (
    AMBIGUOUS,
    NOT_A_LAYER,
    channel_masks,
    frozen_layers,
)


@pytest.fixture(scope="module")
def mixed():
    network = seeded(Mixed())
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    return network, graph, layers, ambiguous


def test_every_kind_of_layer_is_found_with_the_batchnorm_that_takes_its_bias(mixed):
    _, graph, layers, ambiguous = mixed
    assert {m: layer.bias for m, layer in by_module(layers).items()} == {
        "stem": "stem_bn.bias",
        "expand": None,
        "depthwise": "depthwise_bn.bias",
        "shared": "shared_bn.bias",
        "bare": None,
        "fc": "fc_bn.bias",
        "last": None,
    }
    assert sum(layer.module == "shared" for layer in layers.values()) == 2
    assert not ambiguous
    depthwise = next(n for n, layer in layers.items() if layer.module == "depthwise")
    assert attribute(next(n for n in graph.nodes if n.name == depthwise), "group") == 12


def test_gain_and_shift_are_those_of_the_batchnorm(mixed):
    network, _, layers, _ = mixed
    bn, layer = network.stem_bn, by_module(layers)["stem"]
    gain = (bn.weight / (bn.running_var + bn.eps).sqrt()).numpy()
    assert layer.gain == pytest.approx(gain, rel=1e-6)
    assert layer.shift == pytest.approx(
        ((network.stem.bias - bn.running_mean).numpy() * gain), rel=1e-5
    )
    assert (by_module(layers)["last"].gain == 1).all()


def test_a_changed_layer_changes_its_node_alone():
    """Checked without the code under test: trace again with one layer's weight doubled."""
    network = small_network()
    shape = (3, 64, 32)
    graph = graph_of(network, shape)
    layers, _ = match_layers(graph, network, shape)
    convolutions = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    assert sorted(by_module(layers)) == sorted(convolutions) and len(convolutions) == 20
    for name in (convolutions[0], convolutions[7], convolutions[-1]):
        other = copy.deepcopy(network)
        other.get_submodule(name).weight.data *= 2
        changed = conv_weights(graph_of(other, shape))
        differ = [n for n, w in conv_weights(graph).items() if not np.array_equal(w, changed[n])]
        assert [layers[n].module for n in differ] == [name]


def test_layers_with_the_same_weights_are_left_alone():
    network = seeded(Mixed())
    network.twin = nn.Conv2d(12, 12, 1, bias=False)
    network.twin.weight.data = network.shared.weight.data.clone()
    network.shared_bn.running_var.fill_(1 - network.shared_bn.eps)
    network.shared_bn.weight.data.fill_(1)
    network.shared_bn.running_mean.zero_()
    network.shared_bn.bias.data.zero_()
    network.requires_grad_(False)
    graph = graph_of(network)
    layers, ambiguous = match_layers(graph, network, SHAPE)
    # Folded, the two look alike; one of them is never even run.
    assert ambiguous == {"shared", "twin"} and "shared" not in by_module(layers)
    reasons = frozen_layers(graph, layers, network, ambiguous)
    assert reasons["shared"] == reasons["twin"] == AMBIGUOUS
    inputs = {i for n in graph.nodes if "shared" in n.name and n.op_type == "Conv" for i in n.input}
    assert inputs and not inputs & set(channel_masks(graph, layers))


def test_what_rga_reassociates_is_frozen_and_nothing_else():
    loaded = untrained_network()
    graph = graph_of(loaded.for_export(), loaded.input.shape)
    layers, ambiguous = match_layers(graph, loaded.network, loaded.input.shape)
    reasons = frozen_layers(graph, layers, loaded.network, ambiguous)
    stacked = ("gx_spatial.0", "theta_spatial.0", "phi_spatial.0", "gg_spatial.0")
    rows = ("gx_channel.0", "theta_channel.0", "phi_channel.0", "gg_channel.0")
    rows += ("W_channel.0", "W_channel.3")
    expected = {
        "backbone.attention.%d.%s" % (stage, part)
        for stage in range(1, 5)
        for part in stacked + rows
    }
    assert set(reasons) == expected
    assert set(reasons.values()) == {NOT_A_LAYER}
    found = by_module(layers)
    assert found["backbone.attention.2.W_spatial.3"].bias == "backbone.attention.2.W_spatial.4.bias"
    assert found["backbone.conv1"].bias == "backbone.bn1.bias"


def test_rga_in_its_original_form_is_trained_whole():
    loaded = untrained_network()
    for module in loaded.network.modules():
        if hasattr(module, "form"):
            module.form = "original"
    graph = graph_of(loaded.for_export(), loaded.input.shape)
    layers, ambiguous = match_layers(graph, loaded.network, loaded.input.shape)
    assert frozen_layers(graph, layers, loaded.network, ambiguous) == {}
