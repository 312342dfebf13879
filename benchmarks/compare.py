"""``python -m benchmarks.compare A.onnx B.onnx ...``: latency of ONNX models, in one run.

Models are timed in turns (benchmarks.latency), so that what slows the machine meets all alike; the
last column is each model's median as a multiple of the first one's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.latency import compare_latency, machine_record
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.errors import ReidEdgeError

_EPILOG = """example:
  python -m benchmarks.compare resnet50/model.fp32.onnx rga/model.fp32.onnx --threads 2
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Time ONNX models against each other in ONNX Runtime on this CPU.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    p.add_argument("--batch", type=int, default=1, help="images per call (default: %(default)s)")
    p.add_argument("--threads", type=int, help="CPU threads; default: all cores")
    p.add_argument("--repeats", type=int, default=60, help="timed calls (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(argv: list[str] | None = None) -> int:
    a = parser().parse_args(argv)
    try:
        if a.batch < 1:
            raise ReidEdgeError("--batch must be at least 1, got %d." % a.batch)
        backends = {str(path): OnnxRuntimeBackend(path, threads=a.threads) for path in a.models}
        shapes = {backend.input_shape for backend in backends.values()}
        if len(shapes) > 1:
            raise ReidEdgeError("The models must take one input size, got %s." % sorted(shapes))
        # Noise: the time of these networks does not depend on what they see.
        pixels = np.random.default_rng(0).normal(size=(a.batch, *shapes.pop()))
        latency = compare_latency(
            {name: backend.run for name, backend in backends.items()},
            pixels.astype(np.float32),
            repeats=a.repeats,
        )
    except ReidEdgeError as error:
        print("benchmarks.compare: %s" % error, file=sys.stderr)
        return error.exit_code
    machine = machine_record()
    if a.json:
        record = {"batch": a.batch, "threads": a.threads or "all", "machine": machine}
        print(json.dumps({**record, "latency_ms": latency}))
        return 0
    packages = machine["packages"]
    print(
        "%s, %s cores, %s threads, batch %d, onnxruntime %s"
        % (
            machine["cpu"] or "unknown CPU",
            machine["usable_cores"],
            a.threads or "all",
            a.batch,
            packages.get("onnxruntime"),
        )
    )
    first = next(iter(latency.values()))["p50_ms"]
    width = max(len(name) for name in latency)
    for name, t in latency.items():
        print(
            "%s  p50 %8.2f ms  p90 %8.2f ms  %6.2fx"
            % (name.ljust(width), t["p50_ms"], t["p90_ms"], t["p50_ms"] / first)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
