"""What a checkpoint adapter is: the shared vocabulary of the files in this folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models.network import ReidNetwork
from models.spec import NetworkSpec
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError

State = dict[str, Tensor]
Dropped = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LoadOptions:
    """What the user asks for beyond the file; ``None`` means the adapter's documented default.

    Attributes:
        height, width: Network input in pixels.
        feature: ``"after_neck"`` or ``"before_neck"``.
        last_stride: Stride of ResNet's layer4, 1 or 2; not visible in the keys.
        stem_relu: Whether a ReLU follows ResNet's first BatchNorm; not visible in the keys.
        rga_form: ``"original"`` or ``"reassociated"``.
        pool: ``"avg"``, ``"gem"`` or ``"max"``, for fast-reid heads without a learned exponent.
        gem_p: Fixed GeM exponent, for ``pool="gem"`` without a learned one.
        folder: Folder of the checkpoint, for settings files kept beside it.
    """

    height: int | None = None
    width: int | None = None
    feature: str | None = None
    last_stride: int | None = None
    stem_relu: bool | None = None
    rga_form: str = "reassociated"
    pool: str | None = None
    gem_p: float | None = None
    folder: Path | None = None

    def __post_init__(self):
        for name, allowed in (
            ("feature", (None, "after_neck", "before_neck")),
            ("last_stride", (None, 1, 2)),
            ("rga_form", ("original", "reassociated")),
            ("pool", (None, "avg", "gem", "max")),
        ):
            if getattr(self, name) not in allowed:
                choices = ", ".join(str(a) for a in allowed if a is not None)
                raise ReidEdgeError(
                    f"--{name.replace('_', '-')} must be one of {choices}, "
                    f"got {getattr(self, name)!r}."
                )

    def input(self, height: int, width: int, **changes) -> InputContract:
        """The adapter's input contract at the requested size, else at the default one."""
        return InputContract(self.height or height, self.width or width, **changes)


@dataclass(frozen=True)
class Plan:
    """An adapter's reading of one checkpoint: the network to fill and the tensors to fill it with.

    Attributes:
        arch: Architecture name, e.g. ``"rga_sc_resnet50"``.
        network: Module with uninitialised weights.
        state: Checkpoint tensors under the network's own keys; loaded strictly.
        input, embedding: The contract the weights were trained with.
        dropped: (checkpoint key, reason) for each entry not in ``state``.
        notes: Sentences the user should read (defaults taken, differences to the source's habits).
        spec: The network's specification, where the checkpoint states it.
    """

    arch: str
    network: nn.Module
    state: State
    input: InputContract
    embedding: EmbeddingContract
    dropped: Dropped = ()
    notes: tuple[str, ...] = ()
    spec: NetworkSpec | None = None


@dataclass(frozen=True)
class Adapter:
    """One source codebase.

    Attributes:
        family: Name of the codebase.
        archs: Values of ``--arch`` that select this adapter.
        looks_like: Recognises the family by keys and shapes alone.
        plan: Reads a checkpoint of the family.
        may_be: Weaker test that suffices when ``--arch`` names the family; default ``looks_like``.
        to_source: Names a network's tensors as the codebase does, for families we also train.
    """

    family: str
    archs: tuple[str, ...]
    looks_like: Callable[[State], bool]
    plan: Callable[[State, LoadOptions], Plan]
    may_be: Callable[[State], bool] | None = None
    to_source: Callable[[State], State] | None = None

    def accepts(self, state: State) -> bool:
        return (self.may_be or self.looks_like)(state)


@dataclass(frozen=True)
class KeyMap:
    """Checkpoint keys to network keys, as data.

    Attributes:
        drop: (regular expression for whole keys, reason); tried first.
        rename: (old prefix, new prefix); the first match wins, other keys pass unchanged and are
            left to the strict load to judge.
    """

    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[tuple[str, str], ...] = ()

    def apply(self, state: State) -> tuple[State, Dropped]:
        """Returns the renamed tensors and the (key, reason) pairs of those left out."""
        kept, dropped = {}, []
        for key, value in state.items():
            reason = next((why for pattern, why in self.drop if re.fullmatch(pattern, key)), None)
            if reason is not None:
                dropped.append((key, reason))
                continue
            kept[self._renamed(key)] = value
        return kept, tuple(dropped)

    def reverse(self, state: State) -> State:
        """Network keys back to checkpoint keys; what was dropped stays away."""
        return KeyMap(tuple((new, old) for old, new in self.rename)).apply(state)[0]

    def _renamed(self, key: str) -> str:
        for old, new in self.rename:
            if key.startswith(old):
                return new + key[len(old) :]
        return key


CLASSIFIER = "training identities' classifier, not part of the embedding"
IMAGENET_FC = "ImageNet classifier of the backbone, unused by the source's forward pass"


def feature_of(options: LoadOptions, default: str = "after_neck", *, has_neck: bool = True) -> str:
    """The feature to export, refusing one that the checkpoint does not have."""
    if has_neck:
        return options.feature or default
    if options.feature == "after_neck":
        raise ReidEdgeError(
            "This checkpoint has no neck, so --feature after_neck does not exist; "
            "use --feature before_neck (the pooled feature)."
        )
    return "before_neck"


def embedding_of(network: ReidNetwork) -> EmbeddingContract:
    """The contract of what ``network`` returns, compared by cosine."""
    return EmbeddingContract(dim=network.dim, feature=network.feature, l2_normalize=True)


def fill(network: nn.Module, state: State, arch: str) -> None:
    """Load ``state`` into ``network``, strictly.

    Only BatchNorm's ``num_batches_tracked`` may be missing: files older than PyTorch 0.4.1 have
    none, and inference does not read it.

    Raises:
        ReidEdgeError: Missing or unexpected keys or other shapes; names the first of them.
    """
    expected = network.state_dict()
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in expected]
    reshaped = [
        f"{k} is {list(state[k].shape)} instead of {list(expected[k].shape)}"
        for k in expected
        if k in state and state[k].shape != expected[k].shape
    ]
    problems = [
        f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for what, found in (
            ("missing keys", missing),
            ("unexpected keys", unexpected),
            ("keys of another shape", reshaped),
        )
        if found
    ]
    if problems:
        raise ReidEdgeError(
            f"The checkpoint does not fill {arch}: {'; '.join(problems)}; check that "
            "the file is complete and that --arch names its architecture."
        )
    network.load_state_dict(state, strict=False)
