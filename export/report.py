"""The report people read: one self-contained HTML page, and the table the command ends with."""

from __future__ import annotations

from html import escape
from typing import Any

from export.html_table import html_table
from export.x3.report import x3_lines, x3_section

_WORST_LAYERS = 15

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1,p{overflow-wrap:anywhere} h1{font-size:1.5rem} h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%} th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d5dae0}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums} .bar{background:#3b7dd8;height:.7rem;display:inline-block}
.warn{background:#fff4d6;border-left:4px solid #d99a00;padding:.5rem .8rem;margin:.4rem 0}
.wide{overflow-x:auto} code{word-break:break-all}
"""


def html_report(report: dict[str, Any]) -> str:
    """The page for a report as ``export.write.report_of`` makes it."""
    network = report["network"]
    parts = [
        "<h1>%s</h1>" % escape(report["name"]),
        "<p>%s network <b>%s</b>, %s, for <b>%s</b> in <b>%s</b>.</p>"
        % (
            escape(network["family"]),
            escape(network["arch"]),
            "from %s" % escape(network["source"]) if network["source"] else "built in",
            escape(report["target"]),
            escape(report["precision"]),
        ),
    ]
    parts += [
        '<p class="warn">%s</p>' % escape(t) for t in [*network["notes"], *report["warnings"]]
    ]
    parts.append(_accuracy(report["accuracy"]))
    parts.append(_parity(report["parity"]))
    parts.append(_latency(report))
    if report["calibration"]:
        parts.append(_calibration(report))
    if report.get("search"):
        parts.append(_search(report["search"]))
    if report.get("x3"):
        parts.append(x3_section(report["x3"]))
    if report["dropped_keys"]:
        parts.append("<h2>Checkpoint entries left out</h2>")
        parts.append(html_table(["entry", "reason"], report["dropped_keys"]))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>%s</title><style>%s</style>%s</html>\n'
        % (escape(report["name"]), _STYLE, "\n".join(parts))
    )


def _accuracy(accuracy: dict[str, Any] | None) -> str:
    if accuracy is None:
        return "<h2>Accuracy</h2><p>Not measured: the export was given no --eval data.</p>"
    rows = []
    for name in (k for k in accuracy if k not in ("dataset", "bootstrap")):
        a = accuracy[name]
        drop = "reference"
        if "mAP_drop" in a:
            drop = "%.2f (%.2f to %.2f)" % (a["mAP_drop"], *a["mAP_drop_interval"])
        rows.append(
            [name, *("%.2f" % a[k] for k in ("mAP", "rank1", "rank5", "rank10", "mINP")), drop]
        )
    head = [
        "precision",
        "mAP %",
        "Rank-1 %",
        "Rank-5 %",
        "Rank-10 %",
        "mINP %",
        "mAP drop (95 % interval)",
    ]
    data = accuracy["dataset"]
    return "<h2>Accuracy</h2>%s<p>%s</p>" % (
        html_table(head, rows, numbers=True),
        escape(
            ", ".join(
                "%s %s" % (k.replace("_", " "), v)
                for k, v in data.items()
                if isinstance(v, (int, str))
            )
        ),
    )


def _parity(parity: dict[str, Any]) -> str:
    rows = [
        [
            stage,
            str(p["n"]),
            "%.2e" % p["relative_l2_max"],
            "%.6f" % p["cosine_min"],
            "%.6f" % p["cosine_p1"],
            "%.6f" % p["cosine_mean"],
            "%.2f" % p["rank_overlap"],
        ]
        for stage, p in parity.items()
    ]
    head = ["stage", "crops", "relative L2 max", "cosine min", "p1", "mean", "top-10 overlap %"]
    return "<h2>Parity with the original network</h2>%s" % html_table(head, rows, numbers=True)


def _latency(report: dict[str, Any]) -> str:
    rows = [
        [name, "%.2f" % t["p50_ms"], "%.2f" % t["p90_ms"], "%.2f" % t["p99_ms"], str(t["n"])]
        for name, t in report["latency_ms"].items()
    ]
    conditions = report["latency_conditions"]
    machine = conditions["machine"]["cpu"] or "unknown CPU"
    return (
        "<h2>Latency on this workstation</h2>%s<p>%s, %s threads, %s. Not the board's latency.</p>"
        % (
            html_table(["precision", "p50 ms", "p90 ms", "p99 ms", "runs"], rows, numbers=True),
            escape(conditions["backend"]),
            escape(str(conditions["threads"])),
            escape(str(machine)),
        )
    )


def _search(search: dict[str, Any]) -> str:
    rows = [[str(count), "%.2f" % drop] for count, drop in search["trials"]]
    return (
        "<h2>Search for layers to leave in float</h2><p>Left in float: %s. Allowed drop %.2f.</p>%s"
        % (
            escape(", ".join(search["kept_float"]) or "none were needed"),
            search["max_map_drop"],
            html_table(["layers in float", "mAP drop"], rows, numbers=True),
        )
    )


def _calibration(report: dict[str, Any]) -> str:
    calibration, layers = report["calibration"], report["layers"]
    crops = calibration["crops"]
    reasons: dict[str, int] = {}
    for reason in layers["float"].values():
        reasons[reason] = reasons.get(reason, 0) + 1
    worst = sorted(report["layer_errors"].items(), key=lambda item: -item[1])[:_WORST_LAYERS]
    peak = max((e for _, e in worst), default=1.0) or 1.0
    bars = "".join(
        '<tr><td><code>%s</code></td><td class="n">%.3f</td><td><span class="bar" style="width:%.1frem"></span></td></tr>'
        % (escape(name), error, 12 * error / peak)
        for name, error in worst
    )
    methods = [[m, "%.6f" % c] for m, c in calibration["methods_tried"].items()]
    steps = [
        [s["step"], "%.6f" % s["held_out_cosine"], "kept" if s["kept"] else "not kept"]
        for s in calibration["improvements"]
    ]
    return (
        "<h2>Quantization</h2><p>%d layers in INT8; in float: %s. Ranges by <b>%s</b> from %d crops (%s), judged on %d others.</p>"
        "<h3>Mean cosine on held-out crops</h3>%s%s"
        '<h3>Layers with the largest error</h3><div class="wide"><table>%s</table></div>'
        % (
            len(layers["int8"]),
            escape(", ".join("%d %s" % (n, r) for r, n in reasons.items()) or "none"),
            escape(calibration["method"]),
            crops["chosen"] - crops["held_out"],
            escape(crops["layout"]),
            crops["held_out"],
            html_table(["method", "cosine"], methods, numbers=True),
            html_table(["improvement", "cosine", ""], steps) if steps else "",
            bars,
        )
    )


def summary(report: dict[str, Any], files: dict[str, dict[str, Any]], destination: str) -> str:
    """The table the command prints at its end."""
    head = ["file", "size", "precision", "parity (mean cos)", "mAP", "Rank-1", "CPU ms (b1)"]
    rows = []
    accuracy = report["accuracy"] or {}
    for precision in report["latency_ms"]:
        name = next(n for n, e in files.items() if e["role"] == "model." + precision)
        parity = report["parity"].get(precision) or report["parity"]["rewritten"]
        measured = accuracy.get(precision)
        rows.append(
            [
                name,
                "%.1f MB" % (files[name]["size_bytes"] / 1e6),
                precision,
                "%.5f" % parity["cosine_mean"],
                "%.2f" % measured["mAP"] if measured else "-",
                "%.2f" % measured["rank1"] if measured else "-",
                "%.2f" % report["latency_ms"][precision]["p50_ms"],
            ]
        )
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(str(c).ljust(w) for c, w in zip(r, widths)).rstrip() for r in [head, *rows]]
    lines.insert(1, "  ".join("-" * w for w in widths))
    for name, a in accuracy.items():
        if "mAP_drop" in a:
            lines.append(
                "%s: mAP %+.2f points against fp32 (95 %% interval %+.2f to %+.2f)."
                % (name, -a["mAP_drop"], *(-x for x in reversed(a["mAP_drop_interval"])))
            )
    if report.get("search"):
        kept = report["search"]["kept_float"]
        lines.append("layers left in float: %s" % (", ".join(kept) or "none were needed"))
    lines.append("")
    lines += _dropped(report["dropped_keys"])
    lines += ["note: " + text for text in [*report["network"]["notes"], *report["warnings"]]]
    lines.append("Bundle: %s" % destination)
    if report["target"] == "x3":
        lines += x3_lines(report["x3"], destination)
    elif report["target"] == "xavier":
        lines.append(
            "Next: copy it to the board and run there  reid-build %s"
            % destination.rsplit("/", 1)[-1]
        )
    else:
        lines.append(
            'Next: from runtime.bundle import Bundle; from runtime.embedder import Embedder; Embedder(Bundle.open("%s"))'
            % destination
        )
    return "\n".join(lines)


def _dropped(pairs: list[list[str]]) -> list[str]:
    """One line per reason for which checkpoint entries were left out."""
    keys: dict[str, list[str]] = {}
    for key, reason in pairs:
        keys.setdefault(reason, []).append(key)
    return [
        "left out of the checkpoint: %s%s (%s)"
        % (
            ", ".join(names[:3]),
            " and %d more" % (len(names) - 3) if len(names) > 3 else "",
            reason,
        )
        for reason, names in keys.items()
    ]
