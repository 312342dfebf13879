"""What of a network can be tuned in its exported graph, and how the result goes back into it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.equalize import equalize
from export.graph import Graph
from training.qat_layers import FoldedLayer, column

State = dict[str, Tensor]
NOT_A_LAYER = "the exported graph has no layer that holds it alone"
AMBIGUOUS = "another layer has the same weights, so its node cannot be told"
UNWRITABLE = "the graph shares its values with what cannot be written back"


def equalized(
    graph: Graph, layers: dict[str, FoldedLayer], images: np.ndarray
) -> tuple[Graph, int]:
    """The graph with equal channels in front of depthwise convolutions, if that can be written back.

    Returns:
        A new graph and the number of pairs equalised; 0 where one of them could not be written back.
    """
    plain = graph.copy()
    _share(plain, layers)
    changed = plain.copy()
    pairs = equalize(changed, images)
    _share(changed, layers)
    writable = channel_masks(changed, layers)
    before = {n.name: n for n in plain.nodes}
    for node in changed.nodes:
        for old, new in zip(before[node.name].input, node.input):
            value = changed.constant(new)
            if value is None or np.array_equal(value, plain.initializers[old]):
                continue
            if new not in writable:
                return plain, 0
    return changed.copy(), pairs  # without the initializers that nothing reads any more


def channel_masks(graph: Graph, layers: dict[str, FoldedLayer]) -> dict[str, np.ndarray]:
    """What may be trained: initializer name -> float32 mask that broadcasts to it, 1 where it may.

    An initializer may if all its readers can write it back, and no other initializer goes to the
    same place.
    """
    writes: dict[str, set[str]] = {}
    masks: dict[str, np.ndarray] = {}
    blocked: set[str] = set()
    for node in graph.nodes:
        layer = layers.get(node.name)
        slots = dict(layer.keys()) if layer else {}
        for position, name in enumerate(node.input):
            if name not in graph.initializers:
                continue
            if layer is None or position not in slots:
                blocked.add(name)
                continue
            writes.setdefault(slots[position], set()).add(name)
            mask = (~layer.pruned).astype(np.float32)
            if position == 1:
                ndim = graph.initializers[name].ndim
                mask = mask[None] if layer.transposed else column(mask, ndim)
            masks[name] = masks[name] * mask if name in masks else mask
    for names in writes.values():
        if len(names) > 1:
            blocked |= names
    return {name: mask for name, mask in masks.items() if name not in blocked}


def frozen_layers(
    graph: Graph, layers: dict[str, FoldedLayer], network: nn.Module, ambiguous: set[str]
) -> dict[str, str]:
    """Name of each Conv2d and Linear that is not, or not wholly, trained -> the reason."""
    masks = channel_masks(graph, layers)
    inputs = {n.name: n.input for n in graph.nodes}
    held = {layer.module: (node, layer) for node, layer in layers.items()}
    reasons: dict[str, str] = {}
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        if name not in held:
            reasons[name] = AMBIGUOUS if name in ambiguous else NOT_A_LAYER
            continue
        node, layer = held[name]
        if any(inputs[node][position] not in masks for position, _ in layer.keys()):
            reasons[name] = UNWRITABLE
        elif layer.pruned.any():
            reasons[name] = "%d of %d channels have next to no BatchNorm gain" % (
                layer.pruned.sum(),
                len(layer.pruned),
            )
    return reasons


def unfold(graph: Graph, layers: dict[str, FoldedLayer], original: Graph, state: State) -> State:
    """Put the graph's weights and biases back into the network's state dict.

    Args:
        graph: The tuned graph.
        layers: Of ``match_layers``, for the graph before tuning.
        original: That graph; channels that are still the same keep their bits.
        state: The state dict it was traced from.

    Returns:
        A new state dict; entries of other parameters are copies.
    """
    result = {key: value.detach().clone() for key, value in state.items()}
    before = {n.name: n for n in original.nodes}
    masks = channel_masks(graph, layers)
    for node in graph.nodes:
        if node.name not in layers:
            continue
        layer = layers[node.name]
        for position, key in layer.keys():
            if node.input[position] not in masks:
                continue
            new, old = (
                g.initializers[n.input[position]]
                for g, n in ((graph, node), (original, before[node.name]))
            )
            if position == 1 and layer.transposed:
                new, old = new.T, old.T
            same = (new == old).reshape(len(new), -1).all(1)
            value = new.astype(np.float64)
            if position == 1:
                same |= layer.gain == 0
                value = value / column(np.where(layer.gain == 0, 1.0, layer.gain), value.ndim)
            else:
                value = value - layer.shift
            unfolded = torch.from_numpy(value).to(result[key].dtype)
            result[key] = torch.where(
                torch.from_numpy(column(same, value.ndim)), result[key], unfolded
            )
    return result


def _share(graph: Graph, layers: dict[str, FoldedLayer]) -> None:
    """Nodes of one layer read one initializer, where each was given a copy of the same values."""
    first: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        if node.name not in layers:
            continue
        layer = layers[node.name]
        for position, key in layer.keys():
            name = first.setdefault((layer.weight, key), node.input[position])
            if np.array_equal(graph.initializers[name], graph.initializers[node.input[position]]):
                node.input[position] = name
