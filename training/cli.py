"""``reid-train``: a recipe and a folder of people in, a network for ``reid-export`` out."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.errors import ReidEdgeError
from training import data_cli, qat_cli
from training.said import JUDGED, accuracy_of

_EPILOG = """examples:
  reid-train --recipe bot --data market1501 --eval market1501 --out runs/bot
      Bag of Tricks on ResNet-50, judged every few epochs
  reid-train --recipe small --teacher osnet_x0_25.pth --data market1501 --out runs/small
      the small default network, taught by a larger one
  reid-train --recipe finetune --init default --data my_people --out runs/mine
      fit a trained network to your own people, one folder per person; also --init best.pth
  reid-train --resume --out runs/bot
      go on with an interrupted run, as it was started
  torchrun --nproc_per_node 4 -m training.cli --recipe rga --data msmt17 --out runs/rga
      four GPUs

CUHK03 comes as a MATLAB file; `reid-train data` makes a folder of it (reid-train data --help).

exit status: 0 done, 2 the input cannot be used, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-train",
        description="Train a person re-identification network by a recipe.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--recipe", metavar="NAME", help="a shipped recipe (--recipes) or a .yaml file")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="FIELD=VALUE",
        help="change a field of the recipe, e.g. schedule.epochs=20; repeatable",
    )
    p.add_argument("--recipes", action="store_true", help="list the shipped recipes and exit")
    p.add_argument("--fields", action="store_true", help="explain every recipe field and exit")
    data = p.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="DIR", help="training set")
    data.add_argument("--layout", help="its layout, where it is not recognised")
    data.add_argument("--views", type=Path, metavar="CSV", help="view labels: lines path,view")
    data.add_argument("--eval", type=Path, metavar="DIR", help="evaluation set: mAP and Rank-k")
    data.add_argument(
        "--protocol", type=Path, metavar="MAT", help="new protocol of CUHK03 under its own names"
    )
    data.add_argument(
        "--include-val", action="store_true", help="MSMT17: also train on its validation images"
    )
    data.add_argument(
        "--identities", type=int, metavar="N", help="train on the first N people only, for trials"
    )
    data.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be decoded"
    )
    start = p.add_argument_group("other networks")
    start.add_argument(
        "--init",
        metavar="FILE|default",
        help="weights to start from; the word default: the network that comes with reid-edge",
    )
    start.add_argument("--init-arch", metavar="NAME", help="their architecture, if not recognised")
    start.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read --init and --teacher that are whole pickled objects; this runs code in them",
    )
    start.add_argument(
        "--teacher", metavar="FILE|default", help="network to learn from; default as above"
    )
    start.add_argument("--teacher-arch", metavar="NAME", help="its architecture, if not recognised")
    run = p.add_argument_group("run")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run; default: runs/NAME"
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run in --out; nothing else need be given",
    )
    run.add_argument("--device", help="cpu, cuda, cuda:1; default: cuda where there is one")
    run.add_argument(
        "--threads", type=_positive, metavar="N", help="CPU threads; default: all cores"
    )
    run.add_argument("--json", action="store_true", help="print the run's record as JSON")
    return p


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["data"]:
        return data_cli.main(argv[1:])
    if argv[:1] == ["qat"]:
        return qat_cli.main(argv[1:])
    p = parser()
    arguments = p.parse_args(argv)
    _show_log(sys.stderr.isatty())
    try:
        if arguments.recipes or arguments.fields:
            print(_recipes() if arguments.recipes else _fields())
            return 0
        if arguments.resume and arguments.out is None and arguments.recipe is None:
            p.error("--resume needs --out, the folder of the run")
        for name in () if arguments.resume else ("recipe", "data"):
            if getattr(arguments, name) is None:
                p.error(f"--{name} is required")
        if (text := _train(arguments)) is not None:
            print(text)
    except ReidEdgeError as error:
        print(f"reid-train: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stopped:
        # Without a folder in it, it came before there was anything to continue.
        out = stopped.args[0] if stopped.args else None
        print(
            f"reid-train: interrupted; continue with reid-train --resume --out {out}"
            if out
            else "reid-train: interrupted before anything was saved; run the same command again.",
            file=sys.stderr,
        )
        return 130
    return 0


def _show_log(terminal: bool) -> None:
    """The progress bar is for terminals, and figures go above it; a log gets a line per epoch."""
    handler = _AboveBar(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("training").setLevel(JUDGED if terminal else logging.INFO)


class _AboveBar(logging.StreamHandler):
    """Lines that leave a progress bar on the same terminal whole."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=self.stream)


def _train(arguments: argparse.Namespace) -> str | None:
    """Train and return what to print, which only the first of several processes does."""
    # Imported here so that --help and usage errors need no torch.
    from training.request import request
    from training.run import train
    from training.trainer import Interrupted

    options = request(arguments)
    try:
        record = train(options, _bar, lambda line: print(line, file=sys.stderr))
    except (Interrupted, KeyboardInterrupt):
        kept = (options.out / "state.pt").exists()
        raise KeyboardInterrupt(*([options.out] if kept else [])) from None
    if record is None:
        return None
    if arguments.json:
        return json.dumps({**record, "out": str(options.out)})
    return _summary(record, options.out)


def _summary(record: dict[str, Any], out: Path) -> str:
    last = record["last"]
    judged = f", {accuracy_of(last)}" if "mAP" in last else ""
    best = out / "best.pth"
    weights = best if best.exists() else out / "last.pth"
    return (
        f"{record['arch']}: {record['epochs_done']} epochs in {record['hours']:.2f} h, loss "
        f"{last['total_loss']:.3f}{judged}\n"
        f"{_compared(record)}"
        f"curves: {out / 'curves.png'}\n"
        f"next:   reid-export --target xavier --weights {weights} --calib DIR"
    )


def _compared(record: dict[str, Any]) -> str:
    """Whether training made the network better that it started from, where both were judged."""
    if "start" not in record:
        return ""
    start, best = record["start"], record["best_mAP"]
    if record["best_epoch"] == 0:
        return (
            f"best:   the start itself, {accuracy_of(start)}: training did not improve on it; try "
            "a lower optimizer.learning_rate or more people\n"
        )
    return (
        f"best:   epoch {record['best_epoch']} with mAP {best:.2f}; the start had "
        f"{accuracy_of(start)}\n"
    )


def _recipes() -> str:
    from training.recipe import descriptions

    return "\n".join(f"{name}: {text}" for name, text in descriptions().items())


def _fields() -> str:
    from training.recipe import fields

    return "\n".join(f"{name} ({default})\n    {text}" for name, default, text in fields())


def _assignment(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {text!r}")
    return name, value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _bar(label: str, total: int) -> tqdm:
    """A progress bar on stderr with the time left, shown only on a terminal."""
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)


if __name__ == "__main__":
    sys.exit(main())
