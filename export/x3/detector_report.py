"""What is said about an exported detector."""

from __future__ import annotations

from typing import Any

from export.x3.check_report import size_text
from export.x3.detector_frames import Frames
from export.x3.detector_graph import DetectorGraph
from export.x3.speed import speed_text

MANY_SEGMENTS = 8  # each costs a way to the CPU and back
LEAST_RECALL = 0.8


def operators_part(graph: DetectorGraph) -> dict[str, Any]:
    """Where the nodes run, as rewritten and in the file that was given; JSON-able."""
    return {
        "counts": graph.check.counts,
        "segments": graph.check.segments,
        "traffic_bytes": graph.check.traffic.to_dict()["total_bytes"],
        "of_the_file": {"counts": graph.plain.counts, "segments": graph.plain.segments},
    }


def detector_warnings(record: dict[str, Any], frames: Frames) -> list[str]:
    """Sentences the user must see."""
    operators, people = record["operators"], record["simulation"]["people"]
    warnings = []
    if operators["segments"] > MANY_SEGMENTS:
        warnings.append(
            "%d nodes run on the board's CPU and cut the network into %d BPU segments, with %s moved "
            "between them per frame, so it will be slow; networks with ReLU or LeakyReLU (FastestDet, "
            "NanoDet-m) fit the BPU better than those with SiLU."
            % (
                operators["counts"]["CPU"],
                operators["segments"],
                size_text(operators["traffic_bytes"]),
            )
        )
    worst = [v["recall"] for v in (people["int8"], people.get("int8_nv12")) if v]
    if None in worst:
        warnings.append(
            "no people were found in the frames, so what int8 costs is not known; give frames with "
            "people in them."
        )
    elif min(worst) < LEAST_RECALL:
        warnings.append(
            "the simulated board finds only %.0f %% of the people that the float network finds; try "
            "--calibration-type kl or max, or another detector." % (100 * min(worst))
        )
    if not frames.held_out:
        warnings.append(
            "only %d frames were given, so the simulation is judged on those it is calibrated on; give "
            "about 150." % len(frames.calibration)
        )
    if frames.left_out:
        warnings.append("%d frames of one colour were left out." % frames.left_out)
    if record["board_input"] in ("rgb", "bgr"):
        warnings.append(
            "reid-edge's own runtime feeds the board nv12 or featuremap; a model with %s input is for "
            "your own program." % record["board_input"]
        )
    return warnings


def detector_summary(record: dict[str, Any], warnings: list[str], folder: str) -> str:
    """What the command prints."""
    operators, people = record["operators"], record["simulation"]["people"]
    counts, before = operators["counts"], operators["of_the_file"]
    lines = [
        "%s is a %s detector." % (record["detector"], record["kind"]),
        "Predicted for the X3: %d nodes on the BPU in %d segments, %d on the CPU; in the file as it was "
        "given %d segments and %d on the CPU."
        % (
            counts["BPU"],
            operators["segments"],
            counts["CPU"],
            before["segments"],
            before["counts"]["CPU"],
        ),
        speed_text(record["predicted_latency"]),
        "Simulated on %d frames, against the %d people that the float network finds:"
        % (people["frames"], people["float"]),
    ]
    for name, label in (("int8", "int8"), ("int8_nv12", "int8, fed with NV12")):
        if name in people:
            found = people[name]
            lines.append(
                "  %-20s finds %s of them; %s of its boxes are such"
                % (label, _percent(found["recall"]), _percent(found["precision"]))
            )
    lines += ["warning: " + text for text in warnings]
    lines += [
        "Next: in the vendor's container, or where hb_mapper is installed, run  %s/build.sh"
        % folder,
        "      and take its result in with  reid-export --target x3 --fold %s" % folder,
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else "%.0f %%" % (100 * share)
