"""``reid-train qat``: a trained network in, one that loses less in INT8 and its ranges out."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.errors import ReidEdgeError
from training.arguments import not_negative, positive
from training.signals import stopped_by_signals

SATURATED = 99.0  # mAP in percent: next to nothing left to gain

_EPILOG = """examples:
  reid-train qat --weights runs/small/last.pth --data market1501 --out runs/small_qat
      three epochs towards the network's own float embeddings; labels are not read
  reid-train qat --weights runs/bot/best.pth --data my_people/ --labels --out runs/bot_qat
      hard triplets of the training identities as well; some people are held out to judge by
  reid-train qat --weights runs/bot/best.pth --data market1501 --labels --eval market1501 \\
      --out runs/bot_qat
      the same, judged on the set's own queries and gallery
  reid-export --target xavier --weights runs/small_qat/qat.pth --ranges runs/small_qat/qat.ranges.json
      the result on the board

The quantized network is scored before the first epoch and behind each, and the best is kept: with
--eval by mAP there, else with --labels by mAP on one in five people (4 to 100, at most half), drawn
by --seed and held out, else by its cosine to the float network on calibration crops. People whom the
network was trained on before are told apart too easily to judge by: give --eval then.

Rounding is simulated where reid-export puts it. For cpu, export leaves layers in float where that is
faster: this is timed here, stored with the ranges, and reid-export --ranges takes it from there.
x3 is no target: the X3's toolchain (hb_mapper) finds its ranges itself and takes none from outside.

exit status: 0 done, 2 the input cannot be used, 3 a result failed its check, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-train qat",
        description="Fine-tune a network with INT8 simulated where reid-export will put it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--weights", type=Path, required=True, metavar="FILE", help="checkpoint")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    p.add_argument(
        "--target", default="xavier", help="xavier or cpu, not x3 (default: %(default)s)"
    )
    data = p.add_argument_group("data")
    data.add_argument("--data", type=Path, required=True, metavar="DIR", help="training set")
    data.add_argument("--layout", help="its layout, where it is not recognised")
    data.add_argument(
        "--protocol", type=Path, metavar="MAT", help="new protocol of CUHK03 under its own names"
    )
    data.add_argument(
        "--include-val", action="store_true", help="MSMT17: also train on its validation images"
    )
    data.add_argument(
        "--identities", type=positive, metavar="N", help="use the first N people only, for trials"
    )
    data.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be decoded"
    )
    data.add_argument(
        "--eval", type=Path, metavar="DIR", help="evaluation set: epochs are judged by mAP there"
    )
    how = p.add_argument_group("fine-tuning")
    how.add_argument("--labels", action="store_true", help="also learn identities: hard triplets")
    how.add_argument(
        "--persons",
        type=positive,
        metavar="N",
        help="people per batch with --labels; default: 8, or all where there are fewer",
    )
    how.add_argument(
        "--images",
        type=positive,
        metavar="N",
        help="images of each of them per batch; default: 4",
    )
    how.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="images per batch without --labels; default: 32, or all where there are fewer",
    )
    how.add_argument("--epochs", type=int, default=3, metavar="N", help="default: %(default)s")
    how.add_argument(
        "--crops", type=positive, metavar="N", help="images per epoch; default: all of the set"
    )
    how.add_argument(
        "--learning-rate",
        type=float,
        default=1e-4,
        metavar="R",
        help="peak, relative to each tensor's size (default: %(default)s)",
    )
    run = p.add_argument_group("run")
    run.add_argument("--seed", type=not_negative, default=0, metavar="N", help="default: 0")
    run.add_argument("--device", help="cpu, cuda, cuda:1; default: cuda where there is one")
    run.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads; default: all cores"
    )
    run.add_argument("--json", action="store_true", help="print the record as JSON")
    return p


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        with stopped_by_signals(_interrupt):
            record = _qat(arguments)
    except ReidEdgeError as error:
        print(f"reid-train qat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-train qat: interrupted; nothing was written.", file=sys.stderr)
        return 130
    print(json.dumps(record) if arguments.json else _summary(record, arguments))
    return 0


def _interrupt() -> None:
    raise KeyboardInterrupt


def _qat(arguments: argparse.Namespace) -> dict[str, Any]:
    # Imported here so that --help and usage errors need no torch.
    from training.qat_run import finetune
    from training.qat_settings import QatSettings

    given = {k: v for k, v in vars(arguments).items() if k not in ("json", "eval")}
    settings = QatSettings(**given, evaluation=arguments.eval)
    return finetune(settings, _bar, lambda line: print(line, file=sys.stderr))


def _summary(record: dict[str, Any], arguments: argparse.Namespace) -> str:
    reasons: dict[str, int] = {}
    for reason in record["frozen"].values():
        reasons[reason] = reasons.get(reason, 0) + 1
    lines = [record["summary"], f"score: {record['judge']}"]
    if record["float_score"] is not None:
        lines[-1] += f"; the float network has {record['float_score']:.6g}"
        if record["scores"][0] > SATURATED and not record["kept_epoch"]:
            lines.append(
                "These people are told apart from the start, as those are whom the network was "
                "trained on before: give --eval DIR with others, or the score shows no gain."
            )
    lines += [f"{count} layers were not trained: {reason}" for reason, count in reasons.items()]
    lines.append(
        "next: "
        + shlex.join(
            ["reid-export", "--target", record["target"], "--weights", record["weights"]]
            + ["--ranges", record["ranges"], "--calib", str(arguments.data)]
        )
    )
    return "\n".join(lines)


def _bar(label: str, total: int) -> tqdm:
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)
