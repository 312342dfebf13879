"""The rows of a run as people compare them: by network, each kind of network once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

from benchmarks.accuracy_record import Accuracy
from benchmarks.predictor.boards import board
from benchmarks.results import (
    SIMULATED_FP16,
    SIMULATED_X3,
    SIMULATED_X3_NV12,
    SIMULATED_XAVIER,
    BundleRecord,
    Latency,
    Predicted,
    Results,
    Row,
)
from runtime.errors import ReidEdgeError

TARGETS = {"xavier": "Xavier", "cpu": "CPU", "x3": "X3"}
BOARDS = {"xavier-agx": "AGX Xavier", "xavier-nx": "Xavier NX", "x3": "X3"}

DatasetKey = Tuple[str, Optional[str]]
"""Digest and protocol of a data set."""


@dataclass(frozen=True)
class Entry:
    """One kind of one network.

    Attributes:
        network: Name of the network, as ``Network`` has it.
        label: Such as "fp32", "int8 Xavier", "int8 X3, camera".
        rows: The rows it stands for: one, or several of bundles that hold the same model.
    """

    network: str
    label: str
    rows: List[Row]

    @property
    def row(self) -> Row:
        """The first row."""
        return self.rows[0]

    @property
    def latency(self) -> List[Latency]:
        """Of the first row that was timed: the same file takes as long in any bundle."""
        return next((row.latency for row in self.rows if row.latency), [])

    @property
    def predicted(self) -> List[Predicted]:
        """Of all rows, each case once."""
        found: Dict[Tuple[str, str, str, str, int], Predicted] = {}
        for row in self.rows:
            for p in row.predicted:
                found.setdefault((p.board, p.unit, p.power_mode, p.precision, p.batch), p)
        return list(found.values())

    def accuracy(self, dataset: DatasetKey) -> Optional[Accuracy]:
        """On a data set; None where it was not measured."""
        for row in self.rows:
            for accuracy in row.accuracy:
                if dataset_key(accuracy) == dataset:
                    return accuracy
        return None


def dataset_key(accuracy: Accuracy) -> DatasetKey:
    """Which data set, in which protocol."""
    return accuracy.dataset.sha256, accuracy.dataset.protocol


def datasets(results: Results) -> Dict[DatasetKey, Accuracy]:
    """The data sets of a run in order, each with the first accuracy on it."""
    found: Dict[DatasetKey, Accuracy] = {}
    for row in results.rows:
        for accuracy in row.accuracy:
            found.setdefault(dataset_key(accuracy), accuracy)
    return found


def entries(results: Results) -> Dict[str, List[Entry]]:
    """Network to its entries: fp32 first, then as in the run; networks in the order of the run.

    Bundles of one checkpoint are one network. Rows with the same model file in the same backend and
    numerics are one entry.
    """
    names = network_names([row.bundle for row in results.rows])
    merged: Dict[str, Dict[Tuple[str, ...], Entry]] = {}
    key: Tuple[str, ...]
    for row in results.rows:
        network = names[network_key(row.bundle)]
        key = (row.model_sha256, row.backend, row.how, row.precision, str(row.alternative))
        of_network = merged.setdefault(network, {})
        if key in of_network and row.machine == of_network[key].row.machine:
            of_network[key].rows.append(row)
        else:
            while key in of_network:  # the same on another machine
                key = (*key, "")
            of_network[key] = Entry(network, label(row), [row])
    return {
        network: sorted(_distinct(list(found.values())), key=lambda e: e.row.precision != "fp32")
        for network, found in merged.items()
    }


def label(row: Row) -> str:
    """What a row is, in a few words."""
    if row.alternative is not None:
        return row.variant
    if row.how == SIMULATED_FP16:
        return "fp16 %s" % TARGETS.get(row.bundle.target, row.bundle.target)
    if row.how == SIMULATED_XAVIER:
        return "int8 Xavier"
    if row.how == SIMULATED_X3:
        return "int8 X3"
    if row.how == SIMULATED_X3_NV12:
        return "int8 X3, camera"
    if row.precision == "fp32":
        return row.variant
    return "%s %s" % (row.variant, TARGETS.get(row.bundle.target, row.bundle.target))


def network_key(bundle: BundleRecord) -> str:
    """What bundles of the same network share."""
    return bundle.source_sha256 or "%s/%s/%s" % (bundle.family, bundle.arch, bundle.name)


def network_names(bundles: List[BundleRecord]) -> Dict[str, str]:
    """Network to its architecture, with what tells it from others of the same architecture."""
    of: Dict[str, BundleRecord] = {}
    for bundle in bundles:
        of.setdefault(network_key(bundle), bundle)
    archs = [bundle.arch for bundle in of.values()]
    names = {}
    for key, bundle in of.items():
        apart = (bundle.source_sha256 or "")[:8] or bundle.name
        names[key] = (
            bundle.arch if archs.count(bundle.arch) == 1 else "%s (%s)" % (bundle.arch, apart)
        )
    return names


def _distinct(found: List[Entry]) -> List[Entry]:
    """Entries whose labels differ: by target, else by backend, by bundle, by machine."""
    found = _apart(found, _graph, spare_first=True)  # fp32 of a CPU and a Xavier bundle is one file
    found = _apart(found, lambda row: row.backend)
    found = _apart(found, lambda row: row.bundle.name)
    return _apart(found, lambda row: row.machine.board or row.machine.cpu or row.machine.arch)


def _apart(found: List[Entry], of: Callable[[Row], str], spare_first: bool = False) -> List[Entry]:
    """Where entries share a label, ``of`` is added if it differs among them."""
    made = []
    for entry in found:
        same = [other for other in found if other.label == entry.label]
        differ = len({of(other.row) for other in same}) > 1
        if differ and not (spare_first and of(entry.row) == of(same[0].row)):
            entry = replace(entry, label="%s, %s" % (entry.label, of(entry.row)))
        made.append(entry)
    return made


def _graph(row: Row) -> str:
    return "%s graph" % TARGETS.get(row.bundle.target, row.bundle.target)


def dataset_title(accuracy: Accuracy) -> str:
    """Name and sizes of a data set, for captions."""
    d = accuracy.dataset
    return "%s: %s queries, %s gallery images of which %s distractors, %s people%s" % (
        d.name,
        f"{d.evaluated_queries:,}",
        f"{d.gallery:,}",
        f"{d.distractors:,}",
        f"{d.identities:,}",
        "; " + d.protocol if d.protocol else "",
    )


def first_latency(entry: Entry) -> Optional[Latency]:
    """The latency at the smallest batch, at the first number of threads."""
    return min(entry.latency, key=lambda latency: latency.batch, default=None)


def headline_cases(results: Results) -> List[Tuple[str, str, str, int]]:
    """One (board, unit, power mode, batch) per predicted board.

    The smallest batch in the board's usual power mode if that was predicted, else in the first.
    """
    found: Dict[str, Tuple[str, str, str, int]] = {}
    for row in results.rows:
        for p in row.predicted:
            case = (p.board, p.unit, p.power_mode, p.batch)
            if p.board not in found or _before(case, found[p.board]):
                found[p.board] = case
    order = list(BOARDS)
    return sorted(found.values(), key=lambda c: order.index(c[0]) if c[0] in order else len(order))


def _before(one: Tuple[str, str, str, int], other: Tuple[str, str, str, int]) -> bool:
    usual = _usual_mode(one[0])
    return (one[2] != usual, one[3]) < (other[2] != usual, other[3])


def _usual_mode(name: str) -> Optional[str]:
    try:
        return board(name).default_mode
    except ReidEdgeError:
        return None  # a board of another version


def predicted_at(entry: Entry, case: Tuple[str, str, str, int]) -> Optional[Predicted]:
    """The prediction of an entry for a case, in its own precision."""
    for p in entry.predicted:
        if (p.board, p.unit, p.power_mode, p.batch) == case and p.precision == entry.row.precision:
            return p
    return None
