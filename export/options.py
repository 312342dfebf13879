"""Everything the user can choose about an export, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calibration.methods import METHODS as CALIBRATION_METHODS
from calibration.selection import SELECTIONS
from export.improve import METHODS as IMPROVEMENTS
from runtime.errors import ReidEdgeError
from runtime.manifest import check_batch

TARGETS = ("xavier", "cpu")
PRECISIONS = ("fp32", "fp16", "int8", "auto")


@dataclass(frozen=True)
class ExportOptions:
    """Options of one export; names and meanings as in ``reid-export --help``."""

    target: str
    weights: Path | None = None
    arch: str | None = None
    allow_pickle: bool = False
    height: int | None = None
    width: int | None = None
    feature: str | None = None
    last_stride: int | None = None
    stem_relu: bool | None = None
    pool: str | None = None
    gem_p: float | None = None
    rga_form: str = "reassociated"
    color: str | None = None
    resize: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    calib: Path | None = None
    calib_count: int = 512
    calib_select: str = "coverage"
    calib_method: str = "auto"
    calib_jitter: bool = False
    eval: Path | None = None
    precision: str = "int8"
    max_map_drop: float = 0.3
    improve: str = "auto"
    batch: dict[str, int] = field(default_factory=lambda: {"min": 1, "opt": 4, "max": 16})
    out: Path | None = None
    force: bool = False
    seed: int = 0
    threads: int | None = None

    def __post_init__(self):
        for name, allowed in (
            ("target", TARGETS),
            ("precision", PRECISIONS),
            ("calib_select", SELECTIONS),
            ("calib_method", ("auto", *CALIBRATION_METHODS)),
            ("improve", IMPROVEMENTS),
        ):
            if getattr(self, name) not in allowed:
                raise ReidEdgeError(
                    "--%s must be one of %s, got %r."
                    % (name.replace("_", "-"), ", ".join(allowed), getattr(self, name))
                )
        check_batch(self.batch)
        if not 8 <= self.calib_count <= 100_000:
            raise ReidEdgeError(
                "--calib-count must be from 8 to 100000, got %d." % self.calib_count
            )
        if not self.max_map_drop >= 0:
            raise ReidEdgeError(
                "--max-map-drop must be 0 or more points, got %r." % self.max_map_drop
            )
        if self.threads is not None and self.threads < 1:
            raise ReidEdgeError("--threads must be at least 1, got %d." % self.threads)
        if self.precision == "auto" and self.eval is None:
            raise ReidEdgeError("--precision auto judges by mAP, so it needs --eval DIR.")
        if self.precision == "fp16" and self.target == "cpu":
            raise ReidEdgeError(
                "ONNX Runtime's CPU kernels gain nothing from fp16; use fp32 or int8."
            )
        if self.weights is not None and self.calib is None and self.precision in ("int8", "auto"):
            raise ReidEdgeError(
                "INT8 needs crops to find its ranges on: pass --calib DIR (training crops, no labels "
                "needed), or --precision fp16."
            )

    @property
    def quantizes(self) -> bool:
        return self.precision in ("int8", "auto")
