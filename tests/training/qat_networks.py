"""Small networks for quantization-aware fine-tuning, and what its tests do with them."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from export.graph import Graph
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import trace
from models.checkpoint import LoadedNetwork
from runtime.contract import EmbeddingContract, InputContract
from tests.export.cli_helpers import HEIGHT, WIDTH, drawn_pixels
from training.qat import QatResult
from training.qat_layers import FoldedLayer

torch.set_num_threads(1)
SHAPE = (3, 16, 8)


class Mixed(nn.Module):
    """One of each: how layers and BatchNorms meet in practice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)  # a bias of its own and a BatchNorm
        self.stem_bn = nn.BatchNorm2d(8)
        self.expand = nn.Conv2d(8, 12, 1, bias=False)  # nothing behind it but a ReLU
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(12)
        self.shared = nn.Conv2d(12, 12, 1, bias=False)  # used twice, with one BatchNorm
        self.shared_bn = nn.BatchNorm2d(12)
        self.bare = nn.Conv2d(12, 6, 1)  # a BatchNorm without gain and beta
        self.no_affine = nn.BatchNorm2d(6, affine=False)
        self.fc = nn.Linear(6, 10)
        self.fc_bn = nn.BatchNorm1d(10)
        self.last = nn.Linear(10, 5, bias=False)

    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        x = torch.relu(self.depthwise_bn(self.depthwise(torch.relu(self.expand(x)))))
        x = torch.relu(self.shared_bn(self.shared(x)))
        x = x + torch.relu(self.shared_bn(self.shared(x)))
        x = self.no_affine(self.bare(x)).mean((2, 3))
        return self.last(torch.relu(self.fc_bn(self.fc(x))))


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and statistics; gains of both signs."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.weight.data[::3] *= -1
                module.bias.data.normal_(0, 0.5, generator=generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.3, generator=generator)
    return network.eval().requires_grad_(False)


def graph_of(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> Graph:
    graph = Graph(trace(network, InputContract(*shape[1:])))
    fold_batchnorm(graph)
    name_nodes(graph)
    return graph


def pixels(n: int = 4, shape: tuple[int, int, int] = SHAPE, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def run(module: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(images)).numpy()


def shaken(graph: Graph, masks: dict[str, np.ndarray], seed: int = 1) -> Graph:
    """A copy with every value that may change changed by a tenth of the tensor's size."""
    rng = np.random.default_rng(seed)
    tuned = graph.copy()
    for name, mask in masks.items():
        value = tuned.initializers[name]
        noise = rng.standard_normal(value.shape) * 0.1 * np.abs(value).max()
        tuned.initializers[name] = (value + mask * noise).astype(np.float32)
    return tuned


def refilled(network: nn.Module, state) -> nn.Module:
    network = copy.deepcopy(network)
    network.load_state_dict(state)
    return network


def conv_weights(graph: Graph) -> dict[str, np.ndarray]:
    return {n.name: graph.initializers[n.input[1]] for n in graph.nodes if n.op_type == "Conv"}


def by_module(layers: dict[str, FoldedLayer]) -> dict[str, FoldedLayer]:
    return {layer.module: layer for layer in layers.values()}


class Torn(nn.Module):
    """A layer that feeds a depthwise convolution once, and is used a second time elsewhere."""

    def __init__(self):
        super().__init__()
        self.used_twice = nn.Conv2d(3, 6, 1, bias=False)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)

    def forward(self, x):
        return (self.depthwise(self.used_twice(x)) + self.used_twice(torch.relu(x))).mean((2, 3))


class Shallow(nn.Module):
    """Four convolutions with a residual block.

    Deep networks are no test of equality: one code that falls the other way shifts all that follow.
    """

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.bn3 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.conv4, self.bn4 = nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)
        self.neck = nn.BatchNorm1d(32)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(x))))) + x)
        return self.neck(torch.relu(self.bn4(self.conv4(x))).mean((2, 3)))


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Seeded weights, gains that differ, and BatchNorm statistics of drawn people."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.numel():
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    with torch.no_grad():
        network.train()(torch.from_numpy(drawn_pixels(32, seed=3)))
    return network.eval().requires_grad_(False)


def loaded_of(network: nn.Module, dim: int = 32) -> LoadedNetwork:
    contract = InputContract(HEIGHT, WIDTH)
    return LoadedNetwork(network, "small", "test", contract, EmbeddingContract(dim=dim))


class Light(Shallow):
    """With OSNet's pair, a linear 1x1 and a depthwise convolution, in place of the second."""

    def __init__(self):
        super().__init__()
        self.conv2 = nn.Sequential(
            nn.Conv2d(16, 16, 1, bias=False), nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False)
        )


def batches_of(images, size: int = 8):
    """Shuffled batches with the crop's number as its label."""

    def batches(epoch: int):
        order = np.random.default_rng(epoch).permutation(len(images))
        return [
            (images[order[i : i + size]], order[i : i + size]) for i in range(0, len(order), size)
        ]

    return batches


def seen_by(images: np.ndarray, seen: list[np.ndarray]):
    """A judge that scores like the default one, on other crops, and notes the embeddings."""

    def judge(run) -> float:
        seen.append(run(images))
        return float(len(seen))  # the last is the best

    return judge


def embeddings(network: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


def filled(loaded: LoadedNetwork, result: QatResult) -> LoadedNetwork:
    network = copy.deepcopy(loaded.network)
    network.load_state_dict(result.state_dict)
    return replace(loaded, network=network)
