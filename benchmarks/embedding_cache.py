"""Embeddings of an evaluation set, kept on disk in pieces, so that a run can be interrupted.

A piece is named by what decides its numbers: the model file, the backend's numerics, the input
contract and the crops' contents. So nothing is ever stale, and a bundle exported twice is embedded
once. One folder per network and set:

    <cache>/embeddings/<key>/key.json         what the key is made of, for people
    <cache>/embeddings/<key>/00000.npz ...    512 crops each: ``features`` (M, D) float32,
                                              ``kept`` (M,) int64, ``unreadable`` (U,) int64
    <cache>/embeddings/<key>/golden.npz       ``features`` of the bundle's golden inputs
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np

from benchmarks.accuracy import NothingReadable, embed_set
from benchmarks.evaluation_set import EvaluationSet
from benchmarks.machine import usable_cores
from benchmarks.progress import progress_bar
from benchmarks.results import write_text
from benchmarks.variants import Variant, golden_inputs, prepare_of
from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize

CHUNK = 512  # crops in a piece: what an interrupt costs at most
BATCH = 32
_SCHEMA = 1


class Embedded(NamedTuple):
    """Embeddings of a set by one network.

    Attributes:
        features: (M, D) float32, one row per readable crop, in the order of ``EvaluationSet.crops``.
        kept: (M,) int64 positions of these crops there.
        unreadable: Positions of the others.
        prior: (K, D) float32, of unit length: the bundle's golden inputs; None where it has none.
    """

    features: np.ndarray
    kept: np.ndarray
    unreadable: List[int]
    prior: Optional[np.ndarray]


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/reid-edge``, or ``~/.cache/reid-edge``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reid-edge"


def embed_variants(
    bundle: Bundle,
    variants: List[Variant],
    found: EvaluationSet,
    cache: Path,
    *,
    threads: Optional[int] = None,
    progress: bool = True,
    chunk: int = CHUNK,
) -> Dict[str, Embedded]:
    """Embed a set with variants of a bundle's network; what the cache holds is not run again.

    Every piece is written as soon as it is done, so after an interrupt the next run goes on there.

    Args:
        bundle: The bundle.
        variants: Of the bundle; their names differ.
        found: The set.
        cache: Folder of the cache.
        threads: CPU cores to use; by default all.
        progress: Show a bar.
        chunk: Crops per piece.

    Returns:
        Name of the variant to its embeddings.

    Raises:
        ReidEdgeError: A network cannot be opened or run, returns NaN, the cache cannot be written,
            or no image could be read.
    """
    crops = found.crops
    folders = {v.name: _folder(cache, bundle, v, found, chunk) for v in variants}
    starts = list(range(0, len(crops), chunk))
    opened: Dict[str, Backend] = {}
    # A session of ONNX Runtime may run in several threads at once; other engines have one set of
    # buffers.
    many = all(v.backend == "onnxruntime" and v.provider is None for v in variants)
    workers = (threads or usable_cores()) if many else 1

    def backend(variant: Variant) -> Backend:
        if variant.name not in opened:
            opened[variant.name] = variant.open(bundle, 1 if many else threads)
        return opened[variant.name]

    pieces: Dict[str, List[Mapping[str, np.ndarray]]] = {v.name: [] for v in variants}
    priors: Dict[str, Optional[np.ndarray]] = {}
    label = "%s on %s" % (bundle.manifest.name, found.found.name)
    try:
        with progress_bar(len(crops) * len(variants), label, "img", show=progress) as bar:
            for number, start in enumerate(starts):
                part = crops[start : start + chunk]
                missing = []
                for variant in variants:
                    piece = _read(folders[variant.name] / ("%05d.npz" % number))
                    if piece is None:
                        missing.append(variant)
                    else:
                        pieces[variant.name].append(piece)
                        bar.update(len(part))
                if not missing:
                    continue
                backends = {v: backend(v) for v in missing}
                made = _embed(bundle, backends, part, start, workers, bar.update)
                for variant in missing:
                    _write(folders[variant.name] / ("%05d.npz" % number), made[variant.name])
                    pieces[variant.name].append(made[variant.name])
        for variant in variants:
            path = folders[variant.name] / "golden.npz"
            priors[variant.name] = _prior(bundle, partial(backend, variant), path)
    finally:
        for each in opened.values():
            each.close()
    return {name: _joined(parts, priors[name], found) for name, parts in pieces.items()}


def _embed(bundle, backends, crops, start, workers, advance) -> Dict[str, Dict[str, np.ndarray]]:
    """Embed one piece with all of ``backends`` (variant to backend) in one pass over the images."""
    contract = bundle.manifest.input
    views = {variant.name: variant.view(contract) for variant in backends}
    try:
        got = embed_set(
            {variant.name: backend.run for variant, backend in backends.items()},
            crops,
            contract,
            batch=BATCH,
            progress=False,
            dim=bundle.manifest.embedding.dim,
            transforms={name: view for name, view in views.items() if view is not None},
            prepares={variant.name: prepare_of(backend) for variant, backend in backends.items()},
            advance=lambda count: advance(count * len(backends)),
            workers=workers,
        )
        features, kept = got.features, got.kept
    except NothingReadable:
        features = {v.name: np.empty((0, bundle.manifest.embedding.dim)) for v in backends}
        kept = np.empty(0, np.int64)
    for name, rows in features.items():
        broken = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
        if broken:
            raise ReidEdgeError(
                "Network %s of bundle %s returns NaN or infinity for %d of %d crops; its weights or "
                "its quantization are broken, export it again."
                % (name, bundle.path, broken, len(rows))
            )
    unreadable = sorted(set(range(len(crops))) - set(kept.tolist()))
    return {
        name: {
            "features": rows.astype(np.float32),
            "kept": kept + start,
            "unreadable": np.asarray(unreadable, np.int64) + start,
        }
        for name, rows in features.items()
    }


def _joined(parts, prior, found: EvaluationSet) -> Embedded:
    features = np.concatenate([part["features"] for part in parts])
    if not len(features):
        raise ReidEdgeError(
            "None of the %d images in %s could be read; expected JPEG or PNG crops."
            % (len(found.crops), found.root)
        )
    kept = np.concatenate([part["kept"] for part in parts])
    unreadable = np.concatenate([part["unreadable"] for part in parts])
    return Embedded(features, kept, unreadable.tolist(), prior)


def _prior(bundle: Bundle, backend: Callable[[], Backend], path: Path) -> Optional[np.ndarray]:
    """Embeddings of the bundle's golden inputs, from the cache or from the network."""
    if not bundle.has("golden"):
        return None
    piece = _read(path)
    if piece is None:
        inputs = golden_inputs(bundle, backend())
        if inputs is None:
            return None
        piece = {"features": backend().run(inputs).astype(np.float32)}
        _write(path, piece)
    return l2_normalize(piece["features"])


def _folder(
    cache: Path, bundle: Bundle, variant: Variant, found: EvaluationSet, chunk: int
) -> Path:
    golden = [e["sha256"] for e in bundle.manifest.files.values() if e["role"] == "golden"]
    made_of = {
        "schema": _SCHEMA,
        "model": variant.model_sha256,
        "numerics": variant.numerics,
        "input": bundle.manifest.input.to_dict(),
        "data": found.sha256,
        "golden": golden,
        "chunk": chunk,
    }
    text = json.dumps(made_of, sort_keys=True, indent=1)
    folder = cache / "embeddings" / hashlib.sha256(text.encode()).hexdigest()[:32]
    if not (folder / "key.json").is_file():
        write_text(folder / "key.json", text + "\n")
    return folder


def _read(path: Path) -> Optional[Dict[str, np.ndarray]]:
    """A piece, or None where there is none that can be read: it is made again then."""
    try:
        with np.load(str(path)) as piece:
            return {name: piece[name] for name in piece.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a piece under another name and rename it: runs may share the cache."""
    temporary: Optional[str] = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix="." + path.name, dir=str(path.parent))
        with os.fdopen(descriptor, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, str(path))
    except OSError as error:
        raise ReidEdgeError(
            "Cannot write the cache %s: %s; give another folder with --cache."
            % (path.parent, error.strerror or error)
        ) from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
