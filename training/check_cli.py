"""``reid-train data --check``: what a training folder holds and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.errors import ReidEdgeError
from training.data import TrainingSet, limit_identities, open_training_set, require_pairs
from training.image_check import shared_images, unreadable_images

_EPILOG = """examples:
  reid-train data --check my_people/
      people, images, cameras, views, and every file with which something is wrong
  reid-train data --check my_people/ --images 4 --json

exit status: 0 nothing is wrong, 2 the folder cannot be trained on, 3 files have problems, or too
few people have two images, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-train data",
        description="Read every training image and report, without training.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--check", type=Path, metavar="DIR", required=True, help="training set")
    p.add_argument("--layout", help="its layout, where it is not recognised")
    p.add_argument("--views", type=Path, metavar="CSV", help="view labels: lines path,view")
    p.add_argument(
        "--protocol", type=Path, metavar="MAT", help="new protocol of CUHK03 under its own names"
    )
    p.add_argument("--include-val", action="store_true", help="MSMT17: with its validation images")
    p.add_argument("--identities", type=int, metavar="N", help="the first N people only")
    p.add_argument(
        "--images",
        type=_positive,
        default=4,
        metavar="K",
        help="images of each person per batch, sampler.images of the recipe; default: 4",
    )
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    return p


def main(argv: list[str]) -> int:
    arguments = parser().parse_args(argv)
    try:
        found, refusal = _checked(arguments)
    except ReidEdgeError as error:
        print(f"reid-train data: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-train data: interrupted.", file=sys.stderr)
        return 130
    facts = _facts(found, arguments.images)
    if refusal:
        facts["problems"].append(refusal)
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        print(_text(found, facts, arguments.images))
    return 3 if facts["problems"] else 0


def _checked(arguments: argparse.Namespace) -> tuple[TrainingSet, str | None]:
    """The set with all problems of its files, and why a run by pairs would refuse it."""
    found = open_training_set(
        arguments.check,
        layout=arguments.layout,
        include_val=arguments.include_val,
        protocol=arguments.protocol,
        views=arguments.views,
    )
    if arguments.identities is not None:
        found = limit_identities(found, arguments.identities)
    unreadable = unreadable_images(found.crops, _bar)
    readable = [crop for crop in found.crops if crop.path not in unreadable]
    found = found.with_problems([*unreadable.values(), *shared_images(readable, _bar)])
    try:
        found = found.reduced(readable, "that cannot be read")
        if arguments.images > 1:
            require_pairs(found)
    except ReidEdgeError as error:
        return found, str(error)
    return found, None


def _facts(found: TrainingSet, images: int) -> dict[str, Any]:
    few = {name: count for name, count in found.images_per_person().items() if count < images}
    return {
        **found.record(),
        "fewer_images_than": images,
        "people_with_fewer_images": few,
        "problems": list(found.problems),
    }


def _text(found: TrainingSet, facts: dict[str, Any], images: int) -> str:
    lines = [replace(found, problems=()).report(images)]  # they follow, all of them
    if facts["images_per_camera"]:
        each = ", ".join(f"{name}: {count:,}" for name, count in facts["images_per_camera"].items())
        lines.append(f"images per camera: {each}")
    problems = facts["problems"]
    lines.append(f"problems: {len(problems):,}" if problems else "no problems")
    return "\n".join([*lines, *(f"  {problem}" for problem in problems)])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _bar(label: str, total: int) -> tqdm:
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)
