"""What a report says about the X3: operators and simulated board; and what to do next."""

from __future__ import annotations

from html import escape
from typing import Any

from export.html_table import html_table
from export.x3.check_report import size_text
from export.x3.speed import speed_text
from export.x3.toolchain_report import toolchain_section


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
            "<p>%s</p>" % escape(speed_text(part["predicted_latency"])),
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
            toolchain_section(part["toolchain"]),
        ]
    )


def x3_lines(part: dict[str, Any], destination: str) -> list[str]:
    """The end of the command's summary."""
    operators = part["operators"]
    return [
        "Predicted for the X3: %s." % _operators(operators),
        speed_text(part["predicted_latency"]),
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
