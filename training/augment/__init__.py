"""Augmentation of training crops on the CPU: uint8 RGB in, a new uint8 RGB array of its size out."""

from __future__ import annotations

from training.augment.pipeline import Pipeline, item_rng

__all__ = ["Pipeline", "item_rng"]
