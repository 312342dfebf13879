"""Everything the user can choose about an export, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calibration.methods import METHODS as CALIBRATION_METHODS
from calibration.selection import SELECTIONS
from export.improve import METHODS as IMPROVEMENTS
from export.x3.config import INPUT_KINDS, CompilerOptions
from export.x3.layout import LAYOUTS
from runtime.errors import ReidEdgeError
from runtime.manifest import check_batch

SIMULATED_TYPES = ("default", "mix", "kl", "max")
TARGETS = ("xavier", "cpu", "x3")
CALIBRATION_CROPS = {"xavier": 512, "cpu": 512, "x3": 100}  # the X3's toolchain asks for about 100
X3_DEFAULTS = {
    "board_input": "nv12",
    "calibration_type": "default",
    "max_percentile": None,
    "core_num": 1,
    "optimize_level": "O3",
    "layer_times": False,
    "x3_layout": "bpu",
}
BATCHES = {
    "xavier": {"min": 1, "opt": 4, "max": 16},
    "cpu": {"min": 1, "opt": 4, "max": 16},
    "x3": {"min": 1, "opt": 1, "max": 1},
}
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
    calib_count: int = None  # type: ignore[assignment]  # default: the target's own
    calib_select: str = "coverage"
    calib_method: str = "auto"
    calib_jitter: bool = False
    ranges: Path | None = None
    eval: Path | None = None
    precision: str = "int8"
    max_map_drop: float = 0.3
    improve: str = "auto"
    batch: dict[str, int] = None  # type: ignore[assignment]  # default: the target's own
    board_input: str = "nv12"
    calibration_type: str = "default"
    max_percentile: float | None = None
    core_num: int = 1
    optimize_level: str = "O3"
    layer_times: bool = False
    x3_layout: str = "bpu"
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
        if self.calib_count is None:
            object.__setattr__(self, "calib_count", CALIBRATION_CROPS[self.target])
        if self.batch is None:
            object.__setattr__(self, "batch", BATCHES[self.target])
        check_batch(self.batch)
        self._check_x3()
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
        self._check_ranges()

    def _check_x3(self) -> None:
        """Refuse what the X3's toolchain does by itself, and its options for other targets."""
        if self.target != "x3":
            for name, default in X3_DEFAULTS.items():
                if getattr(self, name) != default:
                    raise ReidEdgeError(
                        "--%s is for --target x3; leave it out." % name.replace("_", "-")
                    )
            return
        if self.batch != BATCHES["x3"]:
            raise ReidEdgeError(
                "The X3 takes one crop at a time, got --batch %s; leave it out."
                % ",".join(str(v) for v in self.batch.values())
            )
        for name, allowed in (
            ("board_input", INPUT_KINDS),
            ("calibration_type", SIMULATED_TYPES),
            ("x3_layout", tuple(LAYOUTS)),
            ("precision", ("int8",)),
            ("calib_method", ("auto",)),
            ("improve", ("auto", "none")),
            ("ranges", (None,)),
        ):
            if getattr(self, name) not in allowed:
                raise ReidEdgeError(
                    "--target x3 takes --%s %s, got %s; hb_mapper quantizes by itself."
                    % (
                        name.replace("_", "-"),
                        " or ".join(str(a) for a in allowed if a is not None) or "not at all",
                        getattr(self, name),
                    )
                )

        self.compiler.check(self.calibration_type)

    @property
    def compiler(self) -> CompilerOptions:
        """What hb_mapper's configuration is given of these."""
        return CompilerOptions(
            self.max_percentile, self.core_num, self.optimize_level, self.layer_times
        )

    def _check_ranges(self) -> None:
        if self.ranges is not None:
            if not self.quantizes:
                raise ReidEdgeError(
                    "--ranges is for INT8, and --precision is %s; leave one of them out."
                    % self.precision
                )
            for name, allowed in (("calib_method", ("auto",)), ("improve", ("auto", "none"))):
                if getattr(self, name) not in allowed:
                    raise ReidEdgeError(
                        "--ranges takes the network and its ranges as they were trained; leave out "
                        "--%s %s." % (name.replace("_", "-"), getattr(self, name))
                    )
        elif self.weights is not None and self.calib is None and self.quantizes:
            raise ReidEdgeError(
                "INT8 needs crops to find its ranges on: pass --calib DIR (training crops, no labels "
                "needed), or --precision fp16."
            )

    @property
    def quantizes(self) -> bool:
        return self.precision in ("int8", "auto")
