"""One adapter per source codebase, and the choice among them.

An adapter recognises its checkpoints by keys and shapes, builds the network, renames the tensors,
gives a reason for each one it leaves out, and states the input and embedding contracts as data.
Adding a codebase is one file here and one entry in ``ADAPTERS``. reid-edge's own checkpoints
(``native``) stand apart: a header states what they are, so they are never recognised by keys.
"""

from __future__ import annotations

from typing import Any

from models.adapters import bag_of_tricks, fast_reid, layumi, microsoft_rga, native, tao, torchreid
from models.adapters.adapter import Adapter, LoadOptions, Plan, State
from runtime.errors import ReidEdgeError

ADAPTERS: tuple[Adapter, ...] = (
    microsoft_rga.ADAPTER,
    bag_of_tricks.ADAPTER,
    torchreid.ADAPTER,
    fast_reid.ADAPTER,
    layumi.ADAPTER,
    tao.ADAPTER,
)

# Recognised only to be refused with a reason: (key prefix, what it is, why not).
REFUSED = (
    ("image_encoder.", "CLIP-ReID", "vision-language encoders are not supported"),
    ("base.cls_token", "TransReID", "vision transformers are not supported"),
    (
        "base.patch_embed.",
        "a transformer of the TransReID kind",
        "vision transformers are not supported",
    ),
    (
        "base.layer0.",
        "an SE-ResNet of reid-strong-baseline",
        "squeeze-and-excite ResNets are not supported",
    ),
    ("local_6_conv_list.", "RRID", "part-relation networks are not supported"),
    ("classifier0.", "a PCB network", "part-based embeddings are not supported"),
    ("b1_head.", "MGN of fast-reid", "multi-branch embeddings are not supported"),
    (
        "backbone.conv1.0.",
        "a ResNeSt of fast-reid",
        "of ResNeSts only reid-edge's own checkpoints are supported",
    ),
    (
        "backbone.patch_embed.",
        "a vision transformer of fast-reid",
        "vision transformers are not supported",
    ),
)


def supported_archs() -> dict[str, tuple[str, ...]]:
    """Architecture names by family: the values of ``--arch``.

    reid-edge's own family has none to choose from: its files state their architecture.
    """
    return {**{adapter.family: adapter.archs for adapter in ADAPTERS}, native.FAMILY: ()}


def recognise(state: State) -> Adapter | None:
    """The adapter whose family the keys and shapes belong to, if any."""
    return next((adapter for adapter in ADAPTERS if adapter.looks_like(state)), None)


def plan_checkpoint(
    state: State, options: LoadOptions, arch: str | None = None, header: Any = None
) -> tuple[str, Plan]:
    """Choose the adapter and let it read the checkpoint.

    Args:
        state: Flat state dict without wrapper prefixes.
        options: The user's choices.
        arch: ``--arch``; restricts the choice to the family that has this architecture.
        header: The header of reid-edge's own checkpoints, ``None`` for all others.

    Returns:
        The family and its plan.

    Raises:
        ReidEdgeError: No adapter knows the keys, or they contradict ``arch``; a broken header.
    """
    if header is not None:
        plan = native.plan(header, state, options)
        if arch not in (None, plan.arch):
            raise ReidEdgeError(
                f"--arch {arch} does not fit: the checkpoint states that it is {plan.arch} "
                f"({native.FAMILY}); leave --arch out or correct it."
            )
        return native.FAMILY, plan
    _refuse_known_others(state)
    if arch is None:
        adapter = recognise(state)
        if adapter is None:
            raise ReidEdgeError(
                f"No supported ReID codebase has these checkpoint keys ({_sample(state)}); "
                f"supported: {', '.join(supported_archs())}; if it is one of these, add --arch."
            )
        return adapter.family, adapter.plan(state, options)

    adapter = next((a for a in ADAPTERS if arch in a.archs), None)
    if adapter is None:
        names = ", ".join(name for archs in supported_archs().values() for name in archs)
        raise ReidEdgeError(f"--arch {arch} is unknown; choose one of {names}.")
    if not adapter.accepts(state):
        other = recognise(state)
        got = (
            f"the keys of {other.plan(state, LoadOptions()).arch} ({other.family})"
            if other
            else f"keys of no known codebase ({_sample(state)})"
        )
        raise ReidEdgeError(
            f"--arch {arch} expects a {adapter.family} checkpoint, but this one has "
            f"{got}; leave --arch out or correct it."
        )
    plan = adapter.plan(state, options)
    if plan.arch != arch:
        raise ReidEdgeError(
            f"--arch {arch} does not fit: the checkpoint's keys and shapes are those "
            f"of {plan.arch} ({adapter.family}); leave --arch out or correct it."
        )
    return adapter.family, plan


def _refuse_known_others(state: State) -> None:
    for prefix, what, why in REFUSED:
        if any(key.startswith(prefix) for key in state):
            raise ReidEdgeError(
                f"This is a checkpoint of {what} (it has {prefix}*): {why}; "
                f"supported: {', '.join(supported_archs())}."
            )


def _sample(state: State) -> str:
    names = list(state)
    return ", ".join(names[:3]) + (f", ... {len(names)} in all" if len(names) > 3 else "")
