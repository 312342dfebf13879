"""The provenance card of trained default weights: what they are, where from, what they are not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from runtime.errors import ReidEdgeError

FILE = "default.json"
SCHEMA = 1


@dataclass(frozen=True)
class ProvenanceCard:
    """Contents of ``default.json``.

    Attributes:
        schema: Version of this format, 1.
        weights: File name of the checkpoint, beside the card.
        sha256: Its hash, hex.
        arch: Its architecture, as ``--arch`` names it.
        training_data: What it was trained on, and the terms that come with that data.
        recipe: How, e.g. as a command.
        seed: Of the training.
        hours: Time spent training, on the machine that ``recipe`` names.
        accuracy: What was measured: ``set`` (a sentence), and per precision ``mAP`` and ``rank1``
            in percent.
        intended_use, limits: What it is for, and what it cannot do.
        calibration_table: File name of the stored calibration table beside the card, or ``None``.
        options: Arguments of ``load_network`` that the weights do not show, e.g. ``last_stride``.
    """

    schema: int
    weights: str
    sha256: str
    arch: str
    training_data: str
    recipe: str
    seed: int
    hours: float
    accuracy: dict[str, Any]
    intended_use: str
    limits: str
    calibration_table: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``default.json``."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        part = folder / f".{FILE}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / FILE)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of the network should read."""
        measured = ", ".join(
            f"{precision} mAP {figures['mAP']:.1f} Rank-1 {figures['rank1']:.1f}"
            for precision, figures in self.accuracy.items()
            if isinstance(figures, dict)
        )
        return (
            f"trained on {self.training_data}",
            f"recipe: {self.recipe} (seed {self.seed}, {self.hours:g} h)",
            f"measured on {self.accuracy['set']}: {measured}",
            f"intended use: {self.intended_use}",
            f"limits: {self.limits}",
        )

    @classmethod
    def read(cls, folder: Path) -> ProvenanceCard | None:
        """The card in ``folder``, or ``None`` where there is no ``default.json``.

        Raises:
            ReidEdgeError: Not JSON, of another schema, or with missing or unknown entries.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReidEdgeError(f"{path} is not valid JSON ({error}); restore it.") from None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ReidEdgeError(
                f"{path} must be a JSON object of schema {SCHEMA}, got {found!r}; update "
                "reid-edge or restore the card."
            )
        known = {f.name for f in fields(cls)}
        missing = known - set(data) - {"calibration_table", "options"}
        unknown = set(data) - known
        if missing or unknown:
            raise ReidEdgeError(
                f"{path} lacks {sorted(missing)} and has unknown entries "
                f"{sorted(unknown)}; restore the card."
            )
        for name in ("weights", "calibration_table"):
            value = data.get(name)
            if value is not None and (not isinstance(value, str) or Path(value).name != value):
                raise ReidEdgeError(
                    f"{path} must name a file in its own folder as {name}, got {value!r}."
                )
        return cls(**data)
