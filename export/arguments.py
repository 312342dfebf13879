"""The options of ``reid-export``."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """examples:
  reid-export --target xavier
      the built-in demonstration network; needs no weights and no data
  reid-export --target xavier --weights osnet_x0_25.pth --calib market1501 --eval market1501
      your checkpoint, INT8 ranges from its training crops, mAP against fp32
  reid-export --target cpu --weights rga.pth --calib crops/ --precision auto --eval market1501
      INT8 with the fewest layers in float that keep the mAP drop below --max-map-drop
  reid-export --target x3 --weights osnet_x0_25.pth --calib market1501 --eval market1501
      everything hb_mapper needs, and what the board will make of it
  reid-export --target x3 --detector FastestDet.onnx --calib frames/
      the same for a person detector, calibrated on pictures of the robot's camera
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
        "--max-percentile",
        type=float,
        metavar="P",
        help="share of values kept, with --calibration-type max, such as 0.9999",
    )
    x3.add_argument(
        "--core-num",
        type=int,
        default=1,
        help="BPU cores for one run, 1 or 2 (default: %(default)s)",
    )
    x3.add_argument(
        "--optimize-level", default="O3", help="hb_mapper's: O0 to O3 (default: %(default)s)"
    )
    x3.add_argument(
        "--layer-times",
        action="store_true",
        help="let hb_perf report the time of each layer (hb_mapper's debug; a larger .bin)",
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
        "--detector-kind", metavar="KIND", help="its kind, where the outputs do not tell"
    )
    x3.add_argument(
        "--fold",
        type=Path,
        metavar="FOLDER",
        help="only take the result of build.sh into its bundle or detector",
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
