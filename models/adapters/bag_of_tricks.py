"""michuanhaohao/reid-strong-baseline ("bag of tricks"): ResNet and ResNet-IBN-a with BNNeck.

Neither the stride of layer4 (default 1, the codebase's own) nor the stem is visible in the keys:
its plain ResNets have no ReLU behind the first BatchNorm, its IBN-a ones do.
"""

from __future__ import annotations

from models.adapters.adapter import (
    CLASSIFIER,
    IMAGENET_FC,
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

FAMILY = "reid-strong-baseline"

KEYS = KeyMap(
    rename=(("base.", "backbone."), ("bottleneck.", "neck.")),
    drop=((r"classifier\.(weight|bias)", CLASSIFIER), (r"base\.fc\.(weight|bias)", IMAGENET_FC)),
)


def looks_like(state: State) -> bool:
    return has_resnet(state, "base.") and "base.feature.weight" not in state


def plan(state: State, options: LoadOptions) -> Plan:
    ibn = "base.layer1.0.bn1.IN.weight" in state
    stem_relu = ibn if options.stem_relu is None else options.stem_relu
    config = resnet_config(
        state, "base.", last_stride=options.last_stride or 1, stem_relu=stem_relu
    )
    backbone = ResNet(config)
    neck = bn_neck(backbone.out_channels) if "bottleneck.weight" in state else None
    network = ReidNetwork(
        backbone,
        AvgPool(),
        neck,
        backbone.out_channels,
        feature_of(options, has_neck=neck is not None),
    )
    notes = []
    if options.last_stride is None:
        notes.append(
            "The last stride is not visible in the weights: 1 assumed, as this codebase "
            "trains by default (--last-stride 2 otherwise)."
        )
    if options.stem_relu is None and not ibn:
        notes.append(
            "No ReLU behind the stem, as in this codebase's plain ResNets (--stem-relu if "
            "yours was repaired)."
        )
    kept, dropped = KEYS.apply(state)
    return Plan(
        f"bot_{resnet_name(config)}",
        network,
        kept,
        options.input(256, 128),
        embedding_of(network),
        dropped,
        tuple(notes),
    )


ADAPTER = Adapter(
    family=FAMILY,
    archs=tuple(f"bot_resnet{depth}" for depth in (18, 34, 50, 101, 152))
    + ("bot_resnet50_ibn_a", "bot_resnet101_ibn_a"),
    looks_like=looks_like,
    plan=plan,
    to_source=KEYS.reverse,
)
