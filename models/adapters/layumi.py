"""layumi/Person_reID_baseline_pytorch: ft_net, ResNet-50 (or its IBN variant) with a linear head.

The embedding is taken behind Linear + BatchNorm of ``classifier.add_block`` (BatchNorm alone where
``linear_num`` is 0), without a ReLU. Strides are read from ``opts.yaml`` beside the checkpoint, or
default to 2, the codebase's own. Its published figures add the embedding of the mirrored image.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import nn

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
from models.network import ReidNetwork, bn_neck, fc_neck
from models.pooling import AvgPool
from models.resnet import ResNet
from runtime.errors import ReidEdgeError

FAMILY = "layumi"
OPTIONS_FILE = "opts.yaml"

DROP = (
    (r"model\.fc\.(weight|bias)", IMAGENET_FC),
    (r"classifier\.classifier\..+", CLASSIFIER),
    (r"n_averaged", "counter of stochastic weight averaging"),
)
FLIP_NOTE = (
    "This codebase's published figures sum the embeddings of the image and its mirror image; "
    "this network returns one of them."
)


def looks_like(state: State) -> bool:
    return has_resnet(state, "model.") and "classifier.add_block.0.weight" in state


def plan(state: State, options: LoadOptions) -> Plan:
    stride, note = _stride(options)
    config = resnet_config(
        state, "model.", last_stride=stride, stem_relu=options.stem_relu is not False
    )
    backbone = ResNet(config)
    first = state["classifier.add_block.0.weight"]
    neck: nn.Module
    if first.dim() == 1:
        neck, dim, block = (
            bn_neck(backbone.out_channels),
            backbone.out_channels,
            "classifier.add_block.0.",
        )
    else:
        neck, dim, block = (
            fc_neck(backbone.out_channels, first.shape[0], relu=False),
            first.shape[0],
            "classifier.add_block.",
        )
    network = ReidNetwork(backbone, AvgPool(), neck, dim, feature_of(options))
    kept, dropped = KeyMap((("model.", "backbone."), (block, "neck.")), DROP).apply(state)
    return Plan(
        f"layumi_{resnet_name(config)}",
        network,
        kept,
        options.input(256, 128, resize="bicubic"),
        embedding_of(network),
        dropped,
        (note, FLIP_NOTE),
    )


def _stride(options: LoadOptions) -> tuple[int, str]:
    """The stride of layer4 and a sentence on where it comes from."""
    if options.last_stride is not None:
        return options.last_stride, f"Last stride {options.last_stride}, as requested."
    written = None if options.folder is None else _written_stride(options.folder / OPTIONS_FILE)
    if written is not None:
        return written, f"Last stride {written}, from {OPTIONS_FILE} beside the checkpoint."
    return 2, (
        f"The last stride is not visible in the weights and no {OPTIONS_FILE} beside them gives "
        "it: 2 assumed, this codebase's default (--last-stride 1 otherwise)."
    )


def _written_stride(path: Path) -> int | None:
    """The ``stride`` entry of an options file, which is flat ``name: value`` YAML."""
    if not path.is_file():
        return None
    found = re.search(r"^stride:\s*(\S+)\s*$", path.read_text(errors="replace"), re.MULTILINE)
    if found is None:
        return None
    if found[1] not in ("1", "2"):
        raise ReidEdgeError(
            f"{path} gives stride {found[1]}, but only 1 and 2 exist; correct the file or "
            "pass --last-stride."
        )
    return int(found[1])


ADAPTER = Adapter(
    family=FAMILY,
    archs=("layumi_resnet50", "layumi_resnet50_ibn_a"),
    looks_like=looks_like,
    plan=plan,
)
