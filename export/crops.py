"""The crops an export works with: some to learn ranges from, others to judge every choice on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.jitter import Jitter, jitter_crops
from calibration.layouts import training_crops
from calibration.selection import Selection, select_crops
from models.zoo import demo_crops
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image

HELD_OUT = 64  # crops that nothing is learned from
_DEMO_IDENTITIES, _DEMO_EACH = 24, 8
_BATCH = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crops:
    """Network inputs, (N, 3, H, W) float32.

    Attributes:
        calibration: For ranges and tuning.
        held_out: For parity and for every choice between candidates; disjoint from the former.
        images: Both as (H, W, 3) uint8 BGR crops, held-out ones first.
        record: Where they come from, JSON-able.
    """

    calibration: np.ndarray
    held_out: np.ndarray
    images: list[np.ndarray]
    record: dict[str, Any]


def load_crops(
    folder: str | Path,
    contract: InputContract,
    run: Callable[[np.ndarray], np.ndarray],
    *,
    count: int,
    select: str,
    jitter: bool,
    seed: int,
    progress: Callable[[str, int], Any],
) -> Crops:
    """Choose crops of a data set's training split and preprocess them.

    Args:
        folder: Any folder ``calibration.layouts.training_crops`` understands.
        contract: The network's input contract.
        run: The float network, for selection by coverage.
        count: Calibration crops wanted; HELD_OUT more are taken for judging.
        select: One of ``calibration.selection.SELECTIONS``.
        jitter: Also shift and scale the calibration crops as a detector would.
        seed: Seed of selection and jitter.
        progress: Makes a progress bar.

    Raises:
        ReidEdgeError: As the functions named above, or there are too few crops.
    """
    found, layout = training_crops(folder)
    root = Path(folder)
    selection = select_crops(
        found,
        count + HELD_OUT,
        root=root,
        method=select,
        seed=seed,
        embed=lambda images: run(preprocess(images, contract)),
    )
    _report(selection, layout)
    if len(selection.crops) < 4:
        raise ReidEdgeError(
            "Only %d usable crop in %s; calibration needs at least 4, and about %d for good ranges."
            % (len(selection.crops), folder, count)
        )
    # Shuffled, because selection by coverage picks the extremes first.
    order = np.random.default_rng(seed).permutation(len(selection.crops))
    held = max(2, min(HELD_OUT, len(order) // 4))
    chosen = [selection.crops[i] for i in order]
    bar = progress("reading crops", len(chosen))
    inputs = np.empty((len(chosen), *contract.shape), np.float32)
    kept: list[np.ndarray] = []
    for start in range(0, len(chosen), _BATCH):
        images = [read_image(c.path) for c in chosen[start : start + _BATCH]]
        if jitter:
            images = jitter_crops(images, Jitter(), seed, start)
        inputs[start : start + len(images)] = preprocess(images, contract)
        kept += images
        bar.update(len(images))
    bar.close()
    record = {"layout": layout, "jitter": jitter, "held_out": held, **selection.record()}
    return Crops(inputs[held:], inputs[:held], kept, record)


def drawn_crops(contract: InputContract, seed: int) -> Crops:
    """Crops drawn by the program, for when there is no data: enough to exercise every step."""
    images = [image for image, _, _ in demo_crops(_DEMO_IDENTITIES, _DEMO_EACH, seed)]
    order = np.random.default_rng(seed).permutation(len(images))
    images = [images[i] for i in order]
    inputs = preprocess(images, contract)
    record = {
        "layout": "drawn",
        "jitter": False,
        "held_out": HELD_OUT,
        "seed": seed,
        "chosen": len(inputs),
    }
    return Crops(inputs[HELD_OUT:], inputs[:HELD_OUT], images, record)


def _report(selection: Selection, layout: str) -> None:
    if selection.unreadable:
        shown = ", ".join(selection.unreadable[:3])
        _log.warning("%d unreadable images were skipped (%s ...)", len(selection.unreadable), shown)
    if len(selection.crops) < selection.requested:
        _log.warning(
            "%d crops were wanted but %d are usable", selection.requested, len(selection.crops)
        )
    _log.info("chose %d of %d crops (%s layout)", len(selection.crops), selection.found, layout)
