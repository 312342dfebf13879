"""Which layers of a network the nodes of its exported graph are.

The graph holds a layer and the BatchNorm behind it as one node, ``W' = g W`` and ``b' = beta + s``
per output channel, with ``g = gamma / sqrt(var + eps)`` and ``s = (b - mean) g``. Gains and
statistics are kept, so values tuned in the graph go back by ``W = W' / g`` and ``beta = b' - s``
(training/qat_unfold.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor, nn

from export.graph import Graph, attribute
from export.placement.base import output_axis

TOLERANCE = 1e-5  # between the graph's folded float32 values and ours, relative to the largest
# A channel whose gain is this much below the layer's largest was pruned in training: its weights
# are worth nothing, and dividing by the gain would blow them up.
MIN_GAIN = 1e-3


@dataclass(frozen=True)
class FoldedLayer:
    """A Conv2d or Linear of a network as a node of the graph holds it.

    Attributes:
        module: Name of the layer.
        weight: State dict key of its weight W, (out, ...).
        bias: Key of what the node's bias becomes: the BatchNorm's beta, else the layer's own bias;
            None where the network has neither.
        gain, shift: (out,) float64: the node's weight is ``gain W``, its bias that plus ``shift``.
        transposed: Whether the node's weight is (in, out).
    """

    module: str
    weight: str
    bias: str | None
    gain: np.ndarray
    shift: np.ndarray
    transposed: bool = False

    @property
    def pruned(self) -> np.ndarray:
        """(out,) bool: channels with next to no gain."""
        gain = np.abs(self.gain)
        return gain <= MIN_GAIN * gain.max()

    def fold(self, weight: np.ndarray) -> np.ndarray:
        """The node's weight, (out, ...) float64, for the layer's."""
        return weight * column(self.gain, weight.ndim)

    def keys(self) -> Iterator[tuple[int, str]]:
        """(input position of the node, state dict key) of what can be written back."""
        yield 1, self.weight
        if self.bias is not None:
            yield 2, self.bias


def match_layers(
    graph: Graph, network: nn.Module, shape: tuple[int, ...]
) -> tuple[dict[str, FoldedLayer], set[str]]:
    """Find the layer behind each Conv, Gemm and MatMul of the graph, by its values.

    Which BatchNorm reads which layer is seen by running the network; a node is that pair if its
    weight and bias are the pair's folded ones. What for_export() has re-associated equals no layer.

    Args:
        graph: The float graph, BatchNorm folded.
        network: The network it was traced from.
        shape: (3, H, W) of its input.

    Returns:
        node name -> layer; and the names of the layers that could not be told apart.
    """
    known: dict[tuple[str, tuple[int, ...]], list[_Candidate]] = {}
    for candidate in _foldable(network, shape):
        known.setdefault((candidate.kind, candidate.weight.shape), []).append(candidate)
    found: dict[str, FoldedLayer] = {}
    ambiguous: set[str] = set()
    for node in graph.nodes:
        weight = node_weight(graph, node)
        if weight is None:
            continue
        kind = "Conv%d" % attribute(node, "group", 1) if node.op_type == "Conv" else "Linear"
        bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        same = [c.layer for c in known.get((kind, weight.shape), ()) if c.is_held_by(weight, bias)]
        # Where a BatchNorm changes nothing, the layer with it comes last and counts.
        candidates = {layer.module: layer for layer in same}
        if len(candidates) == 1:
            (layer,) = candidates.values()
            transposed = node.op_type != "Conv" and _axis(node) == 1
            found[node.name] = replace(layer, transposed=transposed)
        else:
            ambiguous.update(candidates)
    return found, ambiguous


def node_weight(graph: Graph, node: NodeProto) -> np.ndarray | None:
    """The constant weight of a Conv, Gemm or MatMul as (out, ...) float64, or None."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    weight = graph.constant(node.input[1])
    if weight is None or (node.op_type != "Conv" and weight.ndim != 2):
        return None
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return None
    return (weight if _axis(node) == 0 else weight.T).astype(np.float64)


# -- parts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    """A layer alone, or with a BatchNorm, and the node that would hold it.

    Attributes:
        layer: Which.
        kind: "Linear", or "Conv" with the number of groups.
        weight, bias: Of the node, (out, ...) and (out,) float64.
        bias_scale: Size of the terms the bias is the sum of.
    """

    layer: FoldedLayer
    kind: str
    weight: np.ndarray
    bias: np.ndarray
    bias_scale: float

    def is_held_by(self, weight: np.ndarray, bias: np.ndarray | None) -> bool:
        if bias is None:
            return self.layer.bias is None and _near(weight, self.weight) and not self.bias.any()
        fits = bias.shape == self.bias.shape and _near(bias, self.bias, self.bias_scale)
        return fits and _near(weight, self.weight)


def _foldable(network: nn.Module, shape: tuple[int, ...]) -> Iterator[_Candidate]:
    """Every layer alone, and then with each BatchNorm that reads it."""
    network = copy.deepcopy(network).cpu().eval()
    modules = dict(network.named_modules())
    readers = _batch_norms(network, shape)
    for name, module in modules.items():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        kind = "Conv%d" % module.groups if isinstance(module, nn.Conv2d) else "Linear"
        weight = _array(module.weight)
        one, zero = np.ones(len(weight)), np.zeros(len(weight))
        own, key = zero, None
        if module.bias is not None:
            own, key = _array(module.bias), name + ".bias"
        layer = FoldedLayer(name, name + ".weight", key, one, zero)
        yield _Candidate(layer, kind, weight, own, float(np.abs(own).max()))
        for norm_name in sorted(readers.get(name, ())):
            norm = modules[norm_name]
            assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
            if norm.running_mean is None or norm.running_var is None:
                continue  # it normalises by the batch, so it is not folded
            gamma, beta = (_array(norm.weight), _array(norm.bias)) if norm.affine else (one, zero)
            gain = gamma / np.sqrt(_array(norm.running_var) + norm.eps)
            shift = (own - _array(norm.running_mean)) * gain
            key = norm_name + ".bias" if norm.affine else None
            layer = FoldedLayer(name, name + ".weight", key, gain, shift)
            scale = float(max(np.abs(beta).max(), np.abs(shift).max()))
            yield _Candidate(layer, kind, layer.fold(weight), beta + shift, scale)


def _batch_norms(network: nn.Module, shape: tuple[int, ...]) -> dict[str, set[str]]:
    """Layer name -> names of the BatchNorms that read its output; leaves hooks on the network."""
    made: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept, so that no id is used twice
    readers: dict[str, set[str]] = {}
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):

            def remember(_module, _inputs, output, name=name):
                made[id(output)] = (name, output)

            module.register_forward_hook(remember)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):

            def note(_module, inputs, name=name):
                if id(inputs[0]) in made:
                    readers.setdefault(made[id(inputs[0])][0], set()).add(name)

            module.register_forward_pre_hook(note)
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    return readers


def _axis(node: NodeProto) -> int:
    return 1 if node.op_type == "MatMul" else output_axis(node)


def _near(found: np.ndarray, expected: np.ndarray, scale: float | None = None) -> bool:
    scale = float(np.abs(expected).max()) if scale is None else scale
    return bool(np.abs(found - expected).max() <= TOLERANCE * scale)


def column(values: np.ndarray, ndim: int) -> np.ndarray:
    """(out,) as (out, 1, ..., 1)."""
    return values.reshape((-1,) + (1,) * (ndim - 1))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()
