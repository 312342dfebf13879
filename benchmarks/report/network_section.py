"""Inside a quantized network: which layers err, and which ranges were chosen; from its bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from benchmarks.report import charts
from benchmarks.report.figures import count, finite, number, percent
from benchmarks.report.page import figure, marker_key, paragraph, plots
from benchmarks.report.plots import Plotter
from benchmarks.report.table import Cell, Column, Part, Table, breakable
from benchmarks.results import Results
from benchmarks.variants import bundle_sha256
from runtime.bundle import Bundle, file_sha256
from runtime.errors import ReidEdgeError

LAYERS = 8  # in the table of errors
TENSORS = 8  # in the table of ranges
HISTOGRAMS = 6
_BINS = 80  # drawn; the collected 2048 per side would be a dense comb


@dataclass(frozen=True)
class Range:
    """What was chosen for a tensor.

    Attributes:
        name: Of the tensor.
        method: That chose it.
        low, high: The range.
        seen_low, seen_high: Smallest and largest value of the calibration crops.
        rms: Root mean square error of the quantized values, in the tensor's units.
        others: Method to the range it would have chosen.
    """

    name: str
    method: str
    low: float
    high: float
    seen_low: float
    seen_high: float
    rms: float
    others: Dict[str, Tuple[float, float]]

    @property
    def kept(self) -> float:
        """Share of the calibration values' span that the range covers, at most 1."""
        width = self.seen_high - self.seen_low
        covered = min(self.high, self.seen_high) - max(self.low, self.seen_low)
        return min(covered / width, 1.0) if width > 0 else 1.0


def network_html(results: Results, bundles: Sequence[Path], plotter: Optional[Plotter]) -> str:
    """One part per bundle of the run that is at hand and has something to say.

    Args:
        results: The run.
        bundles: Folders of bundles; those that are not of the run are not shown.
        plotter: None leaves the pictures out.
    """
    wanted = {row.bundle.sha256: row.bundle.name for row in results.rows}
    parts, seen = [], set()
    for path in bundles:
        try:
            bundle = Bundle.open(path, verify=False)
            digest = bundle_sha256(bundle)
        except (ReidEdgeError, OSError):
            continue  # moved since the run; the note below says that some are not shown
        if digest not in wanted or digest in seen:
            continue
        seen.add(digest)
        inside = _layers(bundle, plotter) + _ranges(bundle, plotter)
        if inside:
            parts.append("<h3>%s</h3>%s" % (breakable(bundle.manifest.name), inside))
    missing = sorted({name for digest, name in wanted.items() if digest not in seen})
    if missing and bundles:
        parts.append(
            paragraph(
                "Not shown, since their bundles were not at hand: %s." % ", ".join(missing), "quiet"
            )
        )
    return "".join(parts)


def _layers(bundle: Bundle, plotter: Optional[Plotter]) -> str:
    report = _report(bundle)
    html = ""
    gains = _numbers((report.get("search") or {}).get("sensitivity"))
    if gains:
        html += _worst_table(
            gains, "Layers whose return to float brings most", "mean cosine gained", 5
        ).to_html()
    errors = _numbers(report.get("layer_errors"))
    if not errors:
        return html
    table = _worst_table(
        errors, "Outputs that differ most from fp32", "relative L2 error", 3
    ).to_html()
    if plotter is None:
        return html + table
    name, worst = max(errors.items(), key=lambda item: item[1])
    svg = charts.profile(
        plotter,
        list(errors.values()),
        "Relative error of every node's output; largest %s at %s." % (number(worst, 3), name),
    )
    caption = (
        "INT8 against fp32 on a few held-out crops, as the export measured it. An error includes that of "
        "the layers before; integer nodes that were fused are left out."
    )
    return html + plots(["<div>%s</div>" % table, figure("Where the error arises", svg, caption)])


def _worst_table(values: Dict[str, float], caption: str, title: str, decimals: int) -> Table:
    worst = sorted(values.items(), key=lambda item: -item[1])[:LAYERS]
    rows = [[Cell(name), Cell(number(value, decimals))] for name, value in worst]
    return Table(caption, [Column("Layer", number=False), Column(title)], [Part("", rows)])


def _ranges(bundle: Bundle, plotter: Optional[Plotter]) -> str:
    if not bundle.has("calibration.table"):
        return ""
    try:
        found, method = read_ranges(bundle)
    except (ReidEdgeError, ImportError) as error:
        return paragraph("The calibration table is not shown: %s" % error, "quiet")
    cut = sorted(found, key=lambda r: (round(r.kept, 3), -r.rms / (r.high - r.low)))
    rows = [
        [
            Cell(r.name),
            Cell(r.method),
            Cell("%s to %s" % (number(r.low, 3), number(r.high, 3))),
            Cell("%s to %s" % (number(r.seen_low, 3), number(r.seen_high, 3))),
            Cell(percent(r.kept, 1)),
            Cell("%.2e" % r.rms if finite(r.rms) else number(r.rms)),
        ]
        for r in cut[:TENSORS]
    ]
    columns = [
        Column("Tensor", number=False),
        Column("Method", number=False),
        Column("Range chosen"),
        Column("Values seen"),
        Column("Covered", "%"),
        Column("RMS error"),
    ]
    html = Table(
        "Calibrated ranges that cut most, of %s tensors (method asked for: %s)"
        % (count(len(found)), method),
        columns,
        [Part("", rows)],
    ).to_html()
    if plotter is None:
        return html
    return html + _histograms(bundle, cut[:HISTOGRAMS], plotter)


def read_ranges(bundle: Bundle) -> Tuple[List[Range], str]:
    """The live tensors' ranges in the form the bundle's target uses, and the method asked for.

    Raises:
        ReidEdgeError: The table is of another version, or damaged.
        ImportError: A library that calibration needs is not installed.
    """
    from calibration.table import CalibrationTable  # needs ONNX Runtime, which a board may not have

    table = CalibrationTable.load(bundle.find("calibration.table"))
    symmetric = bundle.manifest.target != "cpu"
    found = []
    for name, tensor in table.tensors.items():
        if tensor.dead:
            continue

        def ends(of: Any) -> Tuple[float, float]:
            return (-of.amax, of.amax) if symmetric else (of.low, of.high)

        low, high = ends(tensor)
        loss = tensor.losses[tensor.method]
        seen = tensor.losses["minmax"]
        square = loss.mse if symmetric else loss.mse_asymmetric
        found.append(
            Range(
                name, tensor.method, low, high, seen.low, seen.high, float(np.sqrt(max(square, 0.0))),
                {m: ends(v) for m, v in tensor.losses.items() if m != tensor.method},
            )
        )  # fmt: skip
    return found, table.method


def _histograms(bundle: Bundle, ranges: Sequence[Range], plotter: Plotter) -> str:
    try:
        collected, crops = collect_values(bundle, [r.name for r in ranges])
    except (ReidEdgeError, ImportError, OSError, KeyError) as error:
        return paragraph("Histograms are left out: %s" % error, "quiet")
    figures = []
    for r in ranges:
        edges, counts = collected[r.name]
        others = list(r.others)
        svg = charts.value_histogram(
            plotter, edges, counts, (r.seen_low, r.seen_high), (r.low, r.high), r.others,
            "Histogram of %s. Range chosen by %s: %s to %s. %s."
            % (
                r.name, r.method, number(r.low, 3), number(r.high, 3),
                "; ".join("%s would end at %s" % (m, number(r.others[m][1], 3)) for m in others),
            ),
        )  # fmt: skip
        figures.append(
            figure(
                r.name,
                svg,
                "Line: the end of the range %s chose; grey is cut off. Marks: where other methods would end."
                % r.method,
                marker_key([(None, i, m) for i, m in enumerate(others)]),
            )
        )
    if not figures:
        return ""
    told = paragraph(
        "Values of the %d golden crops of the bundle, run again for this page; the ranges were chosen on "
        "the calibration crops, which a bundle does not hold." % crops,
        "quiet",
    )
    return told + plots(figures)


def collect_values(
    bundle: Bundle, tensors: Sequence[str]
) -> Tuple[Dict[str, Tuple[List[float], List[int]]], int]:
    """Histograms of tensors over the bundle's golden inputs: (edges, counts) each, and the crops.

    Raises:
        ReidEdgeError: The bundle lacks golden inputs or the float network the table belongs to.
        ImportError: onnx or ONNX Runtime are not installed.
    """
    from calibration.collect import collect_ranges
    from calibration.table import CalibrationTable

    if not bundle.has("golden") or not bundle.has("model.fp32"):
        raise ReidEdgeError("this bundle has no float network with golden inputs to run.")
    model = bundle.find("model.fp32")
    belongs = CalibrationTable.load(bundle.find("calibration.table")).network_sha256
    if file_sha256(model) != belongs:
        raise ReidEdgeError("the bundle's float network is not the one that was calibrated.")
    with np.load(str(bundle.find("golden"))) as golden:
        inputs = golden["inputs"]
    collected = collect_ranges(model, list(tensors), [inputs], threads=1)
    found = {}
    for name, histogram in collected.items():
        low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
        fine = histogram.edges
        edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
        centres = (fine[:-1] + fine[1:]) / 2
        counts = np.histogram(
            np.clip(centres, edges[0], edges[-1]), edges, weights=histogram.counts
        )[0]
        found[name] = (edges.tolist(), counts.astype(int).tolist())
    return found, len(inputs)


def _report(bundle: Bundle) -> Dict[str, Any]:
    if not bundle.has("report"):
        return {}
    try:
        report = json.loads(bundle.find("report").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _numbers(values: Any) -> Dict[str, float]:
    """Those of a JSON object that are finite numbers; the report's schema is not fixed."""
    if not isinstance(values, dict):
        return {}
    kept = {
        str(name): float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return {name: value for name, value in kept.items() if finite(value)}
