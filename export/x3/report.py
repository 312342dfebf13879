"""What a report says about the X3: operators, simulated board, and the toolchain's own result."""

from __future__ import annotations

from html import escape
from typing import Any

from export.html_table import html_table
from export.x3.check_report import size_text


def x3_section(part: dict[str, Any]) -> str:
    """The HTML of ``report["x3"]``."""
    operators, simulation, data = part["operators"], part["simulation"], part["calibration_data"]
    rewrites = [[s["text"], str(s["count"]), "%.1e" % s["relative_l2"]] for s in part["rewrites"]]
    on_cpu = [[n["name"], n["op"], n["reason"]] for n in operators["cpu_nodes"]]
    assumed = "".join("<li>%s</li>" % escape(text) for text in operators["assumptions"])
    return "\n".join(
        [
            "<h2>On the X3</h2><p>Predicted from the vendor's operator table, not measured: %s.</p>"
            % escape(_operators(operators)),
            html_table(["node on the CPU", "operator", "why"], on_cpu) if on_cpu else "",
            "<p>Assumed where the documents are silent:</p><ul>%s</ul>" % assumed
            if assumed
            else "",
            "<h3>Rewrites</h3>",
            html_table(["rewrite", "places", "relative L2"], rewrites, numbers=True),
            "<h3>Simulated board</h3><p>Calibration type %s over %d files; %d tensors rounded; mean "
            "cosine to float on held-out crops %.5f, smallest %.5f. The toolchain's own choices may "
            "differ.</p>"
            % (
                escape(simulation["calibration_type"]),
                data["files"],
                simulation["rounded_tensors"],
                simulation["held_out_cosine"],
                simulation["held_out_cosine_min"],
            ),
            "<p>Behind the board's output the runtime does: %s. Input on the board: %s.</p>"
            % (escape(", ".join(part["cut"])), escape(part["input"])),
            _toolchain(part["toolchain"]),
        ]
    )


def x3_lines(part: dict[str, Any], destination: str) -> list[str]:
    """The end of the command's summary."""
    operators = part["operators"]
    return [
        "Predicted for the X3: %s." % _operators(operators),
        "Next: in the vendor's container, or where hb_mapper is installed, run  %s/x3/build.sh"
        % destination,
        "      and take its result in with  reid-export --target x3 --fold %s" % destination,
    ]


def _operators(operators: dict[str, Any]) -> str:
    counts = operators["counts"]
    text = "%d nodes on the BPU in %d segments, %d on the CPU" % (
        counts["BPU"],
        operators["segments"],
        counts["CPU"],
    )
    if operators["cpu_nodes_of_plain_export"]:
        text += " (a plain export leaves %d there)" % operators["cpu_nodes_of_plain_export"]
    return text + ", %s between them per crop" % size_text(operators["traffic"]["total_bytes"])


def _toolchain(result: dict[str, Any] | None) -> str:
    if result is None:
        return (
            "<h3>Toolchain</h3><p>Not run yet. Run <code>x3/build.sh</code>, then "
            "<code>reid-export --target x3 --fold BUNDLE</code> puts its result here.</p>"
        )
    rows = [
        ["converted", "yes" if result["success"] else "no"],
        ["nodes on the BPU", str(result["nodes"]["BPU"])],
        ["nodes on the CPU", str(result["nodes"]["CPU"])],
        ["subgraphs", str(result["subgraphs"])],
        ["calibration method", str(result["calibration_method"])],
        [
            "cosine of the output",
            "-" if result["output_cosine"] is None else "%.6f" % result["output_cosine"],
        ],
    ]
    rows += [["error", text] for text in result["errors"]]
    worst = [
        [n["name"], n["type"], "-" if n["cosine"] is None else "%.6f" % n["cosine"]]
        for n in result["worst_nodes"]
    ]
    return "<h3>Toolchain</h3>%s%s" % (
        html_table(["said by hb_mapper", ""], rows),
        html_table(["least exact node", "operator", "cosine"], worst) if worst else "",
    )
