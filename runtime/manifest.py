"""The manifest: everything a bundle says about itself, versioned and checked on reading."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, List, Optional

from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError

SCHEMA_VERSION = 1
TARGETS = ("xavier", "cpu", "x3")
PRECISIONS = ("fp32", "fp16", "int8")

# A role names what a file is for, so readers never guess from file names; one file per role, but
# for those in MANY.
ROLES = (
    "model.fp32",
    "model.fp16",
    "model.int8",
    "model.bin",
    "calibration.table",
    "calibration.cache",
    "golden",
    "report",
    "report.html",
    "x3.config",
    "x3.build",
    "x3.operators",
    "x3.calibration",
    "x3.log",
)
MANY = ("x3.calibration", "x3.log")  # roles that several files may have
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """Contents of ``manifest.json``, schema version 1.

    Attributes:
        name: Name of the bundle, for people.
        target: ``"xavier"``, ``"cpu"`` or ``"x3"``.
        precision: Precision the bundle was exported for: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        network: ``family``, ``arch``, ``trained`` (bool), ``source`` (file name or null),
            ``source_sha256``, ``notes`` (list of sentences the user must see).
        input, embedding: The contracts, as data.
        batch: ``min``, ``opt``, ``max`` batch sizes for the optimisation profile.
        files: relative name -> ``{"role", "sha256", "size_bytes"}``.
        created_utc: ISO 8601 time of export.
        calibration: How the ranges were found, or None when nothing was calibrated.
        parity: Stage -> cosine and error figures of the export's own checks.
        accuracy: Precision -> metrics on the evaluation set, or None when none was given.
        kept_float: Names of layers that ``--precision auto`` left out of INT8.
        tools: Versions of what made the bundle.
    """

    name: str
    target: str
    precision: str
    network: Dict[str, Any]
    input: InputContract
    embedding: EmbeddingContract
    batch: Dict[str, int]
    files: Dict[str, Dict[str, Any]]
    created_utc: str
    calibration: Optional[Dict[str, Any]] = None
    parity: Dict[str, Any] = field(default_factory=dict)
    accuracy: Optional[Dict[str, Any]] = None
    kept_float: List[str] = field(default_factory=list)
    tools: Dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return (
            json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=2, sort_keys=True)
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parse and check a manifest.

        Raises:
            ReidEdgeError: Not JSON, a newer schema, unknown or missing keys, a value out of range.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ReidEdgeError(
                "manifest.json is not valid JSON (%s); export the bundle again." % error
            ) from None
        if not isinstance(data, dict):
            raise ReidEdgeError(
                "manifest.json must hold a JSON object, got %s." % type(data).__name__
            )
        version = data.pop("schema_version", None)
        if type(version) is not int or version < 1:
            raise ReidEdgeError(
                "manifest.json has no schema_version; this is not a reid-edge bundle."
            )
        if version > SCHEMA_VERSION:
            raise ReidEdgeError(
                "This bundle has schema version %d but this reid-edge reads up to %d; "
                "update reid-edge on this machine." % (version, SCHEMA_VERSION)
            )
        known = {f.name for f in fields(cls)}
        unknown, missing = sorted(set(data) - known), sorted(known - set(data))
        if unknown or missing:
            raise ReidEdgeError(
                "manifest.json has unknown keys %s and lacks keys %s; export the bundle again."
                % (unknown, missing)
            )
        data["input"] = InputContract.from_dict(data["input"])
        data["embedding"] = EmbeddingContract.from_dict(data["embedding"])
        manifest = cls(**data)
        manifest.validate()
        return manifest

    def validate(self) -> None:
        """Raise ReidEdgeError for the first value that is out of range."""
        if self.target not in TARGETS:
            raise ReidEdgeError(
                "Bundle target must be one of %s, got %r." % (", ".join(TARGETS), self.target)
            )
        if self.precision not in PRECISIONS:
            raise ReidEdgeError(
                "Bundle precision must be one of %s, got %r."
                % (", ".join(PRECISIONS), self.precision)
            )
        if not isinstance(self.network, dict) or not {"family", "arch", "trained"} <= set(
            self.network
        ):
            raise ReidEdgeError(
                "The manifest's network must name family, arch and trained, got %r."
                % (self.network,)
            )
        check_batch(self.batch)
        if not isinstance(self.files, dict):
            raise ReidEdgeError(
                "The manifest's files must be an object, got %s." % type(self.files).__name__
            )
        roles = []
        for name, entry in self.files.items():
            _check_file(name, entry)
            roles.append(entry["role"])
        twice = sorted({role for role in roles if roles.count(role) > 1} - set(MANY))
        if twice:
            raise ReidEdgeError(
                "The manifest gives two files for %s; export the bundle again." % ", ".join(twice)
            )


def check_batch(batch: Dict[str, int]) -> None:
    """Raise ReidEdgeError unless ``batch`` is {"min","opt","max"} with 1 <= min <= opt <= max."""
    if not isinstance(batch, dict) or set(batch) != {"min", "opt", "max"}:
        raise ReidEdgeError("Batch must have min, opt and max, got %r." % (batch,))
    if (
        not all(type(v) is int for v in batch.values())
        or not 1 <= batch["min"] <= batch["opt"] <= batch["max"]
    ):
        raise ReidEdgeError(
            "Batch must be whole numbers with 1 <= min <= opt <= max, got %r." % (batch,)
        )


def _check_file(name, entry):
    # A manifest is input: a name must not lead out of the bundle.
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts or "" in parts:
        raise ReidEdgeError("The manifest names a file outside the bundle: %r." % name)
    if not isinstance(entry, dict) or set(entry) != {"role", "sha256", "size_bytes"}:
        raise ReidEdgeError(
            "The manifest's entry for %s must have role, sha256 and size_bytes." % name
        )
    if entry["role"] not in ROLES:
        raise ReidEdgeError("The manifest gives %s the unknown role %r." % (name, entry["role"]))
    if not isinstance(entry["sha256"], str) or not _SHA256.fullmatch(entry["sha256"]):
        raise ReidEdgeError("The manifest's sha256 of %s is not 64 hexadecimal digits." % name)
    if type(entry["size_bytes"]) is not int or entry["size_bytes"] < 0:
        raise ReidEdgeError("The manifest's size of %s is not a whole number." % name)
