"""One bundle judged on one evaluation set, as a job; its result is kept by what it is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from benchmarks.accuracy_record import Accuracy
from benchmarks.embedding_cache import embed_variants
from benchmarks.evaluate import Figures, evaluate
from benchmarks.evaluation_set import open_evaluation_set
from benchmarks.json_record import from_plain, to_plain
from benchmarks.machine import read_machine
from benchmarks.results import SCHEMA_VERSION, Machine, write_text
from benchmarks.variants import Variant, bundle_sha256
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

_VERSION = 1  # raise it when the same inputs give other figures


@dataclass(frozen=True)
class Judged:
    """What came of a job.

    Attributes:
        accuracy: Name of the variant to its figures.
        notes: What could not be measured.
        machine: Where it was computed.
    """

    accuracy: Dict[str, Accuracy]
    notes: List[str]
    machine: Machine


@dataclass(frozen=True)
class AccuracyJob:
    """Judge variants of a bundle on a set.

    Attributes:
        bundle: Its folder.
        variants: Of the bundle, names differing.
        reference: Name of the fp32 one; None where there is none.
        data, dataset, seed: The set, as for ``open_evaluation_set``.
        data_sha256: What the set must be, wherever the job runs.
        trained: Data set the network was trained on, where known.
        figures: What is computed.
        cache: Folder for embeddings and results.
        threads: CPU threads; None is all cores.
    """

    bundle: str
    variants: Tuple[Variant, ...]
    reference: Optional[str]
    data: str
    dataset: Optional[str]
    seed: int
    data_sha256: str
    trained: Optional[str]
    figures: Figures
    cache: str
    threads: Optional[int] = None

    def run(self, progress: bool = False) -> Judged:
        """Embed and judge, or take what an earlier run found.

        Raises:
            ReidEdgeError: The set differs from the one that was asked for, or as
                ``embed_variants`` and ``evaluate``.
        """
        bundle = Bundle.open(self.bundle, verify=False)
        kept = Path(self.cache) / "accuracy" / ("%s.json" % self._key(bundle))
        known = _read(kept)
        if known is not None:
            return known
        found = open_evaluation_set(self.data, self.dataset, self.seed, progress)
        if found.sha256 != self.data_sha256:
            raise ReidEdgeError(
                "The data in %s are not those the run began with (their digests differ); give every "
                "machine the same files." % self.data
            )
        embedded = embed_variants(
            bundle, list(self.variants), found, Path(self.cache),
            threads=self.threads, progress=progress,
        )  # fmt: skip
        accuracy, notes = evaluate(found, embedded, self.reference, self.trained, self.figures)
        judged = Judged(accuracy, notes, read_machine())
        write_text(kept, json.dumps(to_plain(judged)) + "\n")
        return judged

    def _key(self, bundle: Bundle) -> str:
        made_of = {
            "version": (_VERSION, SCHEMA_VERSION),
            "bundle": bundle_sha256(bundle),
            "variants": [(v.name, v.model_sha256, v.numerics) for v in self.variants],
            "reference": self.reference,
            # The names are in the result: another name of the folder is another result.
            "data": (self.data_sha256, Path(self.data).resolve().name, self.dataset, self.seed),
            "trained": self.trained,
            "figures": asdict(self.figures),
        }
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> Optional[Judged]:
    """A kept result, or None where there is none that can be read: it is made again then."""
    try:
        return from_plain(Judged, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, ReidEdgeError):
        return None
