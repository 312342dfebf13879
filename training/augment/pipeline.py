"""The pipeline: augmentations in order, and the random numbers an image gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from runtime.errors import ReidEdgeError
from training.augment.colour import ColourJitter
from training.augment.erase import CropSource, Cutout, RandomErasing, RandomPatch
from training.augment.geometry import DetectorJitter, Flip, PadCrop, mirror
from training.augment.policy import AutoPolicy


class Step(Protocol):
    """One augmentation: frozen parameters, and all randomness from the generator it is handed."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 RGB to a new array of the same shape; the input stays as it is."""
        ...


# Recipe section -> step, in the order of application.
STEPS: dict[str, Any] = {
    "flip": Flip,
    "detector_jitter": DetectorJitter,
    "pad_crop": PadCrop,
    "patch": RandomPatch,
    "policy": AutoPolicy,
    "colour_jitter": ColourJitter,
    "erasing": RandomErasing,
    "cutout": Cutout,
}

_ITEM_STREAM = 1  # keeps images' random numbers apart from those other parts draw for the same seed


class Pipeline:
    """Augmentations applied one after the other; the flip comes first and is reported.

    Args:
        steps: In order of application. A ``Flip`` may only be the first.

    Raises:
        ReidEdgeError: A ``Flip`` that is not the first step.
    """

    def __init__(self, steps: Sequence[Step] = ()):
        if any(isinstance(step, Flip) for step in steps[1:]):
            raise ReidEdgeError("A pipeline takes one Flip, as its first step; reorder the steps.")
        self.steps = tuple(steps)

    @classmethod
    def build(
        cls, settings: Mapping[str, Mapping[str, Any]], source: CropSource | None = None
    ) -> Pipeline:
        """Make a pipeline from a recipe's sections.

        The order is fixed, whatever the order of the sections:

        =================== ================ =====================================================
        section             step             why here
        =================== ================ =====================================================
        ``flip``            Flip             first, so that the caller can be told
        ``detector_jitter`` DetectorJitter   the box is drawn before anything happens to its pixels
        ``pad_crop``        PadCrop          the shift of the boxed person
        ``patch``           RandomPatch      hides the person, and is lit and filmed as it is
        ``policy``          AutoPolicy       the camera
        ``colour_jitter``   ColourJitter     the camera
        ``erasing``         RandomErasing    last, so that its colour stays as asked
        ``cutout``          Cutout           last, so that its colour stays as asked
        =================== ================ =====================================================

        Args:
            settings: Section to the step's fields; an empty section takes the defaults. Lists, as
                YAML has them, stand for tuples.
            source: Other training crops, for ``patch``.

        Raises:
            ReidEdgeError: An unknown section or field, a value out of range, or ``patch`` without
                a source.
        """
        unknown = sorted(set(settings) - set(STEPS))
        if unknown:
            raise ReidEdgeError(
                f"Unknown augmentation {', '.join(unknown)}; choose from {', '.join(STEPS)}."
            )
        return cls([_step(name, settings[name], source) for name in STEPS if name in settings])

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Augment one image.

        Args:
            image: (H, W, 3) uint8 RGB of network-input size; not changed.
            rng: All randomness is drawn from it, see ``item_rng``.

        Returns:
            A new C-contiguous array of the same shape, and whether the image was mirrored.

        Raises:
            ReidEdgeError: The image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ReidEdgeError(
                "Augmentation takes a non-empty (H, W, 3) uint8 image, "
                f"got shape {image.shape} dtype {image.dtype}."
            )
        augmented, flipped = image, False
        for step in self.steps:
            if isinstance(step, Flip):
                flipped = step.decide(rng)
                augmented = mirror(augmented) if flipped else augmented
            else:
                augmented = step.apply(augmented, rng)
        return (image.copy() if augmented is image else augmented), flipped


def item_rng(seed: int, epoch: int, position: int) -> np.random.Generator:
    """The random numbers of one image of one epoch, whoever prepares it and in whatever order.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        position: Number of the image within the epoch, from 0, counted over all ranks. An image
            drawn twice in an epoch has two positions and looks different each time.

    Raises:
        ValueError: A negative number.
    """
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(_ITEM_STREAM, epoch, position))
    )


def _step(name: str, values: Any, source: CropSource | None) -> Step:
    """One step from its section."""
    step = STEPS[name]
    allowed = [field.name for field in fields(step) if field.name != "source"]
    if not isinstance(values, Mapping):
        raise ReidEdgeError(
            f"Augmentation {name} must be a mapping of its fields, {{}} for the defaults, "
            f"got {values!r}."
        )
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        raise ReidEdgeError(
            f"Augmentation {name} has no field {', '.join(map(str, unknown))}; it takes "
            f"{', '.join(allowed)}."
        )
    given = {field: _frozen(value) for field, value in values.items()}
    if step is RandomPatch:
        if source is None:
            raise ReidEdgeError(
                "Augmentation patch needs other training crops to cut from; give the pipeline a "
                "source or leave patch out."
            )
        given["source"] = source
    return step(**given)


def _frozen(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
