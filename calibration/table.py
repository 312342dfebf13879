"""The calibration table: ranges of every quantized tensor, as a versioned JSON file.

Schema version 1, one object with exactly these keys:

    schema_version   1
    network_sha256   SHA-256 of the fp32 ONNX file the ranges were collected from
    method           method asked for: minmax, percentile, entropy, entropy-mlperf or mse
    settings         {"percentile", "min_amax", "dead_amax"}: see ``calibration.methods.choose``
    selection        which crops were used (``Selection.record``), or null
    created          UTC, ISO 8601
    tool_versions    {package: version}
    tensors          {name: {amax, low, high, method, dead, losses, count, histogram_sha256}}
                     with losses {method: {amax, mse, low, high, mse_asymmetric}}

Readers refuse other versions, unknown keys and values out of range.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from calibration.histogram import TensorHistogram
from calibration.methods import (
    DEAD_AMAX,
    DEFAULT_PERCENTILE,
    METHODS,
    MIN_AMAX,
    RangeLoss,
    TensorRange,
    choose,
)
from runtime.errors import ReidEdgeError

SCHEMA_VERSION = 1
_SETTINGS = {"percentile", "min_amax", "dead_amax"}


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of a network's tensors and how they came about; fields as in the file."""

    network_sha256: str
    method: str
    settings: Mapping[str, float]
    selection: Mapping[str, Any] | None
    created: str
    tool_versions: Mapping[str, str]
    tensors: Mapping[str, TensorRange]

    @classmethod
    def from_histograms(
        cls,
        histograms: Iterable[TensorHistogram],
        method: str,
        network_sha256: str,
        selection: Mapping[str, Any] | None = None,
        *,
        percentile: float = DEFAULT_PERCENTILE,
        min_amax: float = MIN_AMAX,
        dead_amax: float = DEAD_AMAX,
    ) -> CalibrationTable:
        """Choose every tensor's range with one method; the arguments are those of ``choose``.

        Raises:
            ReidEdgeError: As ``choose``.
        """
        settings = {"percentile": percentile, "min_amax": min_amax, "dead_amax": dead_amax}
        return cls(
            network_sha256=network_sha256,
            method=method,
            settings=settings,
            selection=selection,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            tool_versions={
                "numpy": np.__version__,
                "onnxruntime": onnxruntime.__version__,
                "opencv": cv2.__version__,
            },
            tensors={h.name: choose(h, method, **settings) for h in histograms},
        )

    @property
    def scales(self) -> dict[str, float]:
        """Tensor name to symmetric int8 scale, ``amax / 127``."""
        return {name: tensor.amax / 127.0 for name, tensor in self.tensors.items()}

    @property
    def dead(self) -> list[str]:
        """Names of the tensors that were zero in every crop."""
        return [name for name, tensor in self.tensors.items() if tensor.dead]

    def with_method(self, method: str) -> CalibrationTable:
        """The table another method gives, without collecting again."""
        tensors = {name: tensor.with_method(method) for name, tensor in self.tensors.items()}
        return replace(self, method=method, tensors=tensors)

    def to_json(self) -> str:
        """The file's text: indented, keys in the order above, newline at the end."""
        data = {"schema_version": SCHEMA_VERSION, **_plain(self)}
        return json.dumps(data, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CalibrationTable:
        """Read and check a table.

        Raises:
            ReidEdgeError: Not JSON, another schema version, or a missing, unknown or bad entry.
        """
        try:
            data = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ReidEdgeError(f"The calibration table is not valid JSON: {error}.") from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ReidEdgeError(
                f"The calibration table has schema version {version!r}, this program reads "
                f"{SCHEMA_VERSION}; update the program or calibrate again."
            )
        _check_keys(data, {f.name for f in fields(cls)} | {"schema_version"}, "table")
        return cls(
            network_sha256=_sha256(data["network_sha256"], "network_sha256"),
            method=_method(data["method"], "method"),
            settings=_settings(data["settings"]),
            selection=_selection(data["selection"]),
            created=_created(data["created"]),
            tool_versions=_tool_versions(data["tool_versions"]),
            tensors=_tensors(data["tensors"]),
        )

    def save(self, path: str | Path) -> None:
        """Write the file whole or not at all.

        Raises:
            ReidEdgeError: The folder is missing, not writable, or full.
        """
        path = Path(path)
        partial = None
        try:
            with tempfile.NamedTemporaryFile(
                "w",
                encoding="utf-8",
                dir=path.parent,
                prefix=path.name + ".",
                suffix=".tmp",
                delete=False,
            ) as file:
                partial = file.name
                file.write(self.to_json())
            os.chmod(partial, 0o644)  # temporary files are private, a bundle is not
            os.replace(partial, path)
            partial = None
        except OSError as error:
            raise ReidEdgeError(
                f"Cannot write the calibration table {path}: {error.strerror or error}."
            ) from None
        finally:
            if partial is not None:
                os.unlink(partial)

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a file; raises ReidEdgeError as ``from_json``, or when it cannot be read."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ReidEdgeError(
                f"Cannot read the calibration table {path}: {error.strerror or error}."
            ) from None
        except UnicodeDecodeError:
            raise ReidEdgeError(f"The calibration table {path} is not UTF-8 text.") from None
        return cls.from_json(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _plain(table: CalibrationTable) -> dict[str, Any]:
    plain = {f.name: getattr(table, f.name) for f in fields(table)}
    plain["tensors"] = {name: asdict(tensor) for name, tensor in table.tensors.items()}
    return plain


def _bad(what: str, expected: str, got: object) -> ReidEdgeError:
    return ReidEdgeError(
        f"The calibration table's {what} must be {expected}, got {got!r}; calibrate again."
    )


def _check_keys(data: object, keys: set[str], what: str) -> None:
    if not isinstance(data, dict):
        raise _bad(what, "an object", data)
    unknown, missing = sorted(set(data) - keys), sorted(keys - set(data))
    if unknown or missing:
        raise ReidEdgeError(
            f"The calibration table's {what} has unknown keys {unknown} and lacks keys {missing}; "
            "calibrate again with this version."
        )


def _number(value: object, what: str, *, positive: bool = False) -> float:
    expected = "a positive number" if positive else "a finite number"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _bad(what, expected, value)
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        raise _bad(what, expected, value) from None
    if not math.isfinite(number) or (positive and number <= 0):
        raise _bad(what, expected, value)
    return number


def _sha256(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise _bad(what, "64 lower-case hexadecimal digits", value)
    return value


def _method(value: object, what: str) -> str:
    if value not in METHODS:
        raise _bad(what, f"one of {', '.join(METHODS)}", value)
    return str(value)


def _settings(data: object) -> dict[str, float]:
    _check_keys(data, _SETTINGS, "settings")
    assert isinstance(data, dict)
    return {key: _number(value, f"settings.{key}", positive=True) for key, value in data.items()}


def _selection(data: object) -> dict[str, Any] | None:
    if data is not None and not isinstance(data, dict):
        raise _bad("selection", "an object or null", data)
    return data


def _created(value: object) -> str:
    try:
        datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _bad("created", "an ISO 8601 time", value) from None
    return str(value)


def _tool_versions(data: object) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise _bad("tool_versions", "an object of texts", data)
    return data


def _tensors(data: object) -> dict[str, TensorRange]:
    if not isinstance(data, dict) or not data:
        raise _bad("tensors", "an object with at least one tensor", data)
    return {name: _tensor(entry, f"tensor {name!r}") for name, entry in data.items()}


def _tensor(data: Any, what: str) -> TensorRange:
    _check_keys(data, {f.name for f in fields(TensorRange)}, what)
    if not isinstance(data["dead"], bool):
        raise _bad(f"{what} dead", "true or false", data["dead"])
    count = data["count"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise _bad(f"{what} count", "a positive integer", count)
    _check_keys(data["losses"], set(METHODS), f"{what} losses")
    losses = {m: _loss(data["losses"][m], f"{what} losses.{m}") for m in METHODS}
    amax, low, high = _range(data, what)
    return TensorRange(
        amax,
        low,
        high,
        _method(data["method"], f"{what} method"),
        data["dead"],
        losses,
        count,
        _sha256(data["histogram_sha256"], f"{what} histogram_sha256"),
    )


def _loss(data: Any, what: str) -> RangeLoss:
    _check_keys(data, {f.name for f in fields(RangeLoss)}, what)
    amax, low, high = _range(data, what)
    mse = _number(data["mse"], f"{what} mse")
    mse_asymmetric = _number(data["mse_asymmetric"], f"{what} mse_asymmetric")
    return RangeLoss(amax, mse, low, high, mse_asymmetric)


def _range(data: Mapping[str, object], what: str) -> tuple[float, float, float]:
    amax = _number(data["amax"], f"{what} amax", positive=True)
    low, high = _number(data["low"], f"{what} low"), _number(data["high"], f"{what} high")
    if not low <= 0.0 <= high or low == high:
        raise _bad(f"{what} low and high", "a range around zero", [low, high])
    return amax, low, high
