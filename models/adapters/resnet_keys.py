"""Read a ResNet's shape off the keys of a checkpoint."""

from __future__ import annotations

import re

from models.adapters.adapter import State
from models.resnet import EXPANSION, ResNetConfig
from runtime.errors import ReidEdgeError


def has_resnet(state: State, prefix: str) -> bool:
    """Whether ``prefix`` holds a torchvision-named ResNet."""
    return all(
        f"{prefix}{key}" in state
        for key in ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv2.weight")
    )


def resnet_config(state: State, prefix: str, **choices) -> ResNetConfig:
    """The configuration of the ResNet under ``prefix``.

    Args:
        state: Checkpoint tensors.
        prefix: E.g. ``"base."``.
        choices: ``ResNetConfig`` fields that keys cannot show (strides, stem).

    Raises:
        ReidEdgeError: A ResNet relative that is not supported (grouped convolutions, wide
            bottlenecks, SE), or missing layers.
    """
    layers = _per_stage(state, prefix, "layer", "conv1")
    if not has_resnet(state, prefix) or 0 in layers:
        raise ReidEdgeError(
            f"The checkpoint has no complete ResNet under '{prefix}' (blocks per stage: "
            f"{layers}); check that the file is complete."
        )
    width = state[f"{prefix}conv1.weight"].shape[0]
    block = "bottleneck" if f"{prefix}layer1.0.conv3.weight" in state else "basic"
    inner = state[f"{prefix}layer1.0.conv2.weight"].shape
    if (
        inner[0] != inner[1]
        or inner[0] != width
        or any(f"{prefix}layer1.0.se." in k for k in state)
    ):
        raise ReidEdgeError(
            "The checkpoint is a ResNeXt, wide or squeeze-and-excite ResNet, "
            f"which is not supported (layer1.0.conv2.weight is {list(inner)} behind a stem of "
            f"{width} channels); supported: plain and IBN-a ResNets of {' and '.join(EXPANSION)} blocks."
        )
    return ResNetConfig(
        block=block,
        layers=layers,
        width=width,
        non_local=_per_stage(state, prefix, "NL_", "g"),
        ibn=f"{prefix}layer1.0.bn1.IN.weight" in state,
        **choices,
    )


def resnet_name(config: ResNetConfig) -> str:
    """``resnet50``, ``resnet50_ibn_a``, ``resnet18_w32``, ..."""
    width = "" if config.width == 64 else f"_w{config.width}"
    return f"resnet{config.depth}{'_ibn_a' if config.ibn else ''}{width}"


def _per_stage(state: State, prefix: str, name: str, part: str) -> tuple[int, int, int, int]:
    """How many ``{prefix}{name}{stage}.{index}.{part}.weight`` each of the four stages has."""
    pattern = re.compile(rf"{re.escape(prefix + name)}([1-4])\.\d+\.{part}\.weight")
    stages = [match[1] for key in state if (match := pattern.fullmatch(key))]
    return stages.count("1"), stages.count("2"), stages.count("3"), stages.count("4")
