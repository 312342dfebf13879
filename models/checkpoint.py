"""Load a training checkpoint: file -> flat state dict -> adapter -> network with its contracts."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from models.adapters import ADAPTERS, plan_checkpoint
from models.adapters.adapter import Dropped, LoadOptions, State, fill
from models.adapters.native import save_network
from models.spec import NetworkSpec
from models.state_file import file_sha256, read_state_dict
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError

__all__ = [
    "LoadedNetwork",
    "load_network",
    "read_state_dict",
    "save_network",
    "source_state_dict",
]


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for export, whatever codebase it came from.

    Attributes:
        network: Module in eval mode, float32; (N, 3, height, width) pixels prepared as ``input``
            says to (N, ``embedding.dim``) embeddings, not normalised.
        arch: Architecture name, e.g. ``"rga_sc_resnet50"``.
        family: Source codebase, e.g. ``"microsoft-rga"``.
        input: What the network expects.
        embedding: What it returns.
        dropped: (checkpoint key, reason) for each checkpoint entry that is not in the network.
        source: File name of the checkpoint, ``None`` for weights made in memory.
        sha256: Hash of that file.
        trained: False for demonstration weights.
        notes: Sentences the user should read.
        spec: The network's specification, where the checkpoint states it (family reid-edge).
    """

    network: nn.Module
    arch: str
    family: str
    input: InputContract
    embedding: EmbeddingContract
    dropped: Dropped = ()
    source: str | None = None
    sha256: str | None = None
    trained: bool = True
    notes: tuple[str, ...] = ()
    spec: NetworkSpec | None = None

    def for_export(self) -> nn.Module:
        """A copy of the network with everything folded that the ONNX graph need not compute.

        Modules that have a cheaper inference-only form offer it by ``for_inference()``; the
        function computed stays the same up to rounding.
        """
        network = copy.deepcopy(self.network).eval()
        for name, module in list(network.named_modules()):
            if hasattr(module, "for_inference"):
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, module.for_inference())
        return network


def load_network(
    path: str | Path,
    *,
    arch: str | None = None,
    allow_pickle: bool = False,
    height: int | None = None,
    width: int | None = None,
    feature: str | None = None,
    last_stride: int | None = None,
    stem_relu: bool | None = None,
    rga_form: str = "reassociated",
    pool: str | None = None,
    gem_p: float | None = None,
) -> LoadedNetwork:
    """Load a checkpoint of any supported codebase.

    reid-edge's own files state what they are; any other family is recognised by keys and shapes.
    What neither shows has a documented default in the family's adapter, reported in ``notes``, and
    an argument here.

    Args:
        path: Checkpoint file.
        arch: Architecture name, to overrule or confirm what is recognised.
        allow_pickle: Also read whole pickled objects, which runs code contained in the file.
        height, width: Network input in pixels; default: the size the family trains with.
        feature: ``"after_neck"`` or ``"before_neck"``; default: what the family evaluates with.
        last_stride: Stride of ResNet's layer4, 1 or 2.
        stem_relu: Whether a ReLU follows ResNet's first BatchNorm.
        rga_form: ``"reassociated"`` (no affinity matrix) or ``"original"``; same function.
        pool, gem_p: Pooling of fast-reid heads that store no learned exponent.

    Raises:
        ReidEdgeError: The file cannot be read, is of no supported family, contradicts ``arch`` or
            the requested size, has missing or unexpected keys, or contains NaN or infinity.
    """
    path = Path(path)
    state, info = read_state_dict(path, allow_pickle)
    options = LoadOptions(
        height, width, feature, last_stride, stem_relu, rga_form, pool, gem_p, folder=path.parent
    )
    family, plan = plan_checkpoint(state, options, arch, info["header"])
    fill(plan.network, plan.state, plan.arch)
    network = plan.network.float().eval().requires_grad_(False)
    return LoadedNetwork(
        network,
        plan.arch,
        family,
        plan.input,
        plan.embedding,
        dropped=plan.dropped + _ignored(info),
        source=path.name,
        sha256=file_sha256(path),
        notes=plan.notes,
        spec=plan.spec,
    )


def source_state_dict(network: nn.Module, family: str) -> State:
    """The network's tensors under the codebase's own keys: what ``load_network`` reads back.

    Args:
        network: A network as the family's adapter builds it.
        family: ``"microsoft-rga"``, ``"reid-strong-baseline"`` or ``"torchreid"``.

    Raises:
        ReidEdgeError: A family that is only read, never written.
    """
    writers = {a.family: a.to_source for a in ADAPTERS if a.to_source is not None}
    if family not in writers:
        raise ReidEdgeError(
            f"Checkpoints are written for {', '.join(writers)}, not for {family}; save_network "
            "writes reid-edge's own."
        )
    return writers[family](dict(network.state_dict()))


def _ignored(info: dict[str, Any]) -> Dropped:
    return tuple((key, "not a tensor") for key in info["ignored"])
