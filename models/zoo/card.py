"""The provenance card of trained default weights: what they are, where from, what they are not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
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
        training_data, recipe, limits: Sentences for the reader.
        calibration_table: File name of the stored calibration table beside the card, or ``None``.
        options: Arguments of ``load_network`` that the weights do not show, e.g. ``last_stride``.
    """

    schema: int
    weights: str
    sha256: str
    arch: str
    training_data: str
    recipe: str
    limits: str
    calibration_table: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

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
