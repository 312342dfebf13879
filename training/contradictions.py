"""What a recipe must not say: combinations that cannot train, and settings that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

from runtime.errors import ReidEdgeError
from training.augment import Pipeline

if TYPE_CHECKING:
    from training.recipe import Recipe

Reads = Callable[["Recipe"], bool]

# Fields that one choice leaves unread: (fields, who reads them, said of it). A field at its default
# is never refused, because a recipe with every field filled in must be readable again.
READ_BY: tuple[tuple[tuple[str, ...], Reads, str], ...] = (
    (
        ("losses.classification.scale", "losses.classification.margin"),
        lambda r: r.losses.classification.head != "linear",
        "losses.classification.head arcface, cosface or circle",
    ),
    (
        ("losses.distill_features.bank", "losses.distill_features.temperature"),
        lambda r: False,
        "losses.distill_similarity (there it has the same name)",
    ),
    (("optimizer.momentum",), lambda r: r.optimizer.kind == "sgd", "optimizer.kind sgd"),
    (
        ("schedule.milestones", "schedule.gamma"),
        lambda r: r.schedule.kind == "step",
        "schedule.kind step",
    ),
    (("schedule.floor",), lambda r: r.schedule.kind == "cosine", "schedule.kind cosine"),
    (
        ("sampler.persons", "sampler.images", "sampler.rear_weight"),
        lambda r: r.sampler.kind == "pk",
        "sampler.kind pk",
    ),
    (("sampler.batch",), lambda r: r.sampler.kind == "uniform", "sampler.kind uniform"),
    (("keep_start",), lambda r: r.fine_tune, "fine_tune true"),
    (("teacher.mode",), lambda r: r.losses.need_teacher, "a distillation loss"),
)


def check_consistent(recipe: Recipe, where: str) -> None:
    """Refuse what cannot train, and what would be set in vain.

    Args:
        recipe: Its single values are valid.
        where: Named in the error.

    Raises:
        ReidEdgeError: The first contradiction.
    """
    try:
        Pipeline.build(recipe.augment, _no_source)
    except ReidEdgeError as error:
        raise ReidEdgeError(f"{where}: {error}") from None
    for check in (_losses, _schedule, _unread):
        for said in check(recipe):
            raise ReidEdgeError(f"{where}: {said}")


def _no_source(rng):
    raise AssertionError("parameters are checked without drawing")


def _losses(recipe: Recipe) -> Iterator[str]:
    losses, sampler = recipe.losses, recipe.sampler
    parts = [getattr(losses, name) for name in type(losses).model_fields]
    if not any(part.weight > 0 for part in parts):
        yield "there is no loss with a weight above 0; set one."
    for name in ("triplet", "circle"):  # without two images of a person they are always 0
        if getattr(losses, name).weight > 0 and sampler.kind != "pk":
            yield f"the {name} loss needs sampler.kind pk, got uniform."
        if getattr(losses, name).weight > 0 and sampler.images < 2:
            yield f"the {name} loss needs sampler.images of at least 2, got 1."
    if losses.needs_bank and recipe.teacher.mode == "live":
        yield (
            "losses.distill_similarity.bank needs a fixed teacher; set teacher.mode fixed or "
            "bank false."
        )


def _schedule(recipe: Recipe) -> Iterator[str]:
    """A run that ends before its learning rate has risen, or before it falls as it should."""
    schedule = recipe.schedule
    epochs, warmup = schedule.epochs, schedule.warmup_epochs
    steps = schedule.milestones if schedule.kind == "step" else ()
    changes: dict[str, str] = {}
    wrong = []
    if warmup >= epochs:
        wrong.append(f"schedule.warmup_epochs {warmup:g}")
        changes["schedule.warmup_epochs"] = f"{epochs / 10:g}"
    if late := [m for m in steps if m >= epochs]:
        wrong.append(f"schedule.milestones {', '.join(f'{m:g}' for m in late)}")
        # As far into the run as they were meant to be, when the last one stood at its last fifth.
        places = [0.8 * epochs * m / max(steps) for m in steps]
        shown = [f"{place:.0f}" if epochs >= 20 else f"{place:.2g}" for place in places]
        changes["schedule.milestones"] = f"[{','.join(shown)}]"
        if warmup > places[0]:
            changes["schedule.warmup_epochs"] = f"{epochs / 10:g}"
    if wrong:
        given = " ".join(f"--set {name}={value}" for name, value in changes.items())
        yield (
            f"the run ends at schedule.epochs {epochs}, and {' and '.join(wrong)} would come then "
            "or later, so the learning rate would not rise and fall as it should; pass for "
            f"example {given}."
        )
    frozen = schedule.freeze_backbone_epochs
    if frozen > epochs:
        yield (
            f"schedule.freeze_backbone_epochs is {frozen}, but the run ends after schedule.epochs "
            f"{epochs}; set it to at most {epochs}."
        )


def _unread(recipe: Recipe) -> Iterator[str]:
    for names, is_read, reader in READ_BY:
        for name in () if is_read(recipe) else names:
            value, default = _value(recipe, name), _default(recipe, name)
            if value != default:
                shown = list(value) if isinstance(value, tuple) else value
                yield (f"{name} is {shown}, but only {reader} reads it; leave it out or set that.")


def _value(recipe: Recipe, name: str) -> Any:
    return reduce(getattr, name.split("."), recipe)


def _default(recipe: Recipe, name: str) -> Any:
    section, _, field = name.rpartition(".")
    owner = _value(recipe, section) if section else recipe
    return type(owner).model_fields[field].default
