"""The results of a benchmark run, as ``results.json`` holds them; schema version 1.

A run has one row for each bundle, variant of its network and backend. Percentages are 0..100, drops
are percentage points below the fp32 row of the same bundle (positive is worse), times are
milliseconds, sizes of memory are MiB. A value that was not or could not be measured is null, and a
note or warning of the row says why.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from benchmarks.accuracy_record import Accuracy
from benchmarks.json_record import from_plain, to_plain
from runtime.errors import ReidEdgeError

SCHEMA_VERSION = 2
KIND = "reid-edge benchmark"

MEASURED = "measured"  # these numerics are those of the backend the row names
SIMULATED_FP16 = "simulated fp16"  # every tensor rounded to half precision, sums in float
SIMULATED_XAVIER = "simulated xavier"  # TensorRT's Q/DQ graph run by another backend
SIMULATED_X3 = "simulated x3"  # the bundle's model of what hb_mapper makes of the network
SIMULATED_X3_NV12 = "simulated x3 nv12"  # the same, fed with what the board's camera path gives
HOWS = (MEASURED, SIMULATED_FP16, SIMULATED_XAVIER, SIMULATED_X3, SIMULATED_X3_NV12)


@dataclass(frozen=True)
class Machine:
    """Where something was measured.

    Attributes:
        cpu: Model of the CPU; null where the system does not say.
        cpu_flags: Instruction sets that decide whether INT8 and FP16 pay (benchmarks.latency).
        cores, usable_cores: CPU cores of the machine, and those this process may use.
        memory_mb: Main memory.
        governor: CPU frequency governor ("performance", ...); null where there is none.
        max_mhz: Highest CPU clock the governor allows.
        os, arch: Operating system with version; "x86_64", "aarch64", ...
        board: Model of a board, from the device tree; null on a PC.
        l4t: Release of Jetson Linux.
        power_mode: nvpmodel's mode on a Jetson.
        jetson_clocks: Whether the clocks are fixed at their maximum; null where nobody can tell.
        versions: Package or library to version; "python" and "reid-edge" among them.
    """

    cpu: Optional[str]
    cpu_flags: List[str]
    cores: Optional[int]
    usable_cores: Optional[int]
    memory_mb: Optional[float]
    governor: Optional[str]
    max_mhz: Optional[float]
    os: str
    arch: str
    board: Optional[str]
    l4t: Optional[str]
    power_mode: Optional[str]
    jetson_clocks: Optional[bool]
    versions: Dict[str, str]


@dataclass(frozen=True)
class Conditions:
    """What changes while a machine works.

    Attributes:
        cpu_mhz: Mean current clock of the CPU cores.
        gpu_mhz: Clock of a Jetson's GPU; null elsewhere.
        temperatures_c: Thermal zone to degrees Celsius.
        busy_cores: Cores' worth of work that was done while the benchmark itself slept for a moment.
    """

    cpu_mhz: Optional[float]
    gpu_mhz: Optional[float]
    temperatures_c: Dict[str, float]
    busy_cores: Optional[float]


@dataclass(frozen=True)
class BundleRecord:
    """The bundle a row is about.

    Attributes:
        name: For people.
        target: "xavier", "cpu" or "x3".
        family, arch: The source codebase and the architecture.
        trained: Whether these are trained weights.
        trained_on: Data set the weights were trained on, where the manifest says; else null.
        source_sha256: SHA-256 of the checkpoint: bundles of the same network share it.
        height, width: Network input in pixels.
        dim: Length of the embedding.
        sha256: SHA-256 of the manifest, which holds those of all files.
    """

    name: str
    target: str
    family: str
    arch: str
    trained: bool
    trained_on: Optional[str]
    source_sha256: Optional[str]
    height: int
    width: int
    dim: int
    sha256: str


@dataclass(frozen=True)
class Percentiles:
    """A distribution of times in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    n: int


@dataclass(frozen=True)
class Latency:
    """Times of one batch size and number of threads, measured interleaved with all other rows.

    Attributes:
        batch: Crops per call.
        threads: CPU threads of the network; null where the backend does not run on the CPU.
        network: The network alone: prepared input to embeddings, host to host.
        preprocess: Crops to prepared input.
        end_to_end: Crops to L2-normalised embeddings.
        repeats, warmup: Timed and untimed calls of each.
        crop_height, crop_width: Size in pixels of the crops.
        peak_memory_mb: Largest resident memory of a process that does nothing else.
        overhead_percent: How much slower the network measured here is than a bare loop around
            the session, in percent of its median; null where it was not compared.
        before, after: The machine then.
    """

    batch: int
    threads: Optional[int]
    network: Percentiles
    preprocess: Percentiles
    end_to_end: Percentiles
    repeats: int
    warmup: int
    crop_height: int
    crop_width: int
    peak_memory_mb: Optional[float]
    overhead_percent: Optional[float]
    before: Conditions
    after: Conditions


@dataclass(frozen=True)
class Predicted:
    """A latency that nobody measured, from benchmarks.predictor.

    Attributes:
        board, unit, power_mode: Where: "xavier-nx", "gpu", "15W_6CORE".
        low_ms, high_ms: Ends of the interval that holds ``level`` of the published figures.
        terms: What it is made of, in milliseconds.
        kind: Always "predicted, not measured".
    """

    board: str
    unit: str
    power_mode: str
    precision: str
    batch: int
    latency_ms: float
    low_ms: float
    high_ms: float
    level: float
    terms: Dict[str, float]
    note: str
    kind: str = "predicted, not measured"


@dataclass(frozen=True)
class Row:
    """One variant of a bundle's network in one backend.

    Attributes:
        variant: Name within the bundle: "fp32", "fp16", "int8", "int8_nv12", or an alternative's.
        precision: "fp32", "fp16" or "int8".
        backend: What ran it, such as "onnxruntime-cpu" or "tensorrt-gpu-int8".
        how: One of HOWS: whether the accuracy is that of the device, or of a simulation of it.
        alternative: What a user could use instead, in a sentence; null for reid-edge's own.
        model_sha256, model_mb: The file that ran.
        machine: Where the row was measured.
        notes, warnings: What a reader must know; sentences.
    """

    bundle: BundleRecord
    variant: str
    precision: str
    backend: str
    how: str
    alternative: Optional[str]
    model_sha256: str
    model_mb: float
    machine: Machine
    latency: List[Latency] = field(default_factory=list)
    accuracy: List[Accuracy] = field(default_factory=list)
    predicted: List[Predicted] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """A run.

    Attributes:
        created_utc: ISO 8601.
        command: What to type to measure again.
        complete: False where the run was interrupted.
        machine: Of the process that wrote the file; rows may come from others.
        rows: In the order of the command's bundles; the fp32 row of a bundle before the others.
        warnings: About the whole run.
    """

    created_utc: str
    command: str
    complete: bool
    machine: Machine
    rows: List[Row]
    warnings: List[str] = field(default_factory=list)

    def to_json(self) -> str:
        """The text of ``results.json``.

        Raises:
            ReidEdgeError: A figure is NaN or infinite.
        """
        head = {"kind": KIND, "schema_version": SCHEMA_VERSION}
        return json.dumps({**head, **to_plain(self)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "results.json") -> Results:
        """Read what ``to_json`` wrote.

        Args:
            text: The file.
            where: Its name, for messages.

        Raises:
            ReidEdgeError: No JSON, not a benchmark's results, another schema, a wrong field.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ReidEdgeError(
                "%s is not valid JSON (%s); give the results.json of a run." % (where, error)
            ) from None
        if not isinstance(data, dict) or data.pop("kind", None) != KIND:
            raise ReidEdgeError(
                "%s is not a benchmark's results; give the results.json that reid-bench wrote."
                % where
            )
        version = data.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ReidEdgeError(
                "%s has schema version %r, but this reid-edge reads version %d; measure again, or use "
                "the reid-edge that wrote it." % (where, version, SCHEMA_VERSION)
            )
        results = from_plain(cls, data, where)
        for row in results.rows:
            if row.how not in HOWS:
                raise ReidEdgeError(
                    "%s says a row was %r; expected one of %s." % (where, row.how, ", ".join(HOWS))
                )
        return results

    def save(self, path: Union[str, Path]) -> None:
        """Write the file, whole or not at all.

        Raises:
            ReidEdgeError: It cannot be written, or a figure is NaN.
        """
        write_text(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Union[str, Path]) -> Results:
        """Read a file.

        Raises:
            ReidEdgeError: It cannot be read, or as ``from_json``.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReidEdgeError(
                "Cannot read the results %s (%s); give the results.json of a run."
                % (path, getattr(error, "strerror", None) or error)
            ) from None
        return cls.from_json(text, str(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file under another name and rename it.

    Raises:
        ReidEdgeError: It cannot be written.
    """
    temporary: Any = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".%s." % path.name, dir=str(path.parent))
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, str(path))
    except OSError as error:
        raise ReidEdgeError("Cannot write %s: %s." % (path, error.strerror or error)) from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
