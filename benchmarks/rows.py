"""The rows of a run while they are being measured."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import List, Optional

from benchmarks.accuracy_record import Accuracy
from benchmarks.evaluation_set import domain_of
from benchmarks.results import BundleRecord, Latency, Machine, Predicted, Row
from benchmarks.variants import Variant, bundle_sha256
from runtime.bundle import Bundle


@dataclass
class OpenRow:
    """A row that is being filled; the lists are those of ``Row``.

    Attributes:
        bundle: Number of the bundle in the run.
        variant: What is measured.
    """

    bundle: int
    variant: Variant
    latency: List[Latency] = field(default_factory=list)
    accuracy: List[Accuracy] = field(default_factory=list)
    predicted: List[Predicted] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)

    def record(self, bundle: Bundle, trained: Optional[str], machine: Machine) -> Row:
        """The row as it is now.

        Args:
            bundle: The bundle of its number.
            trained: Data set its network was trained on, where known.
            machine: Where the run is.
        """
        return Row(
            bundle=bundle_record(bundle, trained),
            variant=self.variant.name,
            precision=self.variant.precision,
            backend=self.variant.label,
            how=self.variant.how,
            alternative=self.variant.alternative,
            model_sha256=self.variant.model_sha256,
            model_mb=os.path.getsize(self.variant.model) / 2**20,
            machine=machine,
            latency=list(self.latency),
            accuracy=list(self.accuracy),
            predicted=list(self.predicted),
            notes=[*self.variant.notes, *self.notes],
            warnings=list(self.warnings),
        )


def bundle_record(bundle: Bundle, trained: Optional[str]) -> BundleRecord:
    """What a row says about its bundle; ``trained`` as in :meth:`OpenRow.record`."""
    manifest = bundle.manifest
    return BundleRecord(
        name=manifest.name,
        target=manifest.target,
        family=str(manifest.network["family"]),
        arch=str(manifest.network["arch"]),
        trained=bool(manifest.network["trained"]),
        trained_on=domain_of(trained or "") or trained,
        source_sha256=manifest.network.get("source_sha256"),
        height=manifest.input.height,
        width=manifest.input.width,
        dim=manifest.embedding.dim,
        sha256=bundle_sha256(bundle),
    )
