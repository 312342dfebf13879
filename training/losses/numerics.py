"""What keeps the losses finite: enough precision, safe unit vectors, means over what is valid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Computation = TypeVar("Computation", bound=Callable[..., Any])

# Squared length below which a vector has no direction worth keeping.
_ZERO_SQUARED = 1e-24


def upcast(value: Any) -> Any:
    """A half-precision tensor (float16, bfloat16) as float32; anything else as it is."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value


def full_precision(compute: Computation) -> Computation:
    """Decorate a function or method: half-precision arguments become float32, autocast is off.

    A cast alone is not enough: inside autocast a matrix product would round its float32 operands
    to half precision again. The dtype of the result is the widened dtype of the arguments, so
    float64 stays float64.

    Args:
        compute: Takes at least one tensor; all its tensors are on one device.
    """

    @functools.wraps(compute)
    def widened(*args: Any, **kwargs: Any) -> Any:
        device = next(v.device for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        with torch.autocast(device.type, enabled=False):
            return compute(*map(upcast, args), **{k: upcast(v) for k, v in kwargs.items()})

    return cast(Computation, widened)


def unit_rows(x: Tensor) -> Tensor:
    """Vectors divided by their Euclidean norm.

    A vector shorter than 1e-12 is returned as it is, as good as zero: its cosine with everything is
    0 and its gradient stays of ordinary size, where a division by a small floor would blow it up.

    Args:
        x: (..., D) float32 or float64.
    """
    squared = x.square().sum(-1, keepdim=True)
    return x / squared.masked_fill(squared < _ZERO_SQUARED, 1.0).sqrt()


def mean_where(valid: Tensor, values: Tensor) -> Tensor:
    """Mean of the valid values; without any, a zero that is connected to the graph.

    Args:
        valid: (N,) bool.
        values: (N,) float, finite also where invalid.
    """
    return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)
