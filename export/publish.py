"""Make a trained network the default one: weights, ranges and provenance card into the zoo.

    python -m export.publish --run runs/small --calib market1501 --eval market1501

For maintainers. Weights are stored as float16; every figure on the card is measured on what was
stored, by the same export a user runs. Nothing is replaced unless all of it succeeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.options import ExportOptions
from export.pipeline import Export, export
from models.adapters.native import read_header, save_network
from models.checkpoint import load_network, read_state_dict
from models.state_file import file_sha256
from models.zoo.card import ProvenanceCard
from models.zoo.default import ZOO
from runtime.errors import ReidEdgeError

WEIGHTS, RANGES = "default.pth", "default.ranges.json"
LARGEST_BYTES = 12_000_000

TERMS = (
    "Market-1501 (Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015), whose "
    "terms allow research use only; weights trained on it should be taken to inherit that"
)
INTENDED_USE = (
    "trying reid-edge end to end on real people, and a start for fine-tuning on the people and "
    "the camera of your own robot"
)
LIMITS = (
    "one campus, six fixed cameras, summer clothes, tight boxes; weaker on other places, seasons, "
    "night, low cameras and partly seen people; not for products, and not for identifying anybody"
)


def publish(run: Path, calib: Path, evaluation: Path, ranges: Path | None, zoo: Path) -> dict:
    """Publish the network of a finished run.

    Args:
        run: Folder of ``reid-train``: ``last.pth`` and ``run.json`` are read.
        calib: Training crops.
        evaluation: Evaluation set.
        ranges: Table of quantization-aware training of these weights; default: calibrate.
        zoo: Folder to publish into.

    Returns:
        The card as a dictionary.

    Raises:
        ReidEdgeError: The run is not finished, or the file would be too large to ship.
    """
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if record.get("status") != "finished":
        raise ReidEdgeError(f"{run} is {record.get('status')}, not finished; train it to the end.")
    with tempfile.TemporaryDirectory(dir=zoo, prefix=".publish-") as made:
        weights = Path(made) / WEIGHTS
        loaded = load_network(run / "last.pth")
        assert loaded.spec is not None  # reid-train writes no other files
        _, info = read_state_dict(run / "last.pth")
        _, provenance = read_header(info["header"])
        save_network(weights, loaded.network, loaded.spec, provenance, half=True)
        if weights.stat().st_size > LARGEST_BYTES:
            raise ReidEdgeError(
                f"{weights.name} has {weights.stat().st_size:,} bytes, more than "
                f"{LARGEST_BYTES:,}; train a smaller network."
            )
        table = Path(made) / RANGES
        if ranges is not None:
            shutil.copyfile(ranges, table)
        else:
            calibrated = _export(weights, calib, None, None)
            assert calibrated.table is not None
            calibrated.table.save(table)
        measured = _export(weights, calib, evaluation, table)
        card = _card(record, weights, loaded.arch, measured)
        for file in (weights, table):
            file.replace(zoo / file.name)
        card.write(zoo)
    return vars(card)


def _export(weights: Path, calib: Path, evaluation: Path | None, table: Path | None) -> Export:
    options = ExportOptions(
        target="xavier",
        weights=weights,
        calib=calib,
        eval=evaluation,
        ranges=table,
        improve="none",
        out=weights.parent / "bundle",
    )
    return export(options, _bar)


def _card(record: dict[str, Any], weights: Path, arch: str, measured: Export) -> ProvenanceCard:
    assert measured.accuracy is not None
    accuracy: dict[str, Any] = {
        "set": f"{measured.accuracy.dataset['name']}, {measured.accuracy.dataset['queries']} "
        f"queries, {measured.accuracy.dataset['gallery']} gallery crops",
    }
    for precision, result in measured.accuracy.results.items():
        accuracy[precision] = {"mAP": round(result.mAP, 2), "rank1": round(result.rank1, 2)}
    data, teacher = record["data"], record["teacher"]
    taught = f", taught by {teacher['arch']} (SHA-256 {teacher['sha256'][:12]})" if teacher else ""
    return ProvenanceCard(
        schema=1,
        weights=WEIGHTS,
        sha256=file_sha256(weights),
        arch=arch,
        training_data=f"{data['images']:,} crops of {data['identities']} people of {TERMS}",
        recipe=f"reid-train --recipe {record['recipe']}{taught}, on {_machine(record)}",
        seed=record["seed"],
        hours=round(record["hours"], 2),
        accuracy=accuracy,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        calibration_table=RANGES,
    )


def _machine(record: dict[str, Any]) -> str:
    if record["device"] == "x86_64" or record["device"].startswith(("arm", "aarch")):
        return f"{record['threads']} CPU thread{'s' if record['threads'] > 1 else ''}"
    return f"{record['processes']} {record['device']}"


def _bar(label: str, total: int) -> tqdm:
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        prog="python -m export.publish", description=__doc__.splitlines()[0]
    )
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of reid-train")
    p.add_argument("--calib", type=Path, required=True, metavar="DIR", help="training crops")
    p.add_argument("--eval", type=Path, required=True, metavar="DIR", help="evaluation set")
    p.add_argument("--ranges", type=Path, metavar="FILE", help="table of reid-train qat")
    p.add_argument("--zoo", type=Path, default=ZOO, metavar="DIR", help="default: models/zoo")
    a = p.parse_args(argv)
    try:
        print(json.dumps(publish(a.run, a.calib, a.eval, a.ranges, a.zoo), indent=2))
    except ReidEdgeError as error:
        print(f"publish: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
