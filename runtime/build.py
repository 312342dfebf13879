"""reid-build: finishes a bundle on the board, from ONNX to a TensorRT plan that passed its self-test."""

import argparse
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from runtime import tensorrt_api
from runtime.backends.base import Backend
from runtime.backends.tensorrt import TensorRTBackend, this_board
from runtime.bundle import ENGINES_DIR, Bundle, file_sha256
from runtime.cuda_memory import open_cuda
from runtime.engine_stamp import Board, EngineStamp, check_plan, stamp_path
from runtime.errors import ReidEdgeError, VerificationError
from runtime.manifest import PRECISIONS, check_batch
from runtime.plan_builder import DEVICES, BuildOptions, BuiltPlan, build_plan
from runtime.preprocess import l2_normalize

# Smallest cosine between an embedding of the plan and the golden one that was made on the workstation
# in the same precision (fp16 is held against fp32). INT8 has more room because TensorRT fuses and
# rounds differently from the simulation, and differently on every GPU (NVIDIA/TensorRT#2036).
MIN_COSINE = {"fp32": 0.999, "fp16": 0.999, "int8": 0.99}

EXAMPLE = """example, on the robot:
  reid-build market_rga_xavier
  reid-build market_rga_xavier --precision fp16 --batch 1,2,8
  reid-build market_bot_xavier --device dla0 --batch 4,4,4"""


def resolve_options(bundle: Bundle, arguments: argparse.Namespace) -> BuildOptions:
    """Fill in what the command line left open from the bundle.

    Raises:
        ReidEdgeError: A combination that cannot be built from this bundle.
    """
    manifest = bundle.manifest
    precision = manifest.precision if arguments.precision == "best" else arguments.precision
    on_dla = arguments.device != "gpu"
    batch = dict(manifest.batch)
    if arguments.batch is not None:
        batch = parse_batch(arguments.batch)
        if on_dla and batch["min"] != batch["max"]:
            raise ReidEdgeError(
                "The DLA runs one batch size only, got --batch %s; give it three times, such as "
                "--batch 4,4,4." % arguments.batch
            )
    elif on_dla:
        batch = dict.fromkeys(batch, batch["min"])
    if on_dla and precision == "fp32":
        raise ReidEdgeError(
            "The DLA computes in fp16 or int8 only, got fp32; pass --precision fp16."
        )
    if manifest.target != "xavier" and precision == "int8":
        raise ReidEdgeError(
            "Bundle %s was exported for %s, whose INT8 model TensorRT cannot run; export with "
            "--target xavier or pass --precision fp16." % (bundle.path, manifest.target)
        )
    if arguments.workspace < 1:
        raise ReidEdgeError("--workspace must be at least 1 MiB, got %d." % arguments.workspace)
    return BuildOptions(
        precision,
        arguments.device,
        batch,
        arguments.workspace,
        arguments.timing_cache,
        arguments.force,
        arguments.verbose,
    )


def parse_batch(text: str) -> Dict[str, int]:
    """Parse ``"MIN,OPT,MAX"``."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ReidEdgeError("--batch must be MIN,OPT,MAX such as 1,4,16, got %r." % text)
    batch = dict(zip(("min", "opt", "max"), (int(part) for part in parts)))
    check_batch(batch)
    return batch


def build(bundle: Bundle, options: BuildOptions) -> Dict[str, Any]:
    """Build a plan, test it, and put it with its stamp into the bundle's ``engines`` folder.

    Returns:
        A JSON-serialisable report: ``plan``, ``stamp``, ``size_bytes``, ``build_s``, ``self_test``,
        ``reformat_layers`` and ``notes``.

    Raises:
        ReidEdgeError: TensorRT is missing or cannot build this; nothing is left behind.
        VerificationError: The plan's embeddings differ from the golden ones; it was deleted.
    """
    trt = tensorrt_api.load_tensorrt()
    cuda = open_cuda()
    try:
        board = this_board(trt, cuda)
        engines = bundle.path / ENGINES_DIR
        plan = engines / ("%s-%s.plan" % (options.precision, options.device))
        if plan.exists() and not options.force and _fits(plan, board, bundle):
            raise ReidEdgeError(
                "%s already fits this board and bundle; pass --force to build it again." % plan
            )
        cache = options.timing_cache or engines / _timing_cache_name(board)
        started = time.monotonic()
        with cuda.active():
            built = build_plan(trt, bundle, options, cache)
        build_s = time.monotonic() - started
    finally:
        cuda.close()
    try:
        report = _test_and_keep(bundle, options, board, built, plan)
    except OSError as error:
        raise ReidEdgeError(
            "Cannot write to %s: %s; no plan was kept." % (engines, error.strerror or error)
        ) from None
    report["build_s"] = round(build_s, 1)
    try:
        _replace_file(cache, built.timing_cache)
    except OSError as error:  # the plan stands; only the next build starts without timings
        report["notes"].append(
            "The timing cache %s was not saved: %s." % (cache, error.strerror or error)
        )
    return report


def self_test(backend: Backend, golden: Path, precision: str) -> Dict[str, Any]:
    """Compare a backend with the bundle's golden embeddings.

    Returns:
        ``inputs`` (count), ``min_cosine``, ``mean_cosine`` and ``threshold``.

    Raises:
        ReidEdgeError: The golden file cannot be read or has no embeddings for this precision.
        VerificationError: A cosine is below MIN_COSINE.
    """
    key = "embedding_int8" if precision == "int8" else "embedding_fp32"
    try:
        with np.load(str(golden), allow_pickle=False) as data:
            inputs, expected = data["inputs"], data[key]
    except (OSError, ValueError, KeyError) as error:
        raise ReidEdgeError(
            "%s must hold inputs and %s (%s); export the bundle again." % (golden, key, error)
        ) from None
    got = backend.run(np.ascontiguousarray(inputs, np.float32))
    cosines = (l2_normalize(got) * l2_normalize(expected)).sum(axis=1)
    threshold = MIN_COSINE[precision]
    if not cosines.min() >= threshold:  # also catches NaN
        raise VerificationError(
            "The plan failed its self-test: cosine to the golden %s embeddings is %.4f at worst, "
            "expected at least %g; the plan was deleted, try --precision fp16 or export again."
            % (key.split("_")[1], cosines.min(), threshold)
        )
    return {
        "inputs": len(cosines),
        "min_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
        "threshold": threshold,
    }


def _test_and_keep(bundle, options, board, built: BuiltPlan, plan):
    """Write the plan beside its place, test it there, and move it only when it passed."""
    engines = plan.parent
    engines.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=str(engines)))
    try:
        candidate = scratch / plan.name
        candidate.write_bytes(built.plan)
        stamp = EngineStamp(
            precision=options.precision,
            device=options.device,
            batch=built.batch,
            onnx_file=built.onnx.relative_to(bundle.path).as_posix(),
            onnx_sha256=file_sha256(built.onnx),
            plan_sha256=file_sha256(candidate),
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **asdict(board),
        )
        stamp_path(candidate).write_text(stamp.to_json(), encoding="utf-8")
        backend = TensorRTBackend(candidate, bundle)
        with backend:
            reformats = backend.layer_reformats()
            result = self_test(backend, bundle.find("golden"), options.precision)
        # Stamp first: a plan beside a stamp that is not its own is refused, never run.
        os.replace(str(stamp_path(candidate)), str(stamp_path(plan)))
        os.replace(str(candidate), str(plan))
    finally:
        shutil.rmtree(str(scratch), ignore_errors=True)
        if not any(engines.iterdir()):
            engines.rmdir()
    return {
        "plan": str(plan),
        "size_bytes": len(built.plan),
        "stamp": asdict(stamp),
        "self_test": result,
        "reformat_layers": reformats,
        "notes": built.notes,
    }


def _fits(plan, board: Board, bundle):
    try:
        check_plan(plan, board, bundle)
    except ReidEdgeError:
        return False
    return True


def _timing_cache_name(board):
    device = re.sub(r"[^A-Za-z0-9.]+", "-", "%s-sm%s" % (board.device_name, board.sm))
    return "timing-%s-trt%s.cache" % (device, board.tensorrt)


def _replace_file(path, data):
    scratch = path.with_name(path.name + ".tmp")
    try:
        scratch.write_bytes(data)
        os.replace(str(scratch), str(path))
    finally:
        if scratch.exists():
            scratch.unlink()


def _parser():
    parser = argparse.ArgumentParser(
        prog="reid-build",
        description="Build a bundle's TensorRT plan on this board and test it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="directory from reid-export")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS + ("best",),
        default="best",
        help="best (default) is what the bundle was exported for; int8 allows fp16 as well",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="gpu",
        help="dla0 and dla1 run on a deep learning accelerator and fall back to the GPU where needed",
    )
    parser.add_argument(
        "--workspace", type=int, default=1024, metavar="MIB", help="scratch memory (default 1024)"
    )
    parser.add_argument(
        "--batch", metavar="MIN,OPT,MAX", help="batch sizes (default: those of the bundle)"
    )
    parser.add_argument(
        "--timing-cache",
        type=Path,
        metavar="F",
        help="kernel timings to reuse and update (default: one per device and version in the bundle)",
    )
    parser.add_argument("--force", action="store_true", help="replace a plan that already fits")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show TensorRT's messages")
    return parser


def _print_report(report):
    test, stamp = report["self_test"], report["stamp"]
    reformats = report["reformat_layers"]
    print("plan            %s (%.1f MiB)" % (report["plan"], report["size_bytes"] / 2.0**20))
    print("built           in %.1f s with TensorRT %s" % (report["build_s"], stamp["tensorrt"]))
    print("board           %s, SM %s" % (stamp["device_name"], stamp["sm"]))
    print("power mode      %s" % (stamp["power_mode"] or "unknown (no nvpmodel)"))
    print(
        "self-test       cosine min %.5f, mean %.5f over %d inputs (needs %g)"
        % (test["min_cosine"], test["mean_cosine"], test["inputs"], test["threshold"])
    )
    print("reformats       %s" % ("unknown (no inspector)" if reformats is None else reformats))
    for note in report["notes"]:
        print("note            %s" % note)
    print("The runtime uses this plan from now on when it opens the bundle.")


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, stream=sys.stderr
    )
    try:
        bundle = Bundle.open(arguments.bundle)
        options = resolve_options(bundle, arguments)
        print(
            "Building %s for %s; on a Xavier this takes minutes."
            % (options.precision, options.device),
            file=sys.stderr,
        )
        report = build(bundle, options)
    except ReidEdgeError as error:
        print("reid-build: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-build: interrupted; no plan was kept.", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(report, indent=2, sort_keys=True))
    else:
        _print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
