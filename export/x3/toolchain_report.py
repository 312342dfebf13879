"""What a report says about the toolchain's own result: what it made, how exact, how fast."""

from __future__ import annotations

from html import escape
from typing import Any

from export.html_table import html_table
from export.x3.check_report import size_text

_SHOWN = 20  # names in a list
_NONE_MADE = (
    "<h3>Toolchain</h3><p>Not run yet. Run <code>x3/build.sh</code>, then "
    "<code>reid-export --target x3 --fold BUNDLE</code> puts its result here.</p>"
)


def toolchain_section(part: dict[str, Any] | None) -> str:
    """The HTML of ``report["x3"]["toolchain"]``, None before build.sh has run."""
    if part is None:
        return _NONE_MADE
    worst = [[n["name"], n["type"], _cosine(n["cosine"])] for n in part["worst_nodes"]]
    return "".join(
        [
            "<h3>Toolchain</h3>",
            *('<p class="warn">%s</p>' % escape(text) for text in part["warnings"]),
            html_table(["said by hb_mapper", ""], _result(part)),
            _part(
                "Least exact nodes",
                html_table(["node", "operator", "cosine"], worst) if worst else "",
            ),
            _part("Beside the prediction", _prediction(part)),
            _part("Speed", _speed(part)),
            _part("Changed in config.yaml", _changes(part["config_changes"])),
        ]
    )


def _part(title: str, text: str) -> str:
    return "<h4>%s</h4>%s" % (title, text) if text else ""


def _result(part: dict[str, Any]) -> list[list[str]]:
    cosine = _cosine(part["output_cosine"])
    if part["output_judgement"]:
        cosine += " (%s)" % part["output_judgement"]
    rows = [
        ["converted", "yes" if part["success"] and part["command"] == "makertbin" else "no"],
        ["nodes on the BPU", str(part["nodes"]["BPU"])],
        ["nodes on the CPU", str(part["nodes"]["CPU"])],
        ["subgraphs", str(part["subgraphs"])],
        ["calibration method", part["calibration_method"] or "-"],
        ["cosine of the output", cosine],
        ["compiled model against the quantized one", _verification(part["verification"])],
        ["versions", ", ".join("%s %s" % item for item in part["versions"].items()) or "-"],
    ]
    return rows + [["error", text] for text in part["errors"]]


def _verification(result: dict[str, Any] | None) -> str:
    if result is None:
        return "not compared"
    if "error" in result:
        return "unknown, see above"
    if result["passed"]:
        return "the same (hb_model_verifier)"
    return "differs in %.3g %% of the values (hb_model_verifier)" % (100 * result["mismatch_rate"])


def _prediction(part: dict[str, Any]) -> str:
    """Beside what was said before the toolchain ran."""
    expected = part["prediction"]
    if expected is None or not (part["nodes"]["BPU"] or part["nodes"]["CPU"]):  # no table
        return ""
    rows = [
        ["BPU segments", str(expected["subgraphs"]), str(part["subgraphs"])],
        ["nodes on the CPU", str(expected["cpu_nodes"]), str(part["nodes"]["CPU"])],
    ]
    text = html_table(["", "predicted", "hb_mapper"], rows, numbers=True)
    for title, names in (
        ("Predicted for the CPU, but not there", expected["only_predicted"]),
        ("On the CPU without being predicted", expected["only_real"]),
    ):
        if names:
            more = ["and %d more" % (len(names) - _SHOWN)] if len(names) > _SHOWN else []
            text += "<p>%s: %s.</p>" % (title, escape(", ".join([*names[:_SHOWN], *more])))
    return text


def _speed(part: dict[str, Any]) -> str:
    rows = [
        [
            "BPU subgraph %d, estimated by the compiler" % number,
            "%.3f" % (speed["latency_us"] / 1000),
            "%.1f" % speed["fps"],
            "-" if speed["ddr_bytes"] is None else size_text(speed["ddr_bytes"]),
        ]
        for number, speed in enumerate(part["estimated"])
    ]
    board = part["board"]
    if board and "error" not in board:
        rows.append(
            [
                "whole model, measured on the board (threads: %d, frames: %d)"
                % (board["threads"], board["frames"]),
                "%.3f" % board["average_latency_ms"],
                "%.1f" % board["fps"],
                "-",
            ]
        )
    if not rows:
        return ""
    head = ["", "latency, ms", "FPS", "memory traffic"]
    return html_table(head, rows, numbers=True) + (
        "<p>The compiler's estimates leave out what runs on the CPU.</p>"
        if part["estimated"]
        else ""
    )


def _changes(changes: dict[str, list[Any]]) -> str:
    if not changes:
        return ""
    rows = [
        [key, *("not given" if v is None else str(v) for v in values)]
        for key, values in changes.items()
    ]
    return html_table(["key", "as exported", "as built"], rows)


def _cosine(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else "%.6f" % value
