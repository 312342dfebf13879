"""The sampler that a recipe asks for, on the images there are."""

from __future__ import annotations

from runtime.errors import ReidEdgeError
from training.data import TrainingSet
from training.distributed import Processes
from training.recipe import Recipe
from training.sampler import PKSampler, UniformSampler
from training.settings import Sampler


def build_sampler(
    recipe: Recipe, found: TrainingSet, processes: Processes, views_given: bool = False
) -> PKSampler | UniformSampler:
    """What makes up each batch.

    Args:
        recipe: Its sampler section, and its seed.
        found: The training set.
        processes: This process among all.
        views_given: Whether the user named a file of view labels, which something must then read.

    Raises:
        ReidEdgeError: The set is too small for one batch, or view labels are missing or unread.
    """
    settings = recipe.sampler
    place = {"rank": processes.rank, "world_size": processes.world_size}
    _check_enough(settings, found, processes.world_size)
    if views_given and settings.rear_weight == 1.0:
        raise ReidEdgeError(
            "--views gives view labels, but only sampler.rear_weight reads them and it is 1; pass "
            "for example --set sampler.rear_weight=2, or leave --views out."
        )
    if settings.kind == "uniform":
        return UniformSampler(len(found.crops), settings.batch, recipe.seed, **place)
    weights = None
    if settings.rear_weight != 1.0:
        if not any(crop.view for crop in found.crops):
            raise ReidEdgeError(
                f"sampler.rear_weight is {settings.rear_weight}, but no image of {found.name} is "
                "labelled with a view; pass --views FILE.csv or set it to 1."
            )
        weights = [settings.rear_weight if c.view == "rear" else 1.0 for c in found.crops]
    return PKSampler(
        [crop.person for crop in found.crops],
        persons=settings.persons,
        images=settings.images,
        seed=recipe.seed,
        weights=weights,
        **place,
    )


def smaller_batch(settings: Sampler) -> str:
    """The options that halve the batch."""
    if settings.kind == "uniform":
        return f"--set sampler.batch={max(settings.batch // 2, 1)}"
    return f"--set sampler.persons={max(settings.persons // 2, 2)}"


def _check_enough(settings: Sampler, found: TrainingSet, world_size: int) -> None:
    """Refuse a set too small for one batch, with the option that makes the batch fit."""
    images, people = len(found.crops), found.identities
    if settings.kind == "uniform" and images < settings.batch * world_size:
        raise ReidEdgeError(
            f"A batch of {settings.batch} images on {world_size} process(es) needs at least "
            f"{settings.batch * world_size} training images, got {images}; "
            + _fitting("sampler.batch", images // world_size, 1)
        )
    if settings.kind == "pk" and 1 < people < settings.persons * world_size:
        raise ReidEdgeError(
            f"A batch of {settings.persons} persons on {world_size} process(es) needs "
            f"{settings.persons * world_size} identities, but the training set has {people}; "
            + _fitting("sampler.persons", people // world_size, 2)
        )


def _fitting(field: str, largest: int, smallest: int) -> str:
    if largest < smallest:
        return "use fewer processes or a larger set."
    return f"pass --set {field}={largest} (or less), or give a larger set."
