"""Two runs side by side: every figure both have, what changed, and whether that is more than noise."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Dict, List, Optional

from benchmarks.metric_paths import Scope, figures_of
from benchmarks.results import Results

SCHEMA_VERSION = 1
_LOWER_IS_BETTER = ("_ms", "_mb", "_drop", "false_reject", "false_accept")


@dataclass(frozen=True)
class Change:
    """One figure in two runs.

    Attributes:
        bundle, target, dataset: The scope.
        path: The figure, see benchmarks.metric_paths.
        before, after: Its values.
        change: ``after - before``.
        worse: Whether the change is for the worse; None for a figure without a better side.
        beyond_noise: For drops, whether the change is more than both bootstrap intervals together
            explain (root of the sum of squares of their half widths); for times, whether the medians
            are farther apart than the wider of the distances from median to 90th percentile. None
            where the runs do not tell.
    """

    bundle: str
    target: str
    dataset: Optional[str]
    path: str
    before: float
    after: float
    change: float
    worse: Optional[bool]
    beyond_noise: Optional[bool]


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        before, after: When they were made.
        changes: Figures that both have, in the order of the second run.
        only_before, only_after: Scopes and variants that one run has alone.
        differences: What else differs (machine, versions, data), in sentences: a change of a figure
            may be due to that.
    """

    before: str
    after: str
    changes: List[Change]
    only_before: List[str]
    only_after: List[str]
    differences: List[str]

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"


def compare_results(before: Results, after: Results) -> Comparison:
    """Put two runs side by side."""
    old, new = figures_of(before), figures_of(after)
    changes = []
    for scope, figures in new.items():
        known = old.get(scope, {})
        changes += [_change(scope, path, known, figures) for path in figures if path in known]
    return Comparison(
        before.created_utc,
        after.created_utc,
        changes,
        sorted(_variants(old) - _variants(new)),
        sorted(_variants(new) - _variants(old)),
        _differences(before, after),
    )


def _change(scope: Scope, path: str, old: Dict[str, float], new: Dict[str, float]) -> Change:
    before, after = old[path], new[path]
    change = after - before
    name = path.rsplit(".", 1)[-1]
    worse: Optional[bool] = None
    if name.endswith(_LOWER_IS_BETTER):
        worse = change > 0
    elif not name.startswith("threshold") and not name.endswith(("_low", "_high")):
        worse = change < 0
    if not change:
        worse = False if worse is not None else None
    beyond = None
    if name.endswith("_drop") and path + "_low" in old and path + "_low" in new:
        halves = [(part[path + "_high"] - part[path + "_low"]) / 2 for part in (old, new)]
        beyond = abs(change) > math.hypot(*halves)
    elif name.endswith("_p50_ms"):
        wide = path[: -len("p50_ms")] + "p90_ms"
        beyond = abs(change) > max(part[wide] - part[path] for part in (old, new))
    return Change(
        scope.bundle, scope.target, scope.dataset, path, before, after, change, worse, beyond
    )


def _variants(figures: Dict[Scope, Dict[str, float]]) -> set:
    return {
        "%s: %s" % (scope, path.split(".", 1)[0]) for scope, own in figures.items() for path in own
    }


def _differences(before: Results, after: Results) -> List[str]:
    found = []
    for name, label in (("cpu", "CPU"), ("board", "board"), ("power_mode", "power mode"),
                        ("governor", "governor"), ("usable_cores", "number of cores")):  # fmt: skip
        old, new = getattr(before.machine, name), getattr(after.machine, name)
        if old != new:
            found.append("The %s was %s and is %s." % (label, old, new))
    old_versions, new_versions = before.machine.versions, after.machine.versions
    for name in sorted(set(old_versions) | set(new_versions)):
        old, new = old_versions.get(name, "absent"), new_versions.get(name, "absent")
        if old != new:
            found.append("%s was %s and is %s." % (name, old, new))
    old_data, new_data = _data(before), _data(after)
    for name in sorted(set(old_data) & set(new_data)):
        if old_data[name] != new_data[name]:
            found.append("The files or labels of %s are not the same." % name)
    if not before.complete or not after.complete:
        found.append("At least one of the runs is not complete.")
    return found


def _data(results: Results) -> Dict[str, str]:
    return {part.dataset.name: part.dataset.sha256 for row in results.rows for part in row.accuracy}
