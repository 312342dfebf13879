"""One benchmark run: predict, time, judge; saved after every step, so an interrupt costs one step.

Latency is measured first, in this process and alone. Accuracy follows, as jobs that may run beside
each other. What an interrupted run has measured is found again in ``<out>/.unfinished`` (latency) and
in the cache (accuracy).
"""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from benchmarks.accuracy_job import AccuracyJob, Judged
from benchmarks.alternatives import QuantizeJob, provider_variants, user_alternatives
from benchmarks.evaluation_set import EvaluationSet, open_evaluation_set, trained_on
from benchmarks.jobs import run_jobs
from benchmarks.machine import read_machine, timing_warnings
from benchmarks.options import RunOptions
from benchmarks.predictions import AUTO, Predictor, can_predict, read_wishes
from benchmarks.report import write_report
from benchmarks.results import Machine, Results
from benchmarks.rows import OpenRow
from benchmarks.timing_store import measure_once
from benchmarks.variants import NO_FP16, Variant, plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

RESULTS = "results.json"
_UNFINISHED = ".unfinished"


class Benchmark:
    """A run; ``results`` is what there is so far.

    Args:
        options: What to measure.
        progress: Show bars on a terminal.

    Raises:
        ReidEdgeError: A bundle cannot be read or run here, a backend is not installed, ...
    """

    def __init__(self, options: RunOptions, progress: bool = True):
        self.options, self.progress = options, progress
        self.machine: Machine = read_machine()
        self.warnings: List[str] = []
        self.failed = False
        self.complete = False
        self.bundles: List[Bundle] = []
        self.rows: List[OpenRow] = []
        for path in options.bundles:
            try:
                bundle = Bundle.open(path)
                variants = plan_variants(bundle, options.backends, options.precisions)
            except ReidEdgeError as error:
                self._failure(error)
                continue
            self.rows += [OpenRow(len(self.bundles), variant) for variant in variants]
            self.bundles.append(bundle)
            fp16 = any(variant.precision == "fp16" for variant in variants)
            if bundle.manifest.target == "xavier" and options.precisions is None and not fp16:
                self.warnings.append("Bundle %s: %s" % (bundle.manifest.name, NO_FP16))
        if not self.bundles:
            raise ReidEdgeError("None of the %d bundles can be measured." % len(options.bundles))
        for bundle in self.bundles:
            if not bundle.manifest.network.get("trained"):
                self.warnings.append(
                    "Bundle %s holds an untrained network; its accuracy means nothing."
                    % bundle.manifest.name
                )

    def run(self) -> Results:
        """Measure everything.

        Raises:
            ReidEdgeError: Something cannot be measured; with ``keep_going`` that is a warning.
            KeyboardInterrupt: What was measured is saved before it goes on.
        """
        try:
            sets = self._open_sets() if self.options.accuracy else []
            self._add_alternatives()
            self._predict()
            if self.options.latency:
                self._time()
            self._judge(sets)
            self.complete = not self.failed
        finally:
            # An older file is not given up for a run that has nothing to show.
            if any(row.latency or row.accuracy for row in self.rows):
                self.save()
        if self.complete:
            shutil.rmtree(str(self.options.out / _UNFINISHED), ignore_errors=True)
        return self.results()

    def results(self) -> Results:
        """What was measured so far."""
        rows = [
            row.record(
                self.bundles[row.bundle], self._trained(self.bundles[row.bundle]), self.machine
            )
            for row in sorted(self.rows, key=lambda row: row.bundle)
        ]
        return Results(
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=self.options.command,
            complete=self.complete,
            machine=self.machine,
            rows=rows,
            warnings=list(dict.fromkeys(self.warnings)),
        )

    def save(self) -> Path:
        """Write ``results.json`` as it is now; returns its path."""
        path = self.options.out / RESULTS
        self.results().save(path)
        return path

    # -- steps -----------------------------------------------------------------------------------

    def _open_sets(self) -> List[Tuple[Path, Optional[str], EvaluationSet]]:
        options, found = self.options, []
        names = options.datasets or (None,) * len(options.data)
        for path, name in zip(options.data, names):
            try:
                opened = open_evaluation_set(path, name, options.seed, self.progress)
            except ReidEdgeError as error:
                self._failure(error)
                continue
            found.append((path, name, opened))
        return found

    def _add_alternatives(self) -> None:
        options = self.options
        for number, variant in user_alternatives(options.given, self.bundles):
            if variant.name in {known.name for known in self._variants(number)}:
                raise ReidEdgeError(
                    "--alternative %s: bundle %s has a variant of that name; choose another."
                    % (variant.name, self.bundles[number].path)
                )
            self.rows.append(OpenRow(number, variant))
        if not options.alternatives:
            return
        for number in range(len(self.bundles)):
            for variant in provider_variants(self._variants(number)):
                self.rows.append(OpenRow(number, variant))
        jobs, numbers = [], []
        for number, bundle in enumerate(self.bundles):
            # Its kernels run on CPUs only, so it stands beside what was exported for them.
            if bundle.manifest.target == "cpu" and bundle.has("model.fp32"):
                numbers.append(number)
                jobs.append(
                    QuantizeJob(
                        str(bundle.path), str(options.calib), options.calib_count, options.seed,
                        str(options.cache),
                    )
                )  # fmt: skip
        if not jobs:
            self.warnings.append(
                "ONNX Runtime's static quantization was not measured: no bundle has the target cpu."
            )

        def done(job: int, result: Any) -> None:
            if isinstance(result, ReidEdgeError):
                self._failure(result)
            else:
                self.rows += [OpenRow(numbers[job], variant) for variant in result]

        self._run_jobs(jobs, done)

    def _predict(self) -> None:
        options = self.options
        given = options.predict
        if given is None:
            # On a board everybody wants to know what it does, not what it might do.
            given = (AUTO,) if can_predict() and self.machine.board is None else ()
        if not given:
            return
        predictor = Predictor(read_wishes(given), options.timing.batches, options.fit)
        for row in self.rows:
            try:
                row.predicted, notes = predictor.rows(self.bundles[row.bundle], row.variant)
                row.notes += notes
            except ReidEdgeError as error:
                if options.predict is not None and not options.keep_going:
                    raise
                row.notes.append("No predicted latency: %s" % error)

    def _time(self) -> None:
        everything = list(range(len(self.bundles)))
        groups = [everything] if self.options.together else [[number] for number in everything]
        for group in groups:
            chosen = [(self.bundles[number], self._variants(number)) for number in group]
            try:
                timed = measure_once(
                    chosen, self.options.timing, self.machine, self.options.out / _UNFINISHED,
                    self.progress,
                )  # fmt: skip
            except ReidEdgeError as error:
                self._failure(error)
                continue
            for entry in timed:
                self._row(group[entry.bundle], entry.variant.name).latency.append(entry.latency)
            self.save()
        first = next((latency for row in self.rows for latency in row.latency), None)
        if first is not None:
            self.warnings += timing_warnings(self.machine, first.before)

    def _judge(self, sets: Sequence[Tuple[Path, Optional[str], EvaluationSet]]) -> None:
        options = self.options
        jobs: List[AccuracyJob] = []
        numbers: List[int] = []
        for number, bundle in enumerate(self.bundles):
            variants = self._variants(number)
            fp32 = [v.name for v in variants if v.precision == "fp32" and v.alternative is None]
            if not fp32:
                for row in self.rows:
                    if row.bundle == number:
                        row.notes.append("No drop is given: nothing here runs this bundle in fp32.")
            for path, name, found in sets:
                numbers.append(number)
                jobs.append(
                    AccuracyJob(
                        bundle=str(bundle.path),
                        variants=tuple(variants),
                        reference=fp32[0] if fp32 else None,
                        data=str(path),
                        dataset=name,
                        seed=options.seed,
                        data_sha256=found.sha256,
                        trained=self._trained(bundle),
                        figures=options.figures,
                        cache=str(options.cache),
                        threads=self._threads(),
                    )
                )

        judged: Dict[int, Judged] = {}

        def done(job: int, result: Any) -> None:
            if isinstance(result, ReidEdgeError):
                self._failure(result)
                return
            judged[job] = result
            self._fill(numbers, judged)
            self.save()

        self._run_jobs(jobs, done)

    def _fill(self, numbers: List[int], judged: Dict[int, Judged]) -> None:
        """Put the results of jobs into rows, in the order of the command whichever ended first."""
        for row in self.rows:
            done = [judged[job] for job in sorted(judged) if numbers[job] == row.bundle]
            row.accuracy = [part.accuracy[row.variant.name] for part in done]
            notes = [note for part in done for note in part.notes]
            named = [note for note in notes if " of %s on " % row.variant.name in note]
            elsewhere = {part.machine.cpu for part in done if part.machine.cpu != self.machine.cpu}
            named += [
                "The accuracy was computed on another machine (%s)." % cpu for cpu in elsewhere
            ]
            row.notes = list(dict.fromkeys(row.notes + named))

    # -- parts -----------------------------------------------------------------------------------

    def _run_jobs(self, jobs: Sequence[Any], done: Any) -> None:
        run_jobs(
            jobs,
            done,
            processes=self.options.jobs,
            ray_address=self.options.ray,
            cpus=self._threads() or 1,
            progress=self.progress,
        )

    def _threads(self) -> Optional[int]:
        """CPU threads of a job: the cores are shared by those that run beside each other."""
        given = [threads for threads in self.options.timing.threads if threads]
        if given or (self.options.ray is None and self.options.jobs == 1):
            return max(given, default=None)
        return max(1, (self.machine.usable_cores or 1) // self.options.jobs)

    def _variants(self, number: int) -> List[Variant]:
        return [row.variant for row in self.rows if row.bundle == number]

    def _row(self, number: int, name: str) -> OpenRow:
        return next(r for r in self.rows if r.bundle == number and r.variant.name == name)

    def _trained(self, bundle: Bundle) -> Optional[str]:
        return self.options.trained_on or trained_on(bundle.manifest)

    def _failure(self, error: ReidEdgeError) -> None:
        if not self.options.keep_going:
            raise error
        self.failed = True
        self.warnings.append("Failed: %s" % error)


def write_reports(results: Results, options: RunOptions) -> List[Path]:
    """Write the HTML and Markdown reports beside ``results.json``; returns their paths.

    Raises:
        ReidEdgeError: They cannot be written.
    """
    if not options.report:
        return []
    images = options.data if options.images else ()
    return write_report(results, options.out, images, options.bundles)
