"""Parameters of a latency model: positive numbers with a meaning, a first guess and its spread."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Sequence

import numpy as np


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        name: Of the parameter, with its unit.
        guess: What physics or a data sheet says, before any figure is seen.
        spread: How far the guess may be off: standard deviation of the natural logarithm.
        meaning: In one sentence, with the reason for the guess.
    """

    name: str
    guess: float
    spread: float
    meaning: str


def guesses(parameters: Sequence[Parameter]) -> Dict[str, float]:
    """Name to first guess."""
    return {parameter.name: parameter.guess for parameter in parameters}


def to_log(parameters: Sequence[Parameter], values: Mapping[str, float]) -> np.ndarray:
    """Logarithms of ``values`` in the order of ``parameters``."""
    return np.log([values[parameter.name] for parameter in parameters])


def from_log(parameters: Sequence[Parameter], logs: np.ndarray) -> Dict[str, float]:
    """The inverse of ``to_log``."""
    return {parameter.name: float(np.exp(log)) for parameter, log in zip(parameters, logs)}
