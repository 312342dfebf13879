"""Everything that can be chosen about a benchmark run, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Tuple

from benchmarks.embedding_cache import default_cache
from benchmarks.evaluate import Figures
from benchmarks.timing import TimingOptions
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class RunOptions:
    """Options of one run; names and meanings as in ``reid-bench --help``.

    Attributes:
        bundles: Folders of bundles.
        data: Folders of evaluation sets.
        datasets: What each of ``data`` is; empty where their names tell.
        backends, precisions: As for ``plan_variants``.
        latency, accuracy: What is measured.
        timing, figures: How.
        together: All bundles are timed against each other; else each bundle by itself, as in a
            sweep over more bundles than fit in memory.
        keep_going: What fails is reported and the rest goes on.
        alternatives: Measure ONNX Runtime's static quantization and its other providers too.
        calib, calib_count: Training crops for that quantization.
        given: ``NAME=FILE.onnx`` alternatives.
        predict: Boards, see ``read_wishes``; None predicts for the bundles' boards where it can.
        fit: Measured latencies to refit the predictor on.
        trained_on: Data set the networks were trained on, where the bundles do not say.
        jobs, ray: Processes for accuracy, or a Ray cluster's address.
        seed: Of drawn queries, calibration crops and bootstrap.
        cache, out: Folders.
        report: Write HTML and Markdown beside ``results.json``.
        images: Put pictures of the worst queries into the HTML.
        command: What to type to measure again.
    """

    bundles: Tuple[Path, ...]
    data: Tuple[Path, ...] = ()
    datasets: Tuple[str, ...] = ()
    backends: Tuple[str, ...] = ("auto",)
    precisions: Optional[Tuple[str, ...]] = None
    latency: bool = True
    accuracy: bool = True
    timing: TimingOptions = field(default_factory=TimingOptions)
    figures: Figures = field(default_factory=Figures)
    together: bool = True
    keep_going: bool = False
    alternatives: bool = False
    calib: Optional[Path] = None
    calib_count: int = 512
    given: Tuple[str, ...] = ()
    predict: Optional[Tuple[str, ...]] = None
    fit: Optional[Path] = None
    trained_on: Optional[str] = None
    jobs: int = 1
    ray: Optional[str] = None
    seed: int = 0
    cache: Path = field(default_factory=default_cache)
    out: Path = Path("bench_results")
    report: bool = True
    images: bool = True
    command: str = "reid-bench"

    def __post_init__(self) -> None:
        if not self.bundles:
            raise ReidEdgeError("A run needs at least one --bundle; make one with reid-export.")
        if not self.latency and not self.accuracy:
            raise ReidEdgeError("Nothing is left to measure; give one of --latency-only and "
                                "--accuracy-only, not both.")  # fmt: skip
        if self.accuracy and not self.data:
            raise ReidEdgeError(
                "Accuracy needs an evaluation set, --data DIR; give one, or --latency-only."
            )
        if self.datasets and len(self.datasets) != len(self.data):
            raise ReidEdgeError(
                "--dataset says what each --data is, so give as many, got %d for %d folders."
                % (len(self.datasets), len(self.data))
            )
        if self.jobs < 1:
            raise ReidEdgeError("--jobs must be at least 1, got %d." % self.jobs)
        if self.alternatives and self.calib is None:
            raise ReidEdgeError(
                "--alternatives quantizes with ONNX Runtime's own tool, which needs training crops; "
                "give --calib DIR."
            )
        if self.calib_count < 8:
            raise ReidEdgeError("--calib-count must be at least 8, got %d." % self.calib_count)
        if self.figures.resamples < 100 or self.figures.worst < 0:
            raise ReidEdgeError(
                "--resamples must be at least 100 and --worst at least 0, got %d and %d."
                % (self.figures.resamples, self.figures.worst)
            )
        if self.out.exists() and not self.out.is_dir():
            raise ReidEdgeError("--out %s is a file; give a folder." % self.out)
