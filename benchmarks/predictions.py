"""Latency on boards that are not at hand, added to the rows of a run: predicted, not measured.

A row is predicted for the boards its bundle was exported for, from the file that would run there.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from benchmarks.results import Predicted
from benchmarks.variants import Variant
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

LEVEL = 0.9  # of the predictor's intervals
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Wish:
    """A board and a power mode to predict for."""

    board: str
    mode: str


def read_wishes(given: Sequence[str]) -> List[Wish]:
    """What ``--predict`` asks for.

    Args:
        given: ``BOARD``, ``BOARD:MODE``, ``BOARD:all`` (every power mode), ``"auto"`` (all boards,
            usual mode) or ``"none"``.

    Raises:
        ReidEdgeError: Unknown board or mode.
    """
    from benchmarks.predictor.boards import board, boards

    wishes: List[Wish] = []
    for text in given:
        if text == NONE:
            return []
        if text == AUTO:
            wishes += [Wish(name, known.default_mode) for name, known in boards().items()]
            continue
        name, _, mode = text.partition(":")
        found = board(name)
        if mode == "all":
            wishes += [Wish(name, known) for known in found.modes]
        else:
            wishes.append(Wish(name, found.mode(mode or None)))
    return list(dict.fromkeys(wishes))


def can_predict() -> bool:
    """Whether ONNX files can be read here; on a board they usually cannot."""
    return find_spec("onnx") is not None


class Predictor:
    """Predicts rows, reading each model file once.

    Args:
        wishes: Boards and modes.
        batches: Crops per inference.
        measured: Latencies of the user's board to refit on, see ``benchmarks.predictor fit -h``.

    Raises:
        ReidEdgeError: ``measured`` cannot be used.
    """

    def __init__(
        self, wishes: Sequence[Wish], batches: Sequence[int], measured: Optional[Path] = None
    ):
        self._wishes, self._batches = list(wishes), list(batches)
        self._costs: Dict[Path, Any] = {}
        self._parameters: Any = None
        if measured is not None:
            from benchmarks.predictor.measured import refit
            from benchmarks.predictor.predict import published_parameters

            self._parameters = refit(measured, published_parameters())[0]

    def rows(self, bundle: Bundle, variant: Variant) -> Tuple[List[Predicted], List[str]]:
        """Predictions for one variant, and sentences on what could not be predicted.

        Raises:
            ReidEdgeError: The model file cannot be read (no onnx, an unknown operator, ...).
        """
        from benchmarks.predictor import cost_of_onnx, predict
        from benchmarks.predictor.boards import board

        if variant.alternative is not None or bundle.manifest.target == "cpu":
            return [], []
        found: List[Predicted] = []
        notes: List[str] = []
        for wish in self._wishes:
            known = board(wish.board)
            if known.model != bundle.manifest.target or variant.precision not in known.precisions:
                continue
            # The X3's toolchain quantizes by itself; what is compiled is the float file.
            quantized = variant.precision == "int8" and known.model == "xavier"
            path = bundle.find("model.int8" if quantized else "model.fp32")
            if path not in self._costs:
                self._costs[path] = cost_of_onnx(path)
            batches = [1] if known.model == "x3" else self._batches
            for batch in batches:
                try:
                    made = predict(
                        self._costs[path], wish.board, variant.precision, batch, wish.mode,
                        parameters=self._of(known.model),
                    )  # fmt: skip
                except ReidEdgeError as error:
                    notes.append(str(error))
                    break
                found.append(
                    Predicted(
                        board=made.board,
                        unit=made.unit,
                        power_mode=made.power_mode,
                        precision=made.precision,
                        batch=made.batch,
                        latency_ms=made.latency_ms,
                        low_ms=made.low_ms,
                        high_ms=made.high_ms,
                        level=LEVEL,
                        terms=dict(made.terms),
                        note=made.note,
                    )
                )
        return found, notes

    def _of(self, model: str) -> Any:
        """The refitted parameters for boards they cover; the published ones for others."""
        covered = self._parameters is not None and model in self._parameters.models
        return self._parameters if covered else None
