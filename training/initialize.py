"""Start a network from weights that somebody trained: fine-tuning and ImageNet backbones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.checkpoint import LoadedNetwork, load_network, read_state_dict
from models.network import ReidNetwork
from models.spec import NetworkSpec
from models.zoo.card import ProvenanceCard
from models.zoo.default import ZOO, default_network
from runtime.errors import ReidEdgeError

DEFAULT = "default"
SMALLEST_SHARE = 0.5  # of the tensors; below it the weights are of another network


def read_network(
    path: Path, option: str, arch: str | None, allow_pickle: bool = False
) -> LoadedNetwork:
    """A trained network, with errors that name ``option`` as what states its architecture.

    Raises:
        ReidEdgeError: As ``models.checkpoint.load_network``, which speaks of reid-export's options.
    """
    try:
        return load_network(path, arch=arch, allow_pickle=allow_pickle)
    except ReidEdgeError as error:
        raise ReidEdgeError(str(error).replace("--arch", option)) from None


@dataclass(frozen=True)
class Start:
    """Which weights a run starts from, and how to read them.

    Attributes:
        path: The checkpoint.
        arch: Its architecture, where it is not recognised.
        allow_pickle: Also read a whole pickled object, which runs code contained in the file.
    """

    path: Path
    arch: str | None = None
    allow_pickle: bool = False

    def load(self) -> LoadedNetwork:
        """The network of the checkpoint; errors as ``read_network``."""
        return read_network(self.path, "--init-arch", self.arch, self.allow_pickle)

    def spec(self) -> NetworkSpec:
        """The specification of the checkpoint's network, for recipes without one.

        Raises:
            ReidEdgeError: It cannot be read, or is not a file that states its specification.
        """
        loaded = self.load()
        if loaded.spec is None:
            raise ReidEdgeError(
                f"{self.path} is a {loaded.family} checkpoint of {loaded.arch}, which does not "
                "state a specification as reid-edge's own do; describe it in the network section "
                "of a recipe of your own (copy training/recipes/finetune.yaml)."
            )
        return loaded.spec


@dataclass(frozen=True)
class Initialized:
    """What was taken over.

    Attributes:
        source: Where from, e.g. ``"microsoft-rga checkpoint rga.pth"``.
        taken: Tensors copied.
        left: Names of the network's tensors that keep their random start.
        differences: Sentences on what the weights were trained with and the recipe has not.
        terms: What the weights were trained on, where they say so: its terms may pass on.
    """

    source: str
    taken: int
    left: tuple[str, ...]
    differences: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = ", ".join(self.left[:3]) + (", ..." if len(self.left) > 3 else "")
        rest = f"; {len(self.left)} start at random ({named})" if self.left else ""
        return f"{self.taken} tensors from {self.source}{rest}"


def start_path(name: str | Path) -> Path:
    """The checkpoint that ``--init`` names: a file, or ``default`` for reid-edge's own network.

    Raises:
        ReidEdgeError: The default network is not there, or not the one of its card.
    """
    if str(name) != DEFAULT:
        return Path(name)
    loaded = default_network()  # compares the file with its card
    if not loaded.trained or loaded.source is None:
        raise ReidEdgeError(
            "This installation has no trained default network; pass --init CHECKPOINT."
        )
    return ZOO / loaded.source


def initialize(network: ReidNetwork, start: Start, spec: NetworkSpec) -> Initialized:
    """Copy every tensor that fits from a checkpoint into ``network``.

    Any checkpoint that ``reid-export`` reads will do, and plain ImageNet classifiers with
    torchvision's key names (``conv1.weight``, ``layer1.0...``).

    Args:
        network: Changed in place.
        start: The checkpoint.
        spec: What ``network`` was built from.

    Raises:
        ReidEdgeError: It cannot be read, or fits less than half of the network's backbone.
    """
    loaded, state, source = _state_of(start)
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    backbone = [k for k in own if k.startswith("backbone.") and ".attention." not in k]
    share = sum(k in fitting for k in backbone) / max(len(backbone), 1)
    if share < SMALLEST_SHARE:
        raise ReidEdgeError(
            f"{start.path} fits only {share:.0%} of the backbone; --init needs weights of the "
            "architecture that the recipe's network section describes, or a recipe without one, such "
            "as finetune, which takes theirs."
        )
    network.load_state_dict(fitting, strict=False)
    left = tuple(k for k in own if k not in fitting and not k.endswith("num_batches_tracked"))
    if loaded is None:
        return Initialized(source, len(fitting), left)
    return Initialized(
        source, len(fitting), left, differences(loaded, network, spec), _terms(start, loaded)
    )


def _state_of(start: Start) -> tuple[LoadedNetwork | None, dict[str, Tensor], str]:
    """The network where the checkpoint is one, its tensors under our names, and where from."""
    try:
        loaded = start.load()
    except ReidEdgeError as unknown:
        state, _ = read_state_dict(start.path, start.allow_pickle)
        if "conv1.weight" not in state:
            raise unknown from None
        named = {f"backbone.{k}": v for k, v in state.items()}
        return None, named, f"ImageNet weights {start.path.name}"
    source = f"{loaded.family} checkpoint {start.path.name}"
    return loaded, dict(loaded.network.state_dict()), source


def _terms(start: Start, loaded: LoadedNetwork) -> tuple[str, ...]:
    """Notes on the data behind the weights: the card's for the default network."""
    card = ProvenanceCard.read(ZOO) if start.path.parent == ZOO else None
    notes = loaded.notes if card is None or card.weights != start.path.name else card.notes
    return tuple(note for note in notes if note.startswith(("trained on ", "training data: ")))


def differences(loaded: LoadedNetwork, network: ReidNetwork, spec: NetworkSpec) -> tuple[str, ...]:
    """What decides a network's function without showing in its tensors, where the two differ.

    Args:
        loaded: The network whose weights are taken.
        network: The one that takes them.
        spec: What ``network`` was built from.

    Returns:
        One sentence each, with the ``--set`` that would make them agree where there is one.
    """
    said = []
    theirs, ours = _hidden(loaded.network), _hidden(network)
    contract, own = loaded.input, spec.input_contract()
    theirs.update(height_px=contract.height, width_px=contract.width)
    ours.update(height_px=own.height, width_px=own.width)
    for name, value in theirs.items():
        if name in ours and ours[name] != value:
            said.append(
                f"--init: these weights were trained with {name} {_yaml(value)}, the recipe has "
                f"{_yaml(ours[name])}; --set network.{name}={_yaml(value)} would keep it."
            )
    for name in ("color", "scale", "mean", "std", "resize"):
        if getattr(contract, name) != getattr(own, name):
            said.append(
                f"--init: these weights were trained on pixels with {name} "
                f"{getattr(contract, name)}, every recipe trains with {getattr(own, name)}; "
                "training has to make up for it, so give it a few more epochs."
            )
    return tuple(said)


def _hidden(network: nn.Module) -> dict[str, Any]:
    """Settings of a network that its keys and shapes do not show, under a recipe's names."""
    config = getattr(getattr(network, "backbone", None), "config", None)
    found = {
        name: getattr(config, name)
        for name in ("last_stride", "stem_relu", "ceil_pool")
        if hasattr(config, name)
    }
    kind = type(getattr(network, "pool", None)).__name__.removesuffix("Pool").lower()
    if kind in ("avg", "max", "gem", "attention"):
        found["pool"] = kind
    return found


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
