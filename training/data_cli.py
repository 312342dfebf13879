"""``reid-train data``: CUHK03's MATLAB file in, a folder to train and evaluate on out; ``--check``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from runtime.errors import ReidEdgeError
from training import check_cli

_EPILOG = """examples:
  reid-train data cuhk-03.mat --kind labeled --out cuhk03-np \\
      --protocol cuhk03_new_protocol_config_labeled.mat
      767 people to train on, 700 to test on; then reid-train --data cuhk03-np/labeled ...
  reid-train data cuhk-03.mat --kind detected --split 0 --out cuhk03-classic
      the first of the twenty classic splits
  reid-train data --check my_people/
      what a training folder holds and what is wrong with it (--check . --help for its options)

exit status: 0 done, 2 the input cannot be used, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-train data",
        description="Write CUHK03 as a folder with bounding_box_train, query and bounding_box_test; or "
        "check any training folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("source", type=Path, help="cuhk-03.mat, or a folder of CUHK03's own images")
    p.add_argument("--kind", required=True, help="boxes: labeled (by hand) or detected")
    p.add_argument("--protocol", type=Path, metavar="MAT", help="the new protocol's file")
    p.add_argument("--split", type=int, metavar="N", help="or a classic split, from 0")
    p.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="the folder KIND is made in it"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if any(word.partition("=")[0] == "--check" for word in argv):
        return check_cli.main(argv)
    arguments = parser().parse_args(argv)
    # Imported here so that --help and usage errors need neither h5py nor scipy.
    from training.cuhk03 import extract_cuhk03

    def bar(label: str, total: int) -> tqdm:
        return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)

    try:
        made = extract_cuhk03(
            arguments.source,
            arguments.protocol,
            arguments.out,
            arguments.kind,
            split=arguments.split,
            progress=bar,
        )
    except ReidEdgeError as error:
        print(f"reid-train data: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-train data: interrupted; nothing was written.", file=sys.stderr)
        return 130
    print(f"{made}\nnext: reid-train --recipe bot --data {made} --eval {made} --out runs/cuhk03")
    return 0
