"""``reid-export``: a trained checkpoint in, a verified bundle out."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.errors import ReidEdgeError

_EPILOG = """examples:
  reid-export --target xavier
      the built-in demonstration network; needs no weights and no data
  reid-export --target xavier --weights osnet_x0_25.pth --calib market1501 --eval market1501
      your checkpoint, INT8 ranges from its training crops, mAP against fp32
  reid-export --target cpu --weights rga.pth --calib crops/ --precision auto --eval market1501
      INT8 with the fewest layers in float that keep the mAP drop below --max-map-drop
  reid-export --target x3 --weights osnet_x0_25.pth --calib market1501 --eval market1501
      everything hb_mapper needs, and what the board will make of it
  reid-export --target x3 --check-only model.onnx
      where each node of any ONNX file runs on the X3, and why

exit status: 0 done, 2 the input cannot be used, 3 a stage failed its check, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-export",
        description="Turn a trained ReID checkpoint into a verified, calibrated bundle for a board.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--target", required=True, help="xavier (TensorRT), x3 (Horizon BPU) or cpu (ONNX Runtime)"
    )
    network = p.add_argument_group("network")
    network.add_argument(
        "--weights", type=Path, metavar="FILE", help="checkpoint; default: the built-in network"
    )
    network.add_argument(
        "--arch", help="architecture, where keys and shapes do not tell, or to confirm it"
    )
    network.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also read pickled objects: RUNS CODE from the file",
    )
    network.add_argument("--height", type=int, help="input height in pixels; default: the family's")
    network.add_argument("--width", type=int, help="input width in pixels; default: the family's")
    network.add_argument("--feature", choices=("before_neck", "after_neck"), help="which embedding")
    network.add_argument(
        "--last-stride", type=int, choices=(1, 2), help="stride of ResNet's layer4"
    )
    network.add_argument(
        "--stem-relu",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether a ReLU follows ResNet's first BatchNorm; default: as the family trains",
    )
    network.add_argument("--pool", help="pooling of fast-reid heads: avg, max or gem")
    network.add_argument(
        "--gem-p", type=float, metavar="P", help="exponent of a GeM pooling with none stored"
    )
    network.add_argument(
        "--rga-form",
        choices=("reassociated", "original"),
        default="reassociated",
        help="default: %(default)s",
    )
    network.add_argument(
        "--color", choices=("RGB", "BGR"), help="channel order the network was trained on"
    )
    network.add_argument(
        "--resize", choices=("bilinear", "bicubic", "area"), help="interpolation of crops"
    )
    network.add_argument(
        "--mean", type=_triple, metavar="R,G,B", help="per channel, on scaled pixels"
    )
    network.add_argument(
        "--std", type=_triple, metavar="R,G,B", help="per channel, on scaled pixels"
    )
    calib = p.add_argument_group("calibration")
    calib.add_argument(
        "--calib", type=Path, metavar="DIR", help="folder of training crops (any ReID layout)"
    )
    calib.add_argument(
        "--calib-count",
        type=int,
        metavar="N",
        help="crops to use (default: 512, for x3 100)",
    )
    calib.add_argument(
        "--calib-select",
        default="coverage",
        help="random, identity or coverage (default: %(default)s)",
    )
    calib.add_argument(
        "--calib-method",
        default="auto",
        help="auto, minmax, percentile, entropy, entropy-mlperf or mse",
    )
    calib.add_argument(
        "--ranges",
        type=Path,
        metavar="FILE",
        help="calibration table to take ranges from, as quantization-aware training writes it; "
        "nothing is calibrated or improved then",
    )
    calib.add_argument(
        "--calib-jitter", action="store_true", help="shift and scale crops as a detector would"
    )
    judge = p.add_argument_group("precision and accuracy")
    judge.add_argument(
        "--precision", default="int8", help="fp32, fp16, int8 or auto (default: %(default)s)"
    )
    judge.add_argument(
        "--eval", type=Path, metavar="DIR", help="evaluation set: mAP and Rank-k of each precision"
    )
    judge.add_argument(
        "--max-map-drop",
        type=float,
        default=0.3,
        metavar="X",
        help="points auto may lose (default: %(default)s)",
    )
    judge.add_argument(
        "--improve", default="auto", help="auto, none, bias or distill (default: %(default)s)"
    )
    x3 = p.add_argument_group("Horizon X3")
    x3.add_argument(
        "--board-input",
        default="nv12",
        help="what the board feeds: nv12, rgb, bgr or featuremap (default: %(default)s)",
    )
    x3.add_argument(
        "--calibration-type",
        default="default",
        help="hb_mapper's: default, mix, kl or max (default: %(default)s)",
    )
    x3.add_argument(
        "--x3-layout",
        default="bpu",
        help="RGA's changes of layout: bpu (Split and Concat, nothing on the CPU) or cpu (five "
        "Reshape and Transpose per module there) (default: %(default)s)",
    )
    x3.add_argument(
        "--check-only",
        type=Path,
        metavar="ONNX",
        help="only say where each node of an ONNX file would run",
    )
    x3.add_argument(
        "--detector",
        type=Path,
        metavar="ONNX",
        help="export a person detector instead, calibrated on the camera frames in --calib",
    )
    x3.add_argument(
        "--fold",
        type=Path,
        metavar="BUNDLE",
        help="only take the result of x3/build.sh into its bundle",
    )
    out = p.add_argument_group("output")
    out.add_argument(
        "--batch",
        type=_batch,
        metavar="MIN,OPT,MAX",
        help="batch sizes (default: 1,4,16; for x3 1,1,1)",
    )
    out.add_argument(
        "--out", type=Path, metavar="DIR", help="bundle directory; default: bundles/NAME_TARGET"
    )
    out.add_argument("--force", action="store_true", help="replace an existing bundle")
    out.add_argument(
        "--seed", type=int, default=0, help="of every random choice (default: %(default)s)"
    )
    out.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: all cores")
    out.add_argument(
        "--json", action="store_true", help="print one JSON object instead of the table"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    arguments = vars(parser().parse_args(argv))
    as_json = arguments.pop("json")
    only = {name: arguments.pop(name) for name in ("check_only", "fold", "detector")}
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    try:
        if any(only.values()):
            return _x3_only(arguments, only, as_json)
        print(_export(arguments, as_json))
    except ReidEdgeError as error:
        print("reid-export: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-export: interrupted; nothing was written.", file=sys.stderr)
        return 130
    except MemoryError:
        print("reid-export: out of memory; use fewer --calib-count crops.", file=sys.stderr)
        return 2
    return 0


def _export(arguments: dict[str, Any], as_json: bool) -> str:
    """Export, write, and return what to print."""
    # Imported here so that --help and usage errors need no torch.
    from export.options import ExportOptions
    from export.pipeline import export
    from export.report import summary
    from export.write import write
    from runtime.bundle import Bundle

    options = ExportOptions(**arguments)
    if options.target == "x3":
        from export.x3.export import export_x3
        from export.x3.write import write_x3

        destination, report = write_x3(export_x3(options, _bar))
    else:
        destination, report = write(export(options, _bar))
    files = Bundle.open(destination).manifest.files
    if as_json:
        return json.dumps({**report, "bundle": str(destination), "files": files})
    return summary(report, files, str(destination))


def _x3_only(arguments: dict[str, Any], only: dict[str, Path | None], as_json: bool) -> int:
    """``--check-only``, ``--fold`` and ``--detector``: no ReID network is exported."""
    if arguments["target"] != "x3" or sum(value is not None for value in only.values()) > 1:
        raise ReidEdgeError(
            "--check-only, --fold and --detector are for --target x3, one at a time; got target %s."
            % arguments["target"]
        )
    if only["detector"]:
        return _detector(only["detector"], arguments, as_json)
    if only["fold"]:
        from export.x3.fold import fold

        toolchain = fold(only["fold"])["x3"]["toolchain"]
        print(json.dumps(toolchain, indent=None if as_json else 2))
        return 0 if toolchain["success"] else 3
    from export.onnx_file import read_onnx
    from export.x3.checker import check_model

    assert only["check_only"] is not None
    report = check_model(read_onnx(only["check_only"]))
    print(json.dumps(report.to_dict()) if as_json else report.text())
    return 0 if report.ok else 3


def _detector(path: Path, arguments: dict[str, Any], as_json: bool) -> int:
    from export.x3.detector import export_detector, summary

    if arguments["calib"] is None:
        raise ReidEdgeError(
            "A detector is calibrated on camera frames; pass --calib FOLDER of pictures."
        )
    result = export_detector(
        path,
        arguments["calib"],
        arguments["out"] or Path("bundles") / ("%s_x3" % path.stem),
        board_input=arguments["board_input"],
        calibration_type=arguments["calibration_type"],
        force=arguments["force"],
    )
    folder = str(result.folder)
    print(json.dumps({**result.record, "folder": folder}) if as_json else summary(result))
    return 0


def _bar(label: str, total: int) -> tqdm:
    """A progress bar on stderr, shown only on a terminal."""
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)


def _batch(text: str) -> dict[str, int]:
    try:
        low, opt, high = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            "expected MIN,OPT,MAX like 1,4,16, got %r" % text
        ) from None
    return {"min": low, "opt": opt, "max": high}


def _triple(text: str) -> tuple[float, ...]:
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            "expected three numbers like 0.485,0.456,0.406, got %r" % text
        ) from None
    return first, second, third


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
