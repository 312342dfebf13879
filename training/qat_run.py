"""A fine-tuning run from folders and files: everything around ``quantization_aware_finetune``."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.datasets import RetrievalSet, open_retrieval_set
from models.adapters.native import read_header
from models.checkpoint import (
    LoadedNetwork,
    load_network,
    read_state_dict,
    save_network,
    source_state_dict,
)
from runtime.errors import ReidEdgeError
from training import determinism
from training.data import TrainingSet
from training.distributed import join
from training.losses.metric import TripletLoss
from training.progress import Progress
from training.qat import QatOptions, QatResult, quantization_aware_finetune
from training.qat_data import Batches, open_images
from training.qat_folder import NewFolder
from training.qat_judge import RetrievalJudge, hold_out
from training.qat_settings import QatSettings
from training.qat_student import embed

CALIBRATION_CROPS = 256
COSINE = "mean cosine to the float network's embeddings on the calibration crops"
WEIGHTS, RANGES, RECORD = "qat.pth", "qat.ranges.json", "qat.json"
TABLE_BYTES = 8_000_000  # ranges and record, generously

MEASURED = ("mAP",)  # provenance that was true of the weights before

Say = Callable[[str], Any]


def finetune(settings: QatSettings, progress: Progress, say: Say) -> dict[str, Any]:
    """Fine-tune and write the folder; mistakes are found before the long work.

    Args:
        settings: What was asked for.
        progress: Makes progress bars.
        say: Receives lines for the user.

    Returns:
        The run's record, as stored in ``qat.json``.

    Raises:
        ReidEdgeError: Anything the user can correct. Nothing is written then.
        VerificationError: The network does not compute what was trained.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    determinism.fix(settings.seed, device)
    options = QatOptions(
        target=settings.target,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        device=str(device),
        threads=settings.threads,
    )
    loaded = load_network(settings.weights)
    if loaded.spec is None:  # refuse a codebase that is only read, before the long work
        source_state_dict(loaded.network, loaded.family)
    size = sum(v.numel() * 4 for v in loaded.network.state_dict().values())
    with NewFolder(settings.out, size + TABLE_BYTES) as folder:
        given = None if settings.evaluation is None else open_retrieval_set(settings.evaluation)
        found, evaluation, about = _split(settings, open_images(settings, progress, say), given)
        batches = Batches(found, loaded.input, settings)
        say(found.report())
        judge = None if evaluation is None else RetrievalJudge(evaluation, loaded, about)
        say(f"score: {COSINE if judge is None else judge.description}")
        if evaluation is not None and (shared := _shared(found, evaluation)):
            say(f"{shared:,} images of {about} are also trained on, which flatters the score")
        float_score = None if judge is None else judge(_float(loaded, options.device))
        bar = progress("fine-tuning", options.epochs * batches.steps)

        def step(epoch: int, loss: float) -> None:
            bar.update(1)
            bar.set_postfix_str(f"epoch {epoch + 1} loss {loss:.4f}")

        try:
            result = quantization_aware_finetune(
                loaded,
                batches,
                batches.calibration(CALIBRATION_CROPS, settings.seed),
                options,
                objective=TripletLoss(margin=None) if settings.labels else None,
                judge=judge,
                progress=step,
            )
        except torch.OutOfMemoryError:
            raise ReidEdgeError(
                f"The GPU has too little memory for batches of {batches.batch} images of this "
                f"network; use a smaller {'--persons' if settings.labels else '--batch'}."
            ) from None
        finally:
            bar.close()
        loaded.network.load_state_dict(result.state_dict)
        record = {
            "arch": loaded.arch,
            "target": options.target,
            "labels": settings.labels,
            "weights": str(settings.out / WEIGHTS),
            "ranges": str(settings.out / RANGES),
            "judge": COSINE if judge is None else judge.description,
            "float_score": float_score,
            "scores": result.scores,
            "kept_epoch": result.kept_epoch,
            "first_loss": result.losses[0],
            "last_loss": result.losses[-1],
            "kept_in_float": result.table.selection["keep_float"],  # type: ignore[index]
            "frozen": result.frozen,
            "data": found.record(),
            "summary": result.summary,
        }
        folder.fill(lambda path: _write(path, loaded, settings, result, record))
    return record


def _device(name: str | None) -> torch.device:
    """The device of a name, checked; default: CUDA where there is one."""
    processes = join(name)
    if processes.world_size > 1:
        processes.close()
        raise ReidEdgeError("reid-train qat runs in one process; start it without torchrun.")
    return processes.device


def _split(
    settings: QatSettings, found: TrainingSet, evaluation: RetrievalSet | None
) -> tuple[TrainingSet, RetrievalSet | None, str]:
    """What to train on, what to judge on if not by cosine, and what that is, for people."""
    if evaluation is not None:
        return found, evaluation, evaluation.name
    if not settings.labels:
        return found, None, ""
    found, dataset = hold_out(found, settings.seed)
    people = len({crop.person_id for crop in dataset.gallery})
    return found, dataset, f"{people} people held out of training (seed {settings.seed})"


def _shared(found: TrainingSet, evaluation: RetrievalSet) -> int:
    """Number of images that are both trained and judged on."""
    trained = {crop.path.resolve() for crop in found.crops}
    return len(trained & {c.path.resolve() for c in (*evaluation.query, *evaluation.gallery)})


def _float(loaded: LoadedNetwork, device: str):
    """The float network as a judge runs it."""
    network = copy.deepcopy(loaded.network).to(device).eval()
    return lambda images: embed(network, images, device)


def _write(
    folder: Path,
    loaded: LoadedNetwork,
    settings: QatSettings,
    result: QatResult,
    record: dict[str, Any],
) -> None:
    path = folder / WEIGHTS
    if loaded.spec is not None:
        # The tuned weights still come from that data, on its terms; measured they were not.
        _, info = read_state_dict(settings.weights)
        _, provenance = read_header(info["header"])
        how = "labels" if settings.labels else "distilled"
        tuned = f"{settings.target}, {how}, from {settings.weights.name}"
        printable = "".join(c if c.isprintable() else "?" for c in tuned)
        kept = {key: value for key, value in provenance.items() if key not in MEASURED}
        entries = {**kept, "quantization_aware": printable}
        save_network(path, loaded.network, loaded.spec, entries)
    else:
        buffer = io.BytesIO()  # torch's own file writer reports a full disk in many ways
        torch.save({"state_dict": source_state_dict(loaded.network, loaded.family)}, buffer)
        path.write_bytes(buffer.getbuffer())
    result.table.save(folder / RANGES)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
