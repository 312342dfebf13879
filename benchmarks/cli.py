"""``reid-bench``: how fast, how accurate, what did INT8 cost, and what would it be on a board."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from benchmarks.benchmark import RESULTS, Benchmark, write_reports
from benchmarks.comparison import compare_results
from benchmarks.conditions import Condition, compared, read_condition
from benchmarks.embedding_cache import default_cache
from benchmarks.evaluate import Figures
from benchmarks.evaluation_set import DATASETS
from benchmarks.metric_paths import Scope, figures_of
from benchmarks.options import RunOptions
from benchmarks.report import compare_html, compare_md
from benchmarks.results import Results, write_text
from benchmarks.summary import summary
from benchmarks.sweep import read_sweep
from benchmarks.timing import TimingOptions
from runtime.backends import BACKENDS
from runtime.errors import ReidEdgeError
from runtime.manifest import PRECISIONS

_EPILOG = """examples:
  reid-bench --bundle bundles/osnet_cpu --data market1501
      latency on this machine; mAP and Rank-k of fp32 and int8, and what int8 lost
  reid-bench --bundle bundles/* --data market1501 --predict xavier-nx:all x3 --batch 1,8
      several bundles, with predicted latency on boards that are not at hand
  reid-bench --bundle bundles/osnet_xavier --latency-only --backend tensorrt
      on the board, after reid-build
  reid-bench --bundle bundles/osnet_cpu --data market1501 --alternatives --calib market1501
      against ONNX Runtime's own quantization and its other execution providers
  reid-bench --bundle bundles/osnet_cpu --data market1501 --fail-if "int8.mAP_drop > 0.5"
      exit with 1 when int8 loses more than half a point
  reid-bench --compare before/results.json after/results.json --fail-if "ratio.int8.network_p50_ms > 1.1"
      two runs side by side
  reid-bench --sweep sweep.yaml --ray auto
      many bundles; accuracy on a Ray cluster, latency on this machine

An interrupted run goes on where it was when the same command is given again.
exit status: 0 done, 1 a --fail-if condition holds, 2 the input cannot be used or part of a sweep failed,
130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-bench",
        description="Measure bundles: latency, accuracy, the cost of int8; predict boards.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = p.add_argument_group("what to measure")
    what.add_argument("--bundle", type=Path, nargs="+", action="extend", metavar="DIR", default=[])
    what.add_argument(
        "--data", type=Path, nargs="+", action="extend", metavar="DIR", default=[],
        help="evaluation sets: Market-1501, DukeMTMC, CUHK03, MSMT17, or folders of people",
    )  # fmt: skip
    what.add_argument(
        "--dataset", nargs="+", action="extend", metavar="NAME", default=[],
        help="what each --data is, where names do not tell: " + ", ".join(DATASETS),
    )  # fmt: skip
    what.add_argument("--backend", metavar="B,B", default="auto", help=", ".join(BACKENDS))
    what.add_argument(
        "--precision", metavar="P,P", help=", ".join(PRECISIONS) + "; default: the bundle's"
    )
    only = what.add_mutually_exclusive_group()
    only.add_argument("--latency-only", action="store_true")
    only.add_argument("--accuracy-only", action="store_true")
    what.add_argument("--sweep", type=Path, metavar="YAML", help="bundles and data from a file")

    timing = p.add_argument_group("latency")
    timing.add_argument("--batch", metavar="N,N", default="1", help="crops per call (default: 1)")
    timing.add_argument("--threads", metavar="N,N", help="CPU threads (default: all cores)")
    timing.add_argument("--repeats", type=int, default=100, help="timed calls (default: 100)")
    timing.add_argument("--warmup", type=int, default=10, help="untimed calls before (default: 10)")
    timing.add_argument(
        "--seconds", type=float, default=30.0, metavar="S",
        help="fewer repeats where a network's would take longer (default: 30)",
    )  # fmt: skip
    timing.add_argument("--no-memory", action="store_true", help="do not measure peak memory")

    accuracy = p.add_argument_group("accuracy")
    accuracy.add_argument(
        "--trained-on", metavar="NAME", help="data set the networks were trained on"
    )
    accuracy.add_argument(
        "--worst",
        type=int,
        default=8,
        metavar="N",
        help="queries shown that lost most (default: 8)",
    )
    accuracy.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    accuracy.add_argument("--no-open-set", action="store_true", help="no thresholds for following")
    accuracy.add_argument("--seed", type=int, default=0, help="of every random choice")
    accuracy.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    accuracy.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster, such as auto")
    accuracy.add_argument("--cache", type=Path, metavar="DIR", help="default: ~/.cache/reid-edge")

    other = p.add_argument_group("alternatives and boards")
    other.add_argument(
        "--alternatives", action="store_true",
        help="also ONNX Runtime's static quantization and its other providers; needs --calib",
    )  # fmt: skip
    other.add_argument(
        "--alternative", action="append", metavar="NAME=ONNX", default=[],
        help="also this model, such as the original form of RGA",
    )  # fmt: skip
    other.add_argument(
        "--calib", type=Path, metavar="DIR", help="training crops for --alternatives"
    )
    other.add_argument("--calib-count", type=int, default=512, metavar="N")
    other.add_argument(
        "--predict", nargs="+", metavar="BOARD",
        help="xavier-agx, xavier-nx or x3, with :MODE for a power mode or :all for each; none: no "
        "predictions (default: the boards a bundle was exported for)",
    )  # fmt: skip
    other.add_argument(
        "--fit",
        type=Path,
        metavar="JSON",
        help="refit predictions on your board's measured latencies",
    )

    output = p.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, metavar="DIR",
        help="results.json, report.html and report.md (default: bench_results)",
    )  # fmt: skip
    output.add_argument("--no-report", action="store_true", help="results.json only")
    output.add_argument(
        "--no-images", action="store_true", help="no pictures of people in the report"
    )
    output.add_argument("--json", action="store_true", help="print the results as one JSON object")
    output.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    output.add_argument(
        "--fail-if", action="append", metavar="EXPR", default=[],
        help='exit with 1 if it holds, such as "int8.mAP_drop > 0.5"; see benchmarks/metric_paths.py',
    )  # fmt: skip
    return p


def main(argv: Optional[List[str]] = None) -> int:
    given = sys.argv[1:] if argv is None else argv
    a = parser().parse_args(given)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        conditions = [read_condition(text) for text in a.fail_if]
        if a.compare:
            return _compare(a, conditions)
        return _run(a, _options(a, "reid-bench " + shlex.join(given)), conditions)
    except ReidEdgeError as error:
        print("reid-bench: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "reid-bench: interrupted; what was measured is kept, and the same command goes on there.",
            file=sys.stderr,
        )
        return 130


def _options(a: argparse.Namespace, command: str) -> RunOptions:
    sweep = read_sweep(a.sweep) if a.sweep else None
    if sweep and (a.bundle or a.data):
        raise ReidEdgeError(
            "--sweep names bundles and data in its file; leave --bundle and --data out."
        )
    threads = (None,) if a.threads is None else _counts("--threads", a.threads)
    options = RunOptions(
        bundles=sweep.bundles if sweep else tuple(a.bundle),
        data=sweep.data if sweep else tuple(a.data),
        datasets=() if sweep else tuple(a.dataset),
        backends=tuple(_names(a.backend)),
        precisions=tuple(_names(a.precision)) if a.precision else None,
        latency=not a.accuracy_only,
        accuracy=not a.latency_only,
        timing=TimingOptions(
            batches=_counts("--batch", a.batch),
            threads=threads,
            repeats=a.repeats,
            warmup=a.warmup,
            budget_s=a.seconds,
            memory=not a.no_memory,
        ),
        figures=Figures(
            worst=a.worst, resamples=a.resamples, seed=a.seed, open_set=not a.no_open_set
        ),
        alternatives=a.alternatives,
        calib=a.calib,
        calib_count=a.calib_count,
        given=tuple(a.alternative),
        predict=tuple(a.predict) if a.predict is not None else None,
        fit=a.fit,
        trained_on=a.trained_on,
        jobs=a.jobs,
        ray=a.ray,
        seed=a.seed,
        cache=a.cache or default_cache(),
        out=a.out or (sweep.out if sweep and sweep.out else Path("bench_results")),
        report=not a.no_report,
        images=not a.no_images,
        command=command,
    )
    return sweep.apply(options) if sweep else options


def _run(a: argparse.Namespace, options: RunOptions, conditions: List[Condition]) -> int:
    benchmark = Benchmark(options)
    results = benchmark.run()
    reports = write_reports(results, options)
    if a.json:
        print(results.to_json(), end="")
    else:
        print(summary(results))
        for path in [options.out / RESULTS, *reports]:
            print("wrote %s" % path)
    if benchmark.failed:
        return ReidEdgeError.exit_code
    return _judge(conditions, figures_of(results))


def _compare(a: argparse.Namespace, conditions: List[Condition]) -> int:
    before, after = (Results.load(path) for path in a.compare)
    comparison = compare_results(before, after)
    print(comparison.to_json() if a.json else compare_md(before, after), end="")
    if a.out:
        write_text(a.out / "compare.json", comparison.to_json())
        write_text(a.out / "compare.html", compare_html(before, after))
        write_text(a.out / "compare.md", compare_md(before, after))
    return _judge(conditions, compared(figures_of(before), figures_of(after)))


def _judge(conditions: List[Condition], scopes: Mapping[Scope, Dict[str, float]]) -> int:
    """1 if a condition holds, which is said with the figures it speaks of."""
    status = 0
    for condition in conditions:
        for scope in condition.holds_in(scopes):
            status = 1
            figures = ", ".join(
                "%s is %.4g" % (path, scopes[scope][path]) for path in condition.paths
            )
            print(
                "reid-bench: FAILED %s: %s (%s)" % (scope, condition.text, figures), file=sys.stderr
            )
    return status


def _names(text: str) -> List[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",")))


def _counts(flag: str, text: str) -> Tuple[int, ...]:
    parts = _names(text)
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ReidEdgeError(
            "%s takes whole numbers from 1 with commas between, such as 1,8; got %r." % (flag, text)
        )
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
