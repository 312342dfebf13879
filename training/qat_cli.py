"""``reid-train qat``: a trained network in, one that loses less in INT8 and its ranges out."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from runtime.errors import ReidEdgeError

CALIBRATION_CROPS = 256
BATCH = 32
PERSONS, IMAGES = 8, 4  # of a batch with labels
AUGMENT = {"flip": {"probability": 0.5}, "pad_crop": {}, "detector_jitter": {"probability": 0.3}}

_EPILOG = """examples:
  reid-train qat --weights runs/small/last.pth --data market1501 --out runs/small_qat
      three epochs towards the network's own float embeddings; labels are not read
  reid-train qat --weights runs/bot/best.pth --data my_people/ --labels --out runs/bot_qat
      hard triplets of the training identities as well
  reid-export --target xavier --weights runs/small_qat/qat.pth --ranges runs/small_qat/qat.ranges.json
      the result on the board

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
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="training set")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    p.add_argument("--target", default="xavier", help="xavier or cpu (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=3, metavar="N", help="default: %(default)s")
    p.add_argument(
        "--crops", type=int, metavar="N", help="training crops per epoch; default: all of the set"
    )
    p.add_argument(
        "--learning-rate",
        type=float,
        default=1e-4,
        metavar="R",
        help="peak, relative to each tensor's size (default: %(default)s)",
    )
    p.add_argument("--labels", action="store_true", help="also learn identities: hard triplets")
    p.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    p.add_argument("--device", default="cpu", help="default: %(default)s")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: all cores")
    p.add_argument("--json", action="store_true", help="print the record as JSON")
    return p


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        record = _qat(arguments)
    except ReidEdgeError as error:
        print(f"reid-train qat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-train qat: interrupted; nothing was written.", file=sys.stderr)
        return 130
    print(json.dumps(record) if arguments.json else _summary(record, arguments))
    return 0


class _Epoch:
    """(pixels, labels) of one epoch, with a length, so that the rate can fall smoothly."""

    def __init__(self, batches: Iterator, steps: int, prepare, labels: np.ndarray):
        self._batches, self._steps, self._prepare, self._labels = batches, steps, prepare, labels

    def __iter__(self) -> Iterator:
        for batch in self._batches:
            yield self._prepare(batch.images), self._labels[batch.indices.numpy()]

    def __length_hint__(self) -> int:
        return self._steps


def _qat(arguments: argparse.Namespace) -> dict[str, Any]:
    # Imported here so that --help and usage errors need no torch.
    import torch

    from models.checkpoint import load_network, save_network, source_state_dict
    from training.augment import Pipeline
    from training.data import open_training_set
    from training.learner import PixelPreparation
    from training.loader import BatchLoader, CropImages
    from training.losses.metric import TripletLoss
    from training.qat import QatOptions, quantization_aware_finetune
    from training.sampler import PKSampler, UniformSampler

    if arguments.out.exists():
        raise ReidEdgeError(f"{arguments.out} exists already; give a new folder as --out.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    options = QatOptions(
        target=arguments.target,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
    )
    loaded = load_network(arguments.weights)
    if loaded.spec is None:  # refuse a codebase that is only read, before the long work
        source_state_dict(loaded.network, loaded.family)
    found = open_training_set(arguments.data)
    paths = [crop.path for crop in found.crops]
    labels = np.array([crop.person for crop in found.crops], np.int64)
    crops = CropImages.open(paths, loaded.input, False, _bar)
    prepare = PixelPreparation(loaded.input)
    rng = np.random.default_rng(arguments.seed)
    chosen = rng.permutation(len(paths))[:CALIBRATION_CROPS]
    calibration = prepare(torch.from_numpy(np.stack([crops.read(int(i)) for i in chosen])))

    loader = BatchLoader(crops, Pipeline.build(AUGMENT), arguments.seed, workers=0)
    sampler: Any = UniformSampler(len(paths), BATCH, arguments.seed)
    if arguments.labels:
        sampler = PKSampler(labels.tolist(), persons=PERSONS, images=IMAGES, seed=arguments.seed)
    steps = min(sampler.steps, -(-(arguments.crops or len(paths)) // BATCH))
    bar = _bar("fine-tuning", options.epochs * steps)

    def batches(epoch: int) -> _Epoch:
        plan = sampler.epoch(epoch)[:steps]
        return _Epoch(loader.batches(plan, epoch), steps, prepare, labels)

    def progress(epoch: int, loss: float) -> None:
        bar.update(1)
        bar.set_postfix_str(f"epoch {epoch + 1} loss {loss:.4f}")

    result = quantization_aware_finetune(
        loaded,
        batches,
        calibration.numpy(),
        options,
        objective=TripletLoss(margin=None) if arguments.labels else None,
        progress=progress,
    )
    bar.close()
    loaded.network.load_state_dict(result.state_dict)
    weights, ranges = (arguments.out / name for name in ("qat.pth", "qat.ranges.json"))
    record = {
        "arch": loaded.arch,
        "target": options.target,
        "weights": str(weights),
        "ranges": str(ranges),
        "scores": result.scores,
        "kept_epoch": result.kept_epoch,
        "first_loss": result.losses[0],
        "last_loss": result.losses[-1],
        "frozen": result.frozen,
        "summary": result.summary,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out.parent, prefix=".qat-") as made:
        folder = Path(made) / "out"
        folder.mkdir()
        if loaded.spec is not None:
            provenance = {"quantization_aware": f"{options.target}, from {arguments.weights.name}"}
            save_network(folder / weights.name, loaded.network, loaded.spec, provenance)
        else:
            state = source_state_dict(loaded.network, loaded.family)
            torch.save({"state_dict": state}, folder / weights.name)
        result.table.save(folder / ranges.name)
        text = json.dumps(record, indent=2) + "\n"
        (folder / "qat.json").write_text(text, encoding="utf-8")
        folder.rename(arguments.out)
    return record


def _summary(record: dict[str, Any], arguments: argparse.Namespace) -> str:
    reasons: dict[str, int] = {}
    for reason in record["frozen"].values():
        reasons[reason] = reasons.get(reason, 0) + 1
    lines = [record["summary"]]
    lines += [f"{count} layers were not trained: {reason}" for reason, count in reasons.items()]
    lines.append(
        f"next: reid-export --target {record['target']} --weights {record['weights']} "
        f"--ranges {record['ranges']} --calib {arguments.data}"
    )
    return "\n".join(lines)


def _bar(label: str, total: int) -> tqdm:
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)
