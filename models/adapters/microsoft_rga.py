"""microsoft/Relation-Aware-Global-Attention-Networks: RGA-S, RGA-C and RGA-SC on ResNet.

The input size is baked into the weights, so it is checked against the request, and found where
none was made. Branches are seen from the keys, embedding ratios from the shapes, the stride of
layer4 from the sizes of stages 3 and 4.
"""

from __future__ import annotations

import math

from torch import nn

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
from models.resnet import ResNet, ResNetConfig
from models.rga import RelationAttention, RelationShape
from runtime.errors import ReidEdgeError

FAMILY = "microsoft-rga"

KEYS = KeyMap(
    rename=(
        *((f"backbone.rga_att{i}.", f"backbone.attention.{i}.") for i in range(1, 5)),
        ("feat_bn.", "neck."),
    ),
    drop=((r"cls\.(weight|bias)", CLASSIFIER),),
)

# Tried in this order when no size is requested: (height, width) in pixels.
COMMON_SIZES = ((256, 128), (384, 128), (384, 192), (128, 64), (160, 64), (224, 224), (256, 256))


def looks_like(state: State) -> bool:
    return has_resnet(state, "backbone.") and any(
        key.startswith("backbone.rga_att") for key in state
    )


def plan(state: State, options: LoadOptions) -> Plan:
    branches = [b for b in ("spatial", "channel") if f"backbone.rga_att1.gg_{b}.0.weight" in state]
    if not branches:
        raise ReidEdgeError(
            "The RGA checkpoint has neither rga_att1.gg_spatial nor rga_att1.gg_channel; "
            "the file is incomplete."
        )
    positions = _positions(state)
    config, (height, width) = _fit(state, positions, options)
    attention: dict[int, nn.Module] = {}
    for stage, (h, w) in enumerate(config.stage_sizes(height, width), start=1):
        shape = RelationShape(
            config.stage_channels[stage - 1],
            h,
            w,
            "spatial" in branches,
            "channel" in branches,
            *_ratios(state, stage, config),
        )
        attention[stage] = RelationAttention(shape, options.rga_form)
    backbone = ResNet(config, attention)
    network = ReidNetwork(
        backbone,
        AvgPool(),
        bn_neck(backbone.out_channels),
        backbone.out_channels,
        feature_of(options),
    )
    kept, dropped = KEYS.apply(state)
    variant = "".join(branch[0] for branch in branches)
    return Plan(
        f"rga_{variant}_{resnet_name(config)}",
        network,
        kept,
        options.input(height, width),
        embedding_of(network),
        dropped,
    )


def _positions(state: State) -> tuple[int, ...]:
    """N of the four stages, from the convolutions that have N or 2N input channels."""
    sizes = []
    for stage in range(1, 5):
        relation = state.get(f"backbone.rga_att{stage}.gg_spatial.0.weight")
        nodes = state.get(f"backbone.rga_att{stage}.gx_channel.0.weight")
        if relation is not None:
            sizes.append(relation.shape[1] // 2)
        elif nodes is not None:
            sizes.append(nodes.shape[1])
        else:
            raise ReidEdgeError(
                f"The RGA checkpoint has no rga_att{stage}; the file is incomplete."
            )
    return tuple(sizes)


def _fit(
    state: State, positions: tuple[int, ...], options: LoadOptions
) -> tuple[ResNetConfig, tuple[int, int]]:
    """The ResNet and input size whose feature maps have the checkpoint's numbers of positions."""
    height, width = options.height, options.width
    candidates = ((height or 256, width or 128),) if height or width else COMMON_SIZES
    strides = (options.last_stride,) if options.last_stride else (1, 2)
    for size in candidates:
        for last_stride in strides:
            config = resnet_config(
                state,
                "backbone.",
                last_stride=last_stride,
                stem_relu=options.stem_relu is not False,
            )
            if tuple(h * w for h, w in config.stage_sizes(*size)) == positions:
                return config, size
    asked = (
        f"a {candidates[0][0]}x{candidates[0][1]} input" if len(candidates) == 1 else "a usual size"
    )
    asked += f" with last stride {options.last_stride}" if options.last_stride else ""
    area = 16 * positions[0]
    hint = next((f" (it fits {h}x{w})" for h, w in COMMON_SIZES if h * w == area), "")
    raise ReidEdgeError(
        f"The RGA weights are made for feature maps of {', '.join(map(str, positions))} "
        f"positions, about {area} input pixels{hint}, which is not {asked}; an RGA network has one "
        "input size: give it as --height and --width."
    )


def _ratios(state: State, stage: int, config: ResNetConfig) -> tuple[int, int]:
    """Channel and spatial ratio of one module: sizes of its inputs over those of its embeddings."""
    prefix = f"backbone.rga_att{stage}."
    channels = config.stage_channels[stage - 1]
    by_channel = state.get(
        prefix + "theta_spatial.0.weight", state.get(prefix + "gg_channel.0.weight")
    )
    by_position = state.get(
        prefix + "gg_spatial.0.weight", state.get(prefix + "theta_channel.0.weight")
    )
    if by_channel is None or by_position is None:
        raise ReidEdgeError(
            f"The RGA checkpoint lacks parts of rga_att{stage}; the file is incomplete."
        )
    nodes = by_position.shape[1] // (2 if prefix + "gg_spatial.0.weight" in state else 1)
    return (math.ceil(channels / by_channel.shape[0]), math.ceil(nodes / by_position.shape[0]))


ADAPTER = Adapter(
    family=FAMILY,
    archs=tuple(
        f"rga_{variant}_resnet{depth}"
        for variant in ("s", "c", "sc")
        for depth in (18, 34, 50, 101)
    )
    + ("rga_sc_resnet18_w32",),
    looks_like=looks_like,
    plan=plan,
    to_source=KEYS.reverse,
)
