"""Small networks of models/spec.py, at work: no gate saturated, no block the identity."""

from __future__ import annotations

import torch
from torch import nn

from models.checkpoint import LoadedNetwork
from models.resnet import NonLocal
from models.spec import NetworkSpec, build_network
from models.zoo.demo import demo_crops
from runtime.contract import EmbeddingContract
from runtime.preprocess import preprocess

torch.set_num_threads(1)


def settle(network: nn.Module, images: torch.Tensor, seed: int = 0) -> nn.Module:
    """Give norms random gains and offsets and the statistics of ``images``; to eval mode."""
    torch.manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.6, 1.2)
        nn.init.normal_(norm.bias, 0.0, 0.3)
    with torch.no_grad():
        network.train()(images)
    return network.eval().requires_grad_(False)


def small_network(**changes) -> LoadedNetwork:
    """A ResNet-18 of an eighth of the width at 64x32, or what ``changes`` make of it."""
    values = {"backbone": "resnet18", "width": 8, "height_px": 64, "width_px": 32, **changes}
    spec = NetworkSpec(**values)
    torch.manual_seed(1)
    network = build_network(spec)
    for module in network.modules():
        if isinstance(module, NonLocal):
            nn.init.normal_(module.get_parameter("W.1.weight"))
    crops = [image for image, _, _ in demo_crops(6, 1, 11)]
    settle(network, torch.from_numpy(preprocess(crops, spec.input_contract())))
    return LoadedNetwork(
        network,
        spec.arch,
        "reid-edge",
        spec.input_contract(),
        EmbeddingContract(dim=network.dim),
        spec=spec,
    )
