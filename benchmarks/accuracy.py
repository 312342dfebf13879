"""Embed an evaluation set with one or several networks and measure how well each retrieves."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from benchmarks.bootstrap import PairedDrop, paired_drop
from benchmarks.datasets import RetrievalSet
from benchmarks.metrics import RetrievalResult, evaluate_retrieval
from benchmarks.progress import progress_bar
from calibration.layouts import Crop
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image

Runner = Callable[[np.ndarray], np.ndarray]
"""A network: (N, 3, height, width) float32 to (N, D) float32, for any N up to the batch size."""

CropTransform = Callable[[np.ndarray], np.ndarray]
"""Another view of a crop: (H, W, 3) uint8 BGR to the same, sizes free."""

Prepare = Callable[[Sequence[np.ndarray], InputContract], np.ndarray]
"""Crops and contract to a network's input: runtime.preprocess.preprocess, or a board's own."""

DECODE_THREADS = 2


class NothingReadable(ReidEdgeError):
    """None of the images could be decoded."""


_NAMED = 5  # unreadable images named in the log; the report names all
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embeddings:
    """Features of a list of crops by several networks.

    Attributes:
        features: Network name to (M, D) float32, one row per readable crop, in input order.
        kept: (M,) int64 positions of the readable crops in the input list.
        unreadable: One sentence for each image that could not be decoded.
    """

    features: dict[str, np.ndarray]
    kept: np.ndarray
    unreadable: list[str]


def embed_set(
    runners: Mapping[str, Runner],
    crops: Sequence[Crop],
    contract: InputContract,
    *,
    batch: int = 32,
    progress: bool = True,
    label: str = "embedding",
    dim: int | None = None,
    transforms: Mapping[str, CropTransform] | None = None,
    prepares: Mapping[str, Prepare] | None = None,
    advance: Callable[[int], Any] | None = None,
    workers: int = 1,
) -> Embeddings:
    """Embed crops with every runner in one pass, so decoding and resizing are paid once.

    Images are decoded in threads while the networks run; at most a few batches are in memory.

    Args:
        runners: Name to network; all take the input ``contract`` describes and leave it
            unchanged.
        crops: Image files with their labels; only the paths are used.
        contract: Input contract.
        batch: Images per call of a runner; the last call may get fewer.
        progress: Show a progress bar on stderr; never shown when stderr is not a terminal.
        label: Text before the progress bar.
        dim: Expected feature length; None accepts any.
        transforms: Runner name to what is done to each decoded crop before it is preprocessed for
            that runner; runners without one share one batch, those with the same one another.
        prepares: Runner name to how its input is prepared, where not by ``preprocess``: a model
            compiled for NV12 takes ``preprocess_nv12``.
        advance: Called with the number of images done since the last call.
        workers: Batches run at once, each in a thread of its own, which the runners must allow. With
            one CPU thread per network that is faster than one batch at a time on all cores.

    Raises:
        ReidEdgeError: No runners, no image could be read, a runner returns something other than one
            feature (of length ``dim``) per image, or a transform or preparation for a runner that
            is not there.
    """
    if not runners or batch < 1:
        raise ReidEdgeError(
            f"Embedding needs at least one network and a batch of at least 1, got {len(runners)} "
            f"networks and batch {batch}."
        )
    strange = sorted({*(transforms or {}), *(prepares or {})} - set(runners))
    if strange:
        raise ReidEdgeError(
            f"Transforms are given for {strange}, but the networks are {sorted(runners)}; give them "
            "the same names."
        )
    view_of: Dict[str, _View] = {
        name: ((transforms or {}).get(name), (prepares or {}).get(name, preprocess))
        for name in runners
    }
    rows: dict[str, list[np.ndarray]] = {name: [] for name in runners}
    kept: list[int] = []
    unreadable: list[str] = []
    paths = [crop.path for crop in crops]
    views = tuple(dict.fromkeys(view_of.values()))

    def run_all(loaded: _Batch) -> _Done:
        pixels, positions, problems = loaded
        features = {
            name: _run_checked(name, run, pixels[view_of[name]], dim)
            for name, run in runners.items()
            if positions
        }
        return features, positions, problems

    done = _batches(paths, contract, batch, views, run_all, workers)
    with progress_bar(len(paths), label, "img", show=progress) as bar:
        for features, positions, problems in done:
            for name, part in features.items():
                rows[name].append(part)
            kept += positions
            unreadable += problems
            bar.update(len(positions) + len(problems))
            if advance is not None:
                advance(len(positions) + len(problems))
    if not kept:
        raise NothingReadable(
            f"None of the {len(paths)} images could be read; expected JPEG or PNG crops. "
            + " ".join(unreadable[:1])
        )
    if unreadable:
        first = " ".join(unreadable[:_NAMED])
        _LOG.warning("%d of %d images skipped: %s", len(unreadable), len(paths), first)
    whole = {name: np.concatenate(parts) for name, parts in rows.items()}
    return Embeddings(whole, np.asarray(kept, np.int64), unreadable)


def embed_crops(
    run: Runner,
    crops: Sequence[Crop],
    contract: InputContract,
    batch: int = 32,
    progress: bool = True,
) -> Embeddings:
    """Embed crops with one network; the features are under the name ``"features"``.

    See :func:`embed_set` for the arguments, the result and the errors.
    """
    return embed_set({"features": run}, crops, contract, batch=batch, progress=progress)


_View = Tuple[Optional[CropTransform], Prepare]
_Batch = Tuple[Dict[_View, np.ndarray], List[int], List[str]]
_Done = Tuple[Dict[str, np.ndarray], List[int], List[str]]


def _batches(
    paths: Sequence[str | Path],
    contract: InputContract,
    batch: int,
    views: Sequence[_View],
    run_all: Callable[[_Batch], _Done],
    workers: int,
) -> Iterator[_Done]:
    """Load and run batches, in order, with one per thread ahead; at most ``workers`` run at once."""
    ahead = max(DECODE_THREADS, workers)
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="decode")

    def work(start: int) -> Any:
        loaded = _load(paths[start : start + batch], start, contract, views)
        return run_all(loaded) if workers > 1 else loaded

    def result(future: Any) -> _Done:
        return future.result() if workers > 1 else run_all(future.result())

    pending: deque = deque()
    try:
        for start in range(0, len(paths), batch):
            pending.append(pool.submit(work, start))
            if len(pending) > ahead:
                yield result(pending.popleft())
        while pending:
            yield result(pending.popleft())
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)


def _load(
    paths: Sequence[str | Path],
    start: int,
    contract: InputContract,
    views: Sequence[_View],
) -> _Batch:
    """Decode a batch: its pixels by view, the positions of the images read, a sentence on each other."""
    images, positions, problems = [], [], []
    for position, path in enumerate(paths, start=start):
        try:
            images.append(read_image(path))
            positions.append(position)
        except ReidEdgeError as error:
            problems.append(str(error))
    pixels = {
        (transform, prepare): prepare(
            [transform(i) for i in images] if transform else images, contract
        )
        for transform, prepare in views
    }
    return pixels, positions, problems


def _run_checked(name: str, run: Runner, pixels: np.ndarray, dim: int | None) -> np.ndarray:
    features = np.array(run(pixels), np.float32)  # a copy: runners may reuse their output buffer
    if features.ndim != 2 or len(features) != len(pixels):
        raise ReidEdgeError(
            f"Network {name!r} must return one feature vector per image, ({len(pixels)}, D), got "
            f"shape {features.shape}; export it with a dynamic batch or use batch 1."
        )
    if dim is not None and features.shape[1] != dim:
        raise ReidEdgeError(
            f"Network {name!r} returns {features.shape[1]}-D features, expected {dim} by its "
            "embedding contract."
        )
    return features


@dataclass(frozen=True)
class AccuracyReport:
    """Retrieval accuracy of several networks on one set.

    Attributes:
        results: Network name to result, the reference first.
        drops: Each other network's name to its drop below the reference.
        dataset: Counts and choices of the set, with the ``unreadable`` images.
    """

    results: dict[str, RetrievalResult]
    drops: dict[str, PairedDrop]
    dataset: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; figures in percent, drops in percentage points (positive is worse).

        ``{"fp32": {"mAP", "rank1", "rank5", "rank10", "mINP"}, "int8": {…, "mAP_drop",
        "mAP_drop_interval", "rank1_drop", "rank1_drop_interval"}, "dataset": {…},
        "bootstrap": {…}}``; ``"bootstrap"`` only where there is something to compare.
        """
        report: dict[str, Any] = {name: r.to_dict() for name, r in self.results.items()}
        for name, drop in self.drops.items():
            for metric in ("mAP", "rank1"):
                part = getattr(drop, metric)
                report[name][f"{metric}_drop"] = part.points
                report[name][f"{metric}_drop_interval"] = [part.low, part.high]
            report["bootstrap"] = {
                key: value
                for key, value in asdict(drop).items()
                if key in ("level", "resamples", "seed", "n_queries")
            }
        report["dataset"] = self.dataset
        return report


def measure_accuracy(
    runners: Mapping[str, Runner],
    dataset: RetrievalSet,
    contract: InputContract,
    embedding: EmbeddingContract,
    *,
    batch: int = 32,
    progress: bool = True,
    resamples: int = 2000,
    seed: int = 0,
    transforms: Mapping[str, CropTransform] | None = None,
) -> AccuracyReport:
    """Measure networks on an evaluation set; the first is the reference for the drops.

    Distance is cosine whatever ``embedding.l2_normalize`` says: the metric normalises itself.

    Args:
        runners: Name to network, the reference (usually ``"fp32"``) first.
        dataset: Queries and gallery.
        contract: Input contract all runners share.
        embedding: What each runner must return; its ``dim`` is checked.
        batch, progress: As in :func:`embed_set`.
        resamples, seed: Of the bootstrap intervals.
        transforms: As in :func:`embed_set`, for runners that see the images otherwise.

    Raises:
        ReidEdgeError: As :func:`embed_set` and :func:`evaluate_retrieval`; a feature length that
            is not ``embedding.dim``; a runner called like a section of the report.
    """
    reserved = {"dataset", "bootstrap"} & set(runners)
    if reserved:
        raise ReidEdgeError(f"A network cannot be named {reserved.pop()!r} in an accuracy report.")
    crops = list({crop.path: crop for crop in (*dataset.query, *dataset.gallery)}.values())
    embedded = embed_set(
        runners, crops, contract, batch=batch, progress=progress,
        label=f"evaluating {dataset.name}", dim=embedding.dim, transforms=transforms,
    )  # fmt: skip
    row_of = {crops[position].path: row for row, position in enumerate(embedded.kept)}
    query, gallery = (_Side.of(part, row_of) for part in (dataset.query, dataset.gallery))

    results = {}
    for name, features in embedded.features.items():
        results[name] = evaluate_retrieval(
            features[query.rows], query.ids, query.cams,
            features[gallery.rows], gallery.ids, gallery.cams,
        )  # fmt: skip
    reference, *others = results
    drops = {
        name: paired_drop(results[reference], results[name], resamples=resamples, seed=seed)
        for name in others
    }
    counts = {"evaluated_queries": results[reference].n_valid, "unreadable": embedded.unreadable}
    return AccuracyReport(results, drops, {**dataset.record(), **counts})


@dataclass(frozen=True)
class _Side:
    """Queries or gallery as arrays: feature rows, identities, cameras; readable crops only."""

    rows: np.ndarray
    ids: np.ndarray
    cams: np.ndarray

    @classmethod
    def of(cls, crops: Sequence[Crop], row_of: Mapping[Any, int]) -> _Side:
        table = [(row_of[c.path], c.person_id, c.camera_id) for c in crops if c.path in row_of]
        return cls(*np.asarray(table, np.int64).reshape(-1, 3).T)
