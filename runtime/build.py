"""reid-build: on the board, from ONNX to a TensorRT plan that passed its self-test."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from runtime import tensorrt_api
from runtime.backends.base import Backend
from runtime.backends.tensorrt import TensorRTBackend
from runtime.bundle import ENGINES_DIR, Bundle
from runtime.detector_build import BATCH, build_detector, choose_precision
from runtime.engine_stamp import check_plan
from runtime.errors import ReidEdgeError, VerificationError
from runtime.manifest import PRECISIONS, check_batch
from runtime.plan_builder import DEVICES, BuildOptions, build_plan
from runtime.plan_store import make_plan
from runtime.preprocess import l2_normalize

# Smallest cosine between an embedding of the plan and the golden one that was made on the workstation
# in the same precision (fp16 is held against fp32). INT8 has more room because TensorRT fuses and
# rounds differently from the simulation, and differently on every GPU (NVIDIA/TensorRT#2036).
MIN_COSINE = {"fp32": 0.999, "fp16": 0.999, "int8": 0.99}

EXAMPLE = """example, on the robot:
  reid-build market_rga_xavier
  reid-build market_rga_xavier --precision fp16 --batch 1,2,8
  reid-build market_bot_xavier --device dla0 --batch 4,4,4
  reid-build --detector yolox_nano.onnx"""


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
    return _options(precision, batch, arguments)


def resolve_detector_options(arguments: argparse.Namespace) -> BuildOptions:
    """What the command line asks for a detector.

    Raises:
        ReidEdgeError: Arguments that are for bundles only, a precision that a detector cannot be
            built in, or TensorRT is missing, which decides the precision.
    """
    if arguments.batch is not None:
        raise ReidEdgeError(
            "A detector runs one image at a time, got --batch %s; leave it out." % arguments.batch
        )
    flags = tensorrt_api.has_precision_flags(tensorrt_api.load_tensorrt())
    precision = choose_precision(arguments.precision, arguments.device, flags)
    return _options(precision, dict(BATCH), arguments)


def _options(precision, batch, arguments):
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

    def test(candidate: Path) -> Dict[str, Any]:
        backend = TensorRTBackend(candidate, bundle)
        with backend:
            return {
                "reformat_layers": backend.layer_reformats(),
                "self_test": self_test(backend, bundle.find("golden"), options.precision),
            }

    return make_plan(
        bundle.path / ENGINES_DIR / ("%s-%s.plan" % (options.precision, options.device)),
        options,
        onnx_folder=bundle.path,
        with_outputs=False,
        build=lambda trt, cache: build_plan(trt, bundle, options, cache),
        fits=lambda plan, board: check_plan(plan, board, bundle),
        test=test,
    )


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


def _parser():
    parser = argparse.ArgumentParser(
        prog="reid-build",
        description="Build the TensorRT plan of a bundle, or of a person detector, on this board and "
        "test it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundle", type=Path, nargs="?", metavar="BUNDLE", help="directory from reid-export"
    )
    parser.add_argument(
        "--detector", type=Path, metavar="ONNX", help="build this person detector instead"
    )
    parser.add_argument(
        "--detector-kind", metavar="KIND", help="its kind, where the outputs do not tell"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the detector's plan goes (default: beside it)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS + ("best",),
        default="best",
        help="best (default) is what the bundle was exported for, and fp16 for a detector; int8 "
        "allows fp16 as well",
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
        help="kernel timings to reuse and update (default: one per device and version with the plan)",
    )
    parser.add_argument("--force", action="store_true", help="replace a plan that already fits")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show TensorRT's messages")
    return parser


def _print_report(report):
    test, stamp, detector = report["self_test"], report["stamp"], report.get("detector")
    reformats = report["reformat_layers"]
    print("plan            %s (%.1f MiB)" % (report["plan"], report["size_bytes"] / 2.0**20))
    print("built           in %.1f s with TensorRT %s" % (report["build_s"], stamp["tensorrt"]))
    print("board           %s, SM %s" % (stamp["device_name"], stamp["sm"]))
    print("power mode      %s" % (stamp["power_mode"] or "unknown (no nvpmodel)"))
    if detector is not None:
        print("detector        %s, %d x %d" % (detector["kind"], *detector["input_size"]))
    print("self-test       %s" % _self_test_line(test))
    print("reformats       %s" % ("unknown (no inspector)" if reformats is None else reformats))
    for note in report["notes"]:
        print("note            %s" % note)
    if detector is None:
        print("The runtime uses this plan from now on when it opens the bundle.")
    else:
        print("Give this plan wherever a detector is asked for: --detector %s" % report["plan"])


def _self_test_line(test):
    if test is None:
        return "not compared, see the note"
    if "inputs" in test:
        return "cosine min %.5f, mean %.5f over %d inputs (needs %g)" % (
            test["min_cosine"], test["mean_cosine"], test["inputs"], test["threshold"]
        )  # fmt: skip
    return "scores' cosine %.5f (needs %g), boxes' overlap %.3f (needs %g), on %d drawn pictures" % (
        test["min_cosine"], test["cosine_needed"], test["min_overlap"], test["overlap_needed"],
        test["pictures"],
    )  # fmt: skip


def _build(arguments):
    onnx = arguments.detector
    if (arguments.bundle is None) == (onnx is None):
        raise ReidEdgeError(
            "reid-build takes a bundle or --detector ONNX, got %s; give one of them."
            % ("neither" if onnx is None else "both")
        )
    if onnx is None and (arguments.out is not None or arguments.detector_kind is not None):
        raise ReidEdgeError(
            "--out and --detector-kind are for --detector; a bundle keeps its plan inside."
        )
    bundle = None if onnx is not None else Bundle.open(arguments.bundle)
    if bundle is None:
        options = resolve_detector_options(arguments)
    else:
        options = resolve_options(bundle, arguments)
    print(
        "Building %s for %s; on a Xavier this takes minutes." % (options.precision, options.device),
        file=sys.stderr,
    )
    if bundle is not None:
        return build(bundle, options)
    folder = onnx.parent if arguments.out is None else arguments.out
    return build_detector(onnx, options, folder, arguments.detector_kind)


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, stream=sys.stderr
    )
    try:
        report = _build(arguments)
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
