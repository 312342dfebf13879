"""The default network: trained weights if the zoo has them, else a small untrained RGA network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoint import LoadedNetwork, load_network
from models.network import ReidNetwork, bn_neck
from models.pooling import AvgPool
from models.resnet import ResidualBlock, ResNet, ResNetConfig
from models.rga import RelationAttention, RelationShape
from models.state_file import file_sha256
from models.zoo.card import ProvenanceCard
from models.zoo.demo import demo_crops
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess

SEED = 20200613
ZOO = Path(__file__).resolve().parent
UNTRAINED = (
    "untrained demonstration weights: the embedding shows that the tool chain works, it does "
    "not recognise people; pass --weights for real use"
)


def default_network(folder: str | Path | None = None) -> LoadedNetwork:
    """The network used when no checkpoint is given.

    Args:
        folder: Where to look for ``default.json`` and the files it names; default: this package.

    Returns:
        The trained default with its provenance in ``notes``, or, without a card, RGA-SC on a
        half-width ResNet-18 with seeded weights and ``trained=False``.

    Raises:
        ReidEdgeError: A broken card, or weights that are missing or do not match its hash.
    """
    folder = ZOO if folder is None else Path(folder)
    card = ProvenanceCard.read(folder)
    return untrained_network() if card is None else _trained(folder, card)


def default_calibration_table(folder: str | Path | None = None) -> Path | None:
    """The calibration table stored beside the trained default, or ``None`` where there is none.

    Raises:
        ReidEdgeError: A broken card, or one that names a table that is missing.
    """
    folder = ZOO if folder is None else Path(folder)
    card = ProvenanceCard.read(folder)
    if card is None or card.calibration_table is None:
        return None
    path = folder / card.calibration_table
    if not path.is_file():
        raise ReidEdgeError(
            f"The default calibration table {path} is missing; reinstall reid-edge or pass --calib."
        )
    return path


def _trained(folder: Path, card: ProvenanceCard) -> LoadedNetwork:
    weights = folder / card.weights
    if not weights.is_file():
        raise ReidEdgeError(
            f"The default weights {weights} are missing; reinstall reid-edge or pass --weights."
        )
    found = file_sha256(weights)
    if found != card.sha256.lower():
        raise ReidEdgeError(
            f"The default weights {weights} have SHA-256 {found[:12]}..., but their card "
            f"says {card.sha256[:12]}...; reinstall reid-edge or pass --weights."
        )
    loaded = load_network(weights, arch=card.arch, **card.options)
    return replace(loaded, notes=card.notes)


def untrained_network(seed: int = SEED) -> LoadedNetwork:
    """RGA-SC ResNet-18 at half width, 256x128 to 256-D, filled from ``seed``.

    Convolutions are He-normal. BatchNorm statistics are those of drawn people, layer by layer in
    one pass, so every activation has unit variance before its scale and no channel is dead.
    """
    contract = InputContract(256, 128)
    config = ResNetConfig.of_depth(18, width=32)
    sizes = config.stage_sizes(contract.height, contract.width)
    attention: dict[int, nn.Module] = {
        stage: RelationAttention(RelationShape(channels, *size))
        for stage, (channels, size) in enumerate(zip(config.stage_channels, sizes), start=1)
    }
    backbone = ResNet(config, attention)
    network = ReidNetwork(
        backbone, AvgPool(), bn_neck(backbone.out_channels), backbone.out_channels
    )
    _fill_seeded(network, seed)
    _settle_batch_norm(network, contract, seed)
    network.eval().requires_grad_(False)
    return LoadedNetwork(
        network,
        "rga_sc_resnet18_w32",
        "microsoft-rga",
        contract,
        EmbeddingContract(dim=network.dim),
        trained=False,
        notes=(UNTRAINED,),
    )


def _fill_seeded(network: nn.Module, seed: int) -> None:
    """He-normal convolutions from NumPy's generator, which is stable across platforms.

    Relations of random features have heavy tails, so RGA's gates start three quarters open and
    barely move, and residual branches start at a quarter of their size: otherwise the random
    network amplifies rounding so much that INT8 could not be told from a fault.
    """
    generator = np.random.default_rng(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            shape = module.weight.shape
            values = generator.standard_normal(shape) * (2.0 / np.prod(shape[1:])) ** 0.5
            module.weight.data = torch.from_numpy(values).float()
        elif isinstance(module, RelationAttention):
            for branch in ("spatial", "channel"):
                last = module.branch(branch)["W"][-1]
                assert isinstance(last, nn.BatchNorm2d)
                nn.init.constant_(last.weight, 0.1)
                nn.init.constant_(last.bias, 1.0)
        elif isinstance(module, ResidualBlock):
            nn.init.constant_(module.get_parameter("bn2.weight"), 0.25)


def _settle_batch_norm(network: nn.Module, contract: InputContract, seed: int) -> None:
    """Set all BatchNorm statistics from one batch of drawn people."""
    crops = [image for image, _, _ in demo_crops(12, 2, seed)]
    layers = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0  # the batch's statistics replace the initial ones
    with torch.no_grad():
        network.train()(torch.from_numpy(preprocess(crops, contract)))
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
