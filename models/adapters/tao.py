"""NVIDIA TAO ReIdentificationNet: ResNet with a 1x1 projection before pooling, and BNNeck.

A descendant of reid-strong-baseline (no stem ReLU), trained with one standard deviation, 0.226,
for the three channels. The projection ``base.feature`` exists unless the embedding has 2048
entries; such a checkpoint looks like reid-strong-baseline's, so name it with ``--arch``.
"""

from __future__ import annotations

from models.adapters.adapter import (
    CLASSIFIER,
    Adapter,
    KeyMap,
    LoadOptions,
    Plan,
    State,
    embedding_of,
    feature_of,
)
from models.adapters.resnet_keys import has_resnet, resnet_config, resnet_name
from models.network import ReidNetwork, bn_neck
from models.pooling import AvgPool
from models.resnet import ResNet

FAMILY = "tao"

# Lightning checkpoints keep the network one attribute deeper.
UNWRAP = KeyMap(
    rename=(
        ("model.base.", "base."),
        ("model.bottleneck.", "bottleneck."),
        ("model.classifier.", "classifier."),
    )
)
KEYS = KeyMap(
    rename=(
        ("model.base.", "backbone."),
        ("model.bottleneck.", "neck."),
        ("base.", "backbone."),
        ("bottleneck.", "neck."),
    ),
    drop=((r"(model\.)?classifier\.(weight|bias)", CLASSIFIER),),
)
STD = (0.226, 0.226, 0.226)


def looks_like(state: State) -> bool:
    flat, _ = UNWRAP.apply(state)
    return has_resnet(flat, "base.") and "base.feature.weight" in flat


def may_be(state: State) -> bool:
    return has_resnet(UNWRAP.apply(state)[0], "base.")


def plan(state: State, options: LoadOptions) -> Plan:
    flat, _ = UNWRAP.apply(state)
    config = resnet_config(
        flat, "base.", last_stride=options.last_stride or 1, stem_relu=bool(options.stem_relu)
    )
    projection = flat.get("base.feature.weight")
    backbone = ResNet(config, projection=None if projection is None else projection.shape[0])
    neck = bn_neck(backbone.out_channels) if "bottleneck.weight" in flat else None
    network = ReidNetwork(
        backbone,
        AvgPool(),
        neck,
        backbone.out_channels,
        feature_of(options, has_neck=neck is not None),
    )
    kept, dropped = KEYS.apply(state)
    notes = (
        ()
        if options.last_stride
        else (
            "The last stride is not visible in the weights: 1 assumed, as TAO's specification sets "
            "it (--last-stride 2 otherwise).",
        )
    )
    return Plan(
        f"tao_{resnet_name(config)}",
        network,
        kept,
        options.input(256, 128, std=STD),
        embedding_of(network),
        dropped,
        notes,
    )


ADAPTER = Adapter(
    family=FAMILY, archs=("tao_resnet50",), looks_like=looks_like, plan=plan, may_be=may_be
)
