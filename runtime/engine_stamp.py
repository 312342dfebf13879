"""The stamp beside a TensorRT plan: where it was built and from what.

A plan runs only on the kind of device and with the TensorRT version that built it, and TensorRT's
own refusal does not say which of them is wrong. The stamp does, before TensorRT is asked.
"""

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Dict, List, Mapping, Optional

from runtime.bundle import Bundle, file_sha256
from runtime.errors import ReidEdgeError

SCHEMA_VERSION = 1
_BOARD_MODEL = Path("/proc/device-tree/model")

_FIELD_NAMES = {
    "tensorrt": "TensorRT",
    "sm": "SM",
    "device_name": "device",
    "onnx_sha256": "ONNX SHA-256",
    "plan_sha256": "plan SHA-256",
}


@dataclass(frozen=True)
class Board:
    """The device and software a plan is built on or shall run on.

    Attributes:
        tensorrt: Version of TensorRT.
        sm: Compute capability of the GPU, such as ``"7.2"``.
        device_name: Name of the board, or of the GPU where the board has none.
        power_mode: What ``nvpmodel -q`` reports, or None where there is no nvpmodel.
    """

    tensorrt: str
    sm: str
    device_name: str
    power_mode: Optional[str]


@dataclass(frozen=True)
class EngineStamp:
    """Contents of the JSON file beside a plan, schema version 1.

    Attributes:
        tensorrt, sm, device_name, power_mode: See Board.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        device: ``"gpu"``, ``"dla0"`` or ``"dla1"``.
        batch: ``min``, ``opt``, ``max`` of the optimisation profile.
        onnx_file: The ONNX file, relative to the bundle, or to the plan of a detector.
        onnx_sha256, plan_sha256: Hashes of what went in and what came out.
        created_utc: ISO 8601 time of the build.
        outputs: Of a detector, the names of the ONNX model's outputs in their order, which an engine
            does not keep (NVIDIA/TensorRT#1042); empty, and not written, for a bundle's plan.
    """

    tensorrt: str
    sm: str
    device_name: str
    power_mode: Optional[str]
    precision: str
    device: str
    batch: Dict[str, int]
    onnx_file: str
    onnx_sha256: str
    plan_sha256: str
    created_utc: str
    outputs: List[str] = field(default_factory=list)

    def to_json(self) -> str:
        data = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        if not self.outputs:
            del data["outputs"]
        return json.dumps(data, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EngineStamp":
        """Parse a stamp.

        Raises:
            ReidEdgeError: Not a stamp of this schema version.
        """
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        known = {each.name for each in fields(cls)}
        if (
            not isinstance(data, dict)
            or data.pop("schema_version", None) != SCHEMA_VERSION
            or set(data) | {"outputs"} != known
        ):
            raise ReidEdgeError(
                "The stamp beside the plan is not one of schema version %d; run reid-build again."
                % SCHEMA_VERSION
            )
        return cls(**data)


def stamp_path(plan: Path) -> Path:
    """Where the stamp of a plan lies."""
    return plan.with_suffix(".json")


def mismatch(stamp: EngineStamp, current: Mapping[str, str]) -> List[str]:
    """What differs between a stamp and the present.

    Args:
        stamp: The plan's stamp.
        current: Field name -> present value, for those of ``tensorrt``, ``sm``, ``device_name``,
            ``onnx_sha256`` and ``plan_sha256`` that are to be compared. The power mode is not among
            them: it changes speed, not validity.

    Returns:
        One sentence per difference; empty when the plan fits.
    """
    return [
        "It was built with %s %s; here is %s." % (label, getattr(stamp, name), current[name])
        for name, label in _FIELD_NAMES.items()
        if name in current and getattr(stamp, name) != current[name]
    ]


def check_plan(plan: Path, board: Board, bundle: Optional[Bundle] = None) -> EngineStamp:
    """Read the stamp of a plan and refuse the plan unless it fits.

    Args:
        plan: The plan file; its stamp lies beside it.
        board: Where it shall run.
        bundle: The bundle it was built from, to see that its ONNX is still the same.

    Raises:
        ReidEdgeError: Plan or stamp missing, or the stamp does not match the present.
    """
    if not plan.is_file() or not stamp_path(plan).is_file():
        raise ReidEdgeError(
            "Expected a plan %s with its stamp %s beside it; run reid-build again."
            % (plan, stamp_path(plan).name)
        )
    stamp = EngineStamp.from_json(stamp_path(plan).read_text(encoding="utf-8"))
    current = {
        "tensorrt": board.tensorrt,
        "sm": board.sm,
        "device_name": board.device_name,
        "plan_sha256": file_sha256(plan),
    }
    if bundle is not None:
        entry = bundle.manifest.files.get(stamp.onnx_file)
        current["onnx_sha256"] = entry["sha256"] if entry else "no file %s" % stamp.onnx_file
    differences = mismatch(stamp, current)
    if differences:
        raise ReidEdgeError(
            "Plan %s does not fit here: %s Run reid-build again on this board."
            % (plan, " ".join(differences))
        )
    return stamp


def board_name(gpu_name: str, model_file: Path = _BOARD_MODEL) -> str:
    """Name of the board from the device tree, else ``gpu_name``.

    CUDA calls both the AGX Xavier and the Xavier NX plain "Xavier", though a plan tuned for 8
    multiprocessors is wrong for 6; the device tree tells them apart.
    """
    try:
        return model_file.read_bytes().split(b"\0")[0].decode("utf-8", "replace").strip()
    except OSError:  # not a device-tree machine: a desktop
        return gpu_name


def power_mode(timeout_s: float = 5.0) -> Optional[str]:
    """The power mode as ``nvpmodel -q`` names it, or None where it cannot be asked."""
    program = shutil.which("nvpmodel")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_power_mode(done.stdout.decode("utf-8", "replace"))


def parse_power_mode(text: str) -> Optional[str]:
    """The mode in the output of ``nvpmodel -q``, whose line reads ``NV Power Mode: MODE_15W``."""
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        if colon and label.strip().lower() == "nv power mode":
            return value.strip() or None
    return None
