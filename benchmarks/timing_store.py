"""Latencies that an interrupted run has measured, so that it need not measure them again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from benchmarks.json_record import from_plain, to_plain
from benchmarks.results import Latency, Machine, write_text
from benchmarks.timing import Timed, TimingOptions, measure_latency
from benchmarks.variants import Variant, bundle_sha256
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError

Bundles = Sequence[Tuple[Bundle, Sequence[Variant]]]


def measure_once(
    bundles: Bundles,
    options: TimingOptions,
    machine: Machine,
    folder: Path,
    progress: bool = True,
) -> List[Timed]:
    """Time variants against each other, or take what was measured before under ``folder``.

    Times are kept as one piece: those of a run that was interrupted in the middle are not comparable
    with what would follow.

    Args:
        bundles, options, progress: As for ``measure_latency``.
        machine: Where this is; times from elsewhere are not taken.
        folder: Of the unfinished run; remove it when the run is complete.

    Raises:
        ReidEdgeError: As ``measure_latency``, or the folder cannot be written.
    """
    kept = folder / ("latency-%s.json" % _digest(bundles, options, machine))
    known = _read(kept, bundles)
    if known is not None:
        return known
    timed = measure_latency(bundles, options, progress)
    plain = [[entry.bundle, entry.variant.name, to_plain(entry.latency)] for entry in timed]
    write_text(kept, json.dumps(plain) + "\n")
    return timed


def _digest(bundles: Bundles, options: TimingOptions, machine: Machine) -> str:
    made_of = {
        "machine": to_plain(machine),
        "timing": asdict(options),
        "variants": [
            (bundle_sha256(bundle), variant.name, variant.label, variant.model_sha256)
            for bundle, variants in bundles
            for variant in variants
        ],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path, bundles: Bundles) -> Optional[List[Timed]]:
    try:
        return [
            Timed(
                number,
                next(v for v in bundles[number][1] if v.name == name),
                from_plain(Latency, latency, str(path)),
            )
            for number, name, latency in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, TypeError, IndexError, StopIteration, ReidEdgeError):
        return None  # nothing there, or nothing that can be read: it is measured
