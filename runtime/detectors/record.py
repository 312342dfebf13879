"""detector.json: what a detector compiled for an X3 is, and what it must be fed with.

``reid-export --target x3 --detector`` writes it beside what the vendor's compiler reads. The compiled
model holds the normalisation of the recorded kind, so the record decides how frames are prepared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from runtime.bundle import file_sha256
from runtime.contract import InputContract
from runtime.detectors.kinds import KINDS, Kind
from runtime.errors import ReidEdgeError

NAME = "detector.json"
SCHEMA = 1
RESULTS = "model_output"  # folder below the record in which build.sh leaves the compiled model
# What a compiled detector may be fed with -> Runner.input_kind.
BOARD_INPUTS = {"nv12": "nv12", "featuremap": "float"}

_KEYS = {
    "schema", "detector", "sha256", "kind", "input", "board_input", "letterbox", "calibration_data",
    "operators",
}  # fmt: skip
# All but "outputs" is for whoever reads the file.
_OPTIONAL = {"outputs", "predicted_latency", "rewrites", "simulation", "toolchain"}


class OutputRecord(NamedTuple):
    """An output of the ONNX model: its name and shape."""

    name: str
    shape: Tuple[int, ...]


@dataclass(frozen=True)
class DetectorRecord:
    """What ``detector.json`` says.

    Attributes:
        path: The file.
        model: Name of the detector's ONNX file, without suffix; the compiled model has it too.
        kind: Of which kind the network is.
        size: (height, width) of its input.
        input_kind: As Runner.input_kind.
        outputs: The ONNX model's outputs in their order; None in a record that does not name them.
    """

    path: Path
    model: str
    kind: Kind
    size: Tuple[int, int]
    input_kind: str
    outputs: Optional[List[OutputRecord]]


def find_model(given: Path) -> Tuple[Path, DetectorRecord]:
    """The compiled model and the record of what a user names.

    Args:
        given: The folder of an export, or the compiled model. The record lies beside the model or,
            as build.sh leaves it, one folder above.

    Returns:
        (path of the .bin file, record).

    Raises:
        ReidEdgeError: No record, a broken or changed one, or no compiled model.
    """
    if given.is_dir():
        record = read_record(given / NAME)
        name = record.model + ".bin"
        found = [path for path in (given / name, given / RESULTS / name) if path.is_file()]
        if len(found) != 1:
            raise ReidEdgeError(
                "Expected one compiled model %s in %s or its %s, got %s; run the folder's build.sh in "
                "the vendor's container and copy the result here."
                % (name, given, RESULTS, "two" if found else "none")
            )
        return found[0], record
    if not given.is_file():
        raise ReidEdgeError("Detector %s is not a file; check the path." % given)
    folders = [given.parent] + ([given.parent.parent] if given.parent.name == RESULTS else [])
    records = [folder / NAME for folder in folders if (folder / NAME).is_file()]
    if not records:
        raise ReidEdgeError(
            "Expected %s beside %s, got none; copy it from the folder that reid-export --target x3 "
            "--detector made." % (NAME, given)
        )
    record = read_record(records[0])
    if given.stem != record.model:
        raise ReidEdgeError(
            "%s is of a model %s, got %s; give every detector a folder of its own."
            % (record.path, record.model, given.name)
        )
    return given, record


def read_record(path: Path) -> DetectorRecord:
    """Read a ``detector.json`` and hold it against what this version does.

    Raises:
        ReidEdgeError: Missing, not a record of this schema, or one that does not agree with this
            version's preparation of frames or with the ONNX file beside it.
    """
    data = _load(path)
    name, kind = data["kind"], KINDS.get(str(data["kind"]))
    if kind is None:
        raise _changed(path, "kind must be one of %s, got %r" % (", ".join(KINDS), name))
    input_kind = BOARD_INPUTS.get(str(data["board_input"]))
    if input_kind is None:
        raise ReidEdgeError(
            "%s is of a detector fed with %s, but reid-edge feeds %s; export it again with "
            "--board-input nv12." % (path, data["board_input"], " or ".join(BOARD_INPUTS))
        )
    try:
        contract = InputContract.from_dict(data["input"])
    except ReidEdgeError as error:
        raise _changed(path, str(error).rstrip(".")) from None
    size = (contract.height, contract.width)
    how = kind.preparation
    letterbox = {"fit": how.fit, "rounding": how.rounding, "pad_value": how.pad_value}
    if contract != how.contract(size) or data["letterbox"] != letterbox:
        raise _changed(path, "its input is not prepared as that of a %s detector" % kind.name)
    model = path.with_name(Path(str(data["detector"])).stem + ".onnx")
    if model.is_file() and file_sha256(model) != data["sha256"]:
        raise _changed(path, "its sha256 is not that of %s beside it" % model.name)
    outputs = _outputs(data["outputs"], path) if "outputs" in data else None
    return DetectorRecord(path, model.stem, kind, size, input_kind, outputs)


def _load(path: Path) -> Dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReidEdgeError(
            "%s holds no %s, so it is no detector; give an ONNX file, a plan of reid-build, or a "
            "folder that reid-export --target x3 --detector made." % (path.parent, path.name)
        ) from None
    except OSError as error:
        raise ReidEdgeError("Cannot read %s: %s." % (path, error.strerror or error)) from None
    except ValueError:
        raise _changed(path, "it is not JSON") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise _changed(path, "its schema must be %d, got %r" % (SCHEMA, got))
    unknown, missing = sorted(set(data) - _KEYS - _OPTIONAL), sorted(_KEYS - set(data))
    if unknown or missing:
        raise _changed(path, "it has unknown keys %s and lacks keys %s" % (unknown, missing))
    return data


def _outputs(entries: Any, path: Path) -> List[OutputRecord]:
    outputs = []
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or set(entry) != {"name", "shape"}:
            raise _changed(path, "outputs must be a list of names with shapes")
        name, shape = entry["name"], entry["shape"]
        whole = isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
        if not isinstance(name, str) or not whole:
            raise _changed(path, "an output needs a name and a shape of whole numbers")
        outputs.append(OutputRecord(name, tuple(shape)))
    return outputs


def _changed(path, what):
    return ReidEdgeError(
        "%s was changed or is of another version: %s; export the detector again." % (path, what)
    )
