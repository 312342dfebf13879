"""Fitted parameters as a file: ``params.json``, and what a user's own fit writes.

Schema version 1, one object:

    schema_version   1
    kind             "reid-edge latency parameters"
    figures_sha256   SHA-256 of the figures (or measurements) they were fitted on
    fitted_on        in words
    host_wait_ms     what waiting for each result adds on a Xavier
    models           {"xavier" | "x3": {"values": {parameter: number}, "log_half_width": number,
                     "figures": count, "families": [name]}}

Readers refuse other kinds and versions, missing or unknown parameters, and values that are not positive.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple

from benchmarks.predictor import x3, xavier
from benchmarks.predictor.parameters import Parameter
from runtime.errors import ReidEdgeError

FILE = Path(__file__).with_name("params.json")
SCHEMA_VERSION = 1
KIND = "reid-edge latency parameters"
PARAMETERS: Mapping[str, Sequence[Parameter]] = {
    "xavier": xavier.PARAMETERS,
    "x3": x3.PARAMETERS,
}


@dataclass(frozen=True)
class ModelFit:
    """Fitted values of one model.

    Attributes:
        values: Parameter to value.
        log_half_width: Half the width of a 90 % interval, as a natural logarithm.
        figures: Figures fitted.
        families: Their families (or networks).
    """

    values: Mapping[str, float]
    log_half_width: float
    figures: int
    families: Tuple[str, ...]


@dataclass(frozen=True)
class Parameters:
    """A parameter file; fields as in the module's docstring."""

    figures_sha256: str
    fitted_on: str
    host_wait_ms: float
    models: Mapping[str, ModelFit]

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            ReidEdgeError: It cannot be written.
        """
        data = {"schema_version": SCHEMA_VERSION, "kind": KIND, **asdict(self)}
        text = json.dumps(data, indent=1, sort_keys=True) + "\n"
        write_whole(path, text)


def load_parameters(path: Path = FILE) -> Parameters:
    """Read a parameter file.

    Raises:
        ReidEdgeError: Not such a file, another version, or a value out of range.
    """
    data = read_object(path, KIND, SCHEMA_VERSION, "refit with `benchmarks.predictor fit`")
    try:
        models = {name: _model(name, path, entry) for name, entry in dict(data["models"]).items()}
        return Parameters(
            str(data["figures_sha256"]),
            str(data["fitted_on"]),
            float(data["host_wait_ms"]),
            models,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReidEdgeError(
            "%s is not a usable parameter file (%s); refit with `benchmarks.predictor fit`."
            % (path, error)
        ) from None


def read_object(path: Path, kind: str, version: int, remedy: str) -> Dict[str, Any]:
    """The JSON object of a versioned file.

    Raises:
        ReidEdgeError: Unreadable, not JSON, another kind or version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReidEdgeError("Cannot read %s: %s." % (path, error)) from None
    found = (data.get("kind"), data.get("schema_version")) if isinstance(data, dict) else None
    if found != (kind, version):
        raise ReidEdgeError(
            "%s must have kind %r and schema_version %d, got %s; %s."
            % (path, kind, version, "%r and %r" % found if found else type(data).__name__, remedy)
        )
    return data


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        ReidEdgeError: It cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix="." + path.name, dir=str(path.parent))
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, str(path))
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise ReidEdgeError("Cannot write %s: %s." % (path, error.strerror or error)) from None


def _model(name: str, path: Path, entry: Mapping[str, Any]) -> ModelFit:
    if name not in PARAMETERS:
        raise ValueError("unknown model %r" % name)
    values = {key: float(value) for key, value in dict(entry["values"]).items()}
    expected = {parameter.name for parameter in PARAMETERS[name]}
    if set(values) != expected:
        raise ValueError("parameters of %s differ: %s" % (name, sorted(set(values) ^ expected)))
    width = float(entry["log_half_width"])
    if not all(math.isfinite(v) and v > 0 for v in [*values.values(), width]):
        raise ValueError("a parameter of %s is not a positive number" % name)
    return ModelFit(values, width, int(entry["figures"]), tuple(map(str, entry["families"])))
