"""JDAI-CV/fast-reid: BoT, AGW and SBS heads on ResNet and ResNet-IBN, with non-local blocks.

The network takes RGB pixels 0..255 and normalises them itself. The stem pools without padding in
ceil mode. The embedding is always taken behind ``heads.bottleneck``. A learned GeM exponent means
SBS (384x128); non-local blocks without one mean AGW, whose exponent is fixed at 3; else BoT with
average pooling. Official configurations all have a last stride of 1.
"""

from __future__ import annotations

from typing import Any

import torch
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
from models.network import PixelNormalize, ReidNetwork, bn_neck, fc_neck
from models.pooling import AvgPool, GeMPool, MaxPool
from models.resnet import ResNet
from runtime.errors import ReidEdgeError

FAMILY = "fast-reid"

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
PIXELS: dict[str, Any] = {
    "scale": 1.0,
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "resize": "bicubic",
}

DROP = (
    (r"heads\.(weight|classifier\.(weight|bias))", CLASSIFIER),
    (r"pixel_(mean|std)", "normalisation constants, equal to the input contract's"),
)
GEM = ("heads.pool_layer.p", "pool.p")


def looks_like(state: State) -> bool:
    return has_resnet(state, "backbone.") and any(key.startswith("heads.") for key in state)


def plan(state: State, options: LoadOptions) -> Plan:
    _check_pixel_constants(state)
    config = resnet_config(
        state,
        "backbone.",
        last_stride=options.last_stride or 1,
        stem_relu=options.stem_relu is not False,
        ceil_pool=True,
    )
    backbone = ResNet(config)
    learned = GEM[0] in state
    kind = "sbs" if learned else "agw" if any(config.non_local) else "bot"
    pool, notes = _pool(learned, kind, options)
    neck, dim, renames = _neck(state, backbone.out_channels)
    network = ReidNetwork(
        backbone,
        pool,
        neck,
        dim,
        feature_of(options, has_neck=neck is not None),
        normalize=PixelNormalize(PIXEL_MEAN, PIXEL_STD),
    )
    kept, dropped = KeyMap((GEM, *renames), DROP).apply(state)
    kept = _squeeze_embedding(kept)
    if isinstance(pool, GeMPool) and not learned:
        kept["pool.p"] = pool.p.detach()
    size = (384, 128) if kind == "sbs" else (256, 128)
    if options.last_stride is None:
        notes += (
            "The last stride is not visible in the weights: 1 assumed, as in all official "
            "configurations (--last-stride 2 otherwise).",
        )
    return Plan(
        f"fastreid_{kind}_{resnet_name(config)}",
        network,
        kept,
        options.input(*size, **PIXELS),
        embedding_of(network),
        dropped,
        notes,
    )


def _pool(learned: bool, kind: str, options: LoadOptions) -> tuple[nn.Module, tuple[str, ...]]:
    """The pooling layer: from the keys, else the user's choice, else the kind's default."""
    if learned:
        if options.pool not in (None, "gem") or options.gem_p is not None:
            raise ReidEdgeError(
                "The checkpoint stores a learned GeM exponent (heads.pool_layer.p), "
                "which --pool and --gem-p cannot replace; leave them out."
            )
        return GeMPool(), ()
    name = options.pool or ("gem" if kind == "agw" or options.gem_p else "avg")
    if name == "gem":
        p = options.gem_p or 3.0
        return GeMPool(p), (
            f"GeM pooling with the fixed exponent {p:g}, which the weights do not show "
            "(--pool, --gem-p otherwise).",
        )
    note = f"Pooling is not visible in the weights: {name} assumed (--pool otherwise)."
    return (AvgPool() if name == "avg" else MaxPool()), () if options.pool else (note,)


def _neck(state: State, channels: int) -> tuple[nn.Module | None, int, tuple[tuple[str, str], ...]]:
    """The neck, its width, and the renaming of its keys; three layouts exist."""
    if "heads.bnneck.weight" in state:  # before September 2020
        return bn_neck(channels), channels, (("heads.bnneck.", "neck."),)
    first = state.get("heads.bottleneck.0.weight")
    if first is None:
        return None, channels, ()
    if first.dim() == 1:
        return bn_neck(channels), channels, (("heads.bottleneck.0.", "neck."),)
    has_bias = "heads.bottleneck.0.bias" in state
    return (
        fc_neck(channels, first.shape[0], bias=has_bias, relu=False),
        first.shape[0],
        (("heads.bottleneck.", "neck."),),
    )


def _squeeze_embedding(state: State) -> State:
    """The 1x1 convolution of an embedding head as the linear layer it is on a pooled vector."""
    weight = state.get("neck.0.weight")
    if weight is not None and weight.dim() == 4:
        state = {**state, "neck.0.weight": weight.flatten(1)}
    return state


def _check_pixel_constants(state: State) -> None:
    for key, expected in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        found = state.get(key)
        if found is not None and not torch.allclose(
            found.double().flatten(), torch.tensor(expected, dtype=torch.float64)
        ):
            raise ReidEdgeError(
                f"The checkpoint's {key} is {found.flatten().tolist()}, but this codebase's "
                f"standard is {list(expected)}; only the standard is supported."
            )


ADAPTER = Adapter(
    family=FAMILY,
    archs=tuple(
        f"fastreid_{kind}_resnet{depth}{ibn}"
        for kind in ("bot", "agw", "sbs")
        for depth in (18, 34, 50, 101)
        for ibn in ("", "_ibn_a")
    ),
    looks_like=looks_like,
    plan=plan,
)
