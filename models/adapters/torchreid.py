"""KaiyangZhou/deep-person-reid (torchreid): OSNet, OSNet-IBN, OSNet-AIN, ResNet, ResNet-fc512.

The embedding of OSNet and ResNet-fc512 is taken behind Linear + BatchNorm + ReLU, so no entry is
negative; plain ResNets have no neck. The codebase compares unnormalised embeddings by Euclidean
distance unless told otherwise; here, as for every family, they are compared by cosine.
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
from models.network import ReidNetwork, fc_neck
from models.osnet import WIDTHS, OSNet, OSNetConfig
from models.pooling import AvgPool
from models.resnet import ResNet
from runtime.errors import ReidEdgeError

FAMILY = "torchreid"

NAMES = {channels: name for name, channels in WIDTHS.items()}
PREFIXES = {"plain": "osnet", "ibn": "osnet_ibn", "ain": "osnet_ain"}

OSNET_KEYS = KeyMap(
    rename=(("fc.", "neck."), ("conv", "backbone.conv"), ("pool", "backbone.pool")),
    drop=((r"classifier\.(weight|bias)", CLASSIFIER),),
)


RESNET_KEYS = KeyMap(
    rename=(
        ("fc.", "neck."),
        ("conv1.", "backbone.conv1."),
        ("bn1.", "backbone.bn1."),
        ("layer", "backbone.layer"),
    ),
    drop=((r"classifier\.(weight|bias)", CLASSIFIER),),
)


def looks_like(state: State) -> bool:
    return "conv2.0.gate.fc1.weight" in state or (
        has_resnet(state, "") and "classifier.weight" in state
    )


def may_be(state: State) -> bool:
    """Also exports that have lost their classifier."""
    return "conv2.0.gate.fc1.weight" in state or has_resnet(state, "")


def plan(state: State, options: LoadOptions) -> Plan:
    return (_plan_resnet if has_resnet(state, "") else _plan_osnet)(state, options)


def to_source(state: State) -> State:
    keys = OSNET_KEYS if "backbone.conv5.conv.weight" in state else RESNET_KEYS
    return keys.reverse(state)


def _plan_osnet(state: State, options: LoadOptions) -> Plan:
    config = _osnet_config(state)
    backbone = OSNet(config)
    fc = state.get("fc.0.weight")
    dim = None if fc is None else fc.shape[0]
    neck = None if fc is None else fc_neck(backbone.out_channels, fc.shape[0])
    feature = feature_of(options, has_neck=neck is not None)
    network = ReidNetwork(backbone, AvgPool(), neck, dim, feature)
    kept, dropped = OSNET_KEYS.apply(state)
    return Plan(
        f"{PREFIXES[config.variant]}_{NAMES[config.channels]}",
        network,
        kept,
        options.input(256, 128),
        embedding_of(network),
        dropped,
    )


def _plan_resnet(state: State, options: LoadOptions) -> Plan:
    fc = state.get("fc.0.weight")
    default_stride = 2 if fc is None else 1
    config = resnet_config(
        state,
        "",
        last_stride=options.last_stride or default_stride,
        stem_relu=options.stem_relu is not False,
    )
    backbone = ResNet(config)
    neck = None if fc is None else fc_neck(backbone.out_channels, fc.shape[0])
    dim = None if fc is None else fc.shape[0]
    network = ReidNetwork(
        backbone, AvgPool(), neck, dim, feature_of(options, has_neck=neck is not None)
    )
    notes = (
        ()
        if options.last_stride
        else (
            f"The last stride is not visible in the weights: {default_stride} assumed, as this "
            f"codebase builds ResNets {'without' if fc is None else 'with'} fc (or --last-stride).",
        )
    )
    kept, dropped = RESNET_KEYS.apply(state)
    suffix = "" if fc is None else f"_fc{fc.shape[0]}"
    return Plan(
        f"torchreid_{resnet_name(config)}{suffix}",
        network,
        kept,
        options.input(256, 128),
        embedding_of(network),
        dropped,
        notes,
    )


def _osnet_config(state: State) -> OSNetConfig:
    """Widths and variant from shapes; InstanceNorm is a norm without running statistics."""
    try:
        channels = tuple(
            state[key].shape[0]
            for key in (
                "conv1.conv.weight",
                "conv2.0.conv3.conv.weight",
                "conv3.0.conv3.conv.weight",
                "conv4.0.conv3.conv.weight",
            )
        )
    except KeyError as error:
        raise ReidEdgeError(
            f"The OSNet checkpoint lacks {error}; the file is incomplete."
        ) from None
    if channels not in NAMES:
        raise ReidEdgeError(
            f"OSNet of widths {channels} is unknown; supported: {', '.join(WIDTHS)}."
        )
    if "conv2.0.conv2.0.layers.0.conv1.weight" in state:
        variant = "ain"
    elif "conv1.bn.running_mean" in state:
        variant = "plain"
    else:
        variant = "ibn"
    return OSNetConfig(channels, variant)


ADAPTER = Adapter(
    family=FAMILY,
    archs=tuple(f"{prefix}_{width}" for prefix in PREFIXES.values() for width in WIDTHS)
    + tuple(f"torchreid_resnet{depth}" for depth in (18, 34, 50, 101, 152))
    + ("torchreid_resnet50_fc512",),
    looks_like=looks_like,
    plan=plan,
    may_be=may_be,
    to_source=to_source,
)
