"""The real result of the Horizon toolchain, as the part it adds to a bundle's report."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from export.x3.check_report import CPU, CheckReport
from export.x3.hb_log import HbLog
from export.x3.hb_table import LogNode, for_json, rank
from runtime.errors import ReidEdgeError

# The vendor: normal from the one on, clear loss below the other.
GOOD_COSINE, BAD_COSINE = 0.99, 0.8
_CUT = "..."  # in front of a node name that is too long for the log's table
_LATENCY = re.compile(r"Average\s+latency\s+is:\s*(\S+)\s*ms")
_RATE = re.compile(r"Frame\s+rate\s+is:\s*(\S+)\s*FPS")
_THREADS = re.compile(r"Thread number is:\s*(\d+)")
_FRAMES = re.compile(r"Frame count\s+is:\s*(\d+)")
_PASSED = re.compile(r"Strict check PASSED")
_MISMATCH = re.compile(r"mismatch rate:\s*(\S+)")
_SHOWN = 160  # characters of a line that a tool ended with


@dataclass(frozen=True)
class BoardSpeed:
    """What ``hrt_model_exec perf`` measured on the board, CPU operators included."""

    average_latency_ms: float
    fps: float
    threads: int
    frames: int


def parse_board_speed(text: str) -> BoardSpeed:
    """Read what ``hrt_model_exec perf`` printed.

    Raises:
        ReidEdgeError: A figure is missing or is no number.
    """
    found = [pattern.search(text) for pattern in (_LATENCY, _RATE, _THREADS, _FRAMES)]
    try:
        latency, rate, threads, frames = (m.group(1) if m else "" for m in found)
        speed = BoardSpeed(float(latency), float(rate), int(threads), int(frames))
        if not (0 < speed.average_latency_ms < math.inf and 0 < speed.fps < math.inf):
            raise ValueError
        return speed
    except ValueError:
        raise ReidEdgeError(
            "Expected the output of hrt_model_exec perf with thread number, frame count, average "
            "latency and frame rate, got %s; give the whole output." % _got(text)
        ) from None


def parse_verification(text: str) -> dict[str, Any]:
    """Read what ``hb_model_verifier`` printed: ``{"passed", "mismatch_rate"}``.

    Raises:
        ReidEdgeError: It says neither that the check passed nor how much differed.
    """
    try:
        rates = [float(m.group(1)) for m in _MISMATCH.finditer(text)]
    except ValueError:
        rates = [math.nan]
    passed = bool(_PASSED.search(text)) and not any(rates)
    if (not passed and not rates) or not all(map(math.isfinite, rates)):
        raise ReidEdgeError(
            "Expected the output of hb_model_verifier with 'Strict check PASSED' or a mismatch "
            "rate, got %s; run the verifier again." % _got(text)
        )
    return {"passed": passed, "mismatch_rate": max(rates, default=0.0)}


def _got(text: str) -> str:
    """What a tool printed instead, for an error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "nothing"
    return "%d lines without, the last %r" % (len(lines), lines[-1][:_SHOWN])


def toolchain_part(
    *,
    checker: HbLog | None = None,
    makertbin: HbLog | None = None,
    board: BoardSpeed | dict[str, Any] | None = None,
    verification: dict[str, Any] | None = None,
    predicted: CheckReport | None = None,
    names: Collection[str] = (),
) -> dict[str, Any]:
    """The JSON-able part ``"toolchain"`` of a report.

    A similarity that is not finite is the text ``"nan"``, ``"inf"`` or ``"-inf"``, the worst there is,
    and judged as a clear loss.

    Args:
        checker, makertbin: What the logs say; makertbin's table wins over the checker's, unless the
            checker failed: then nothing was converted behind it, and makertbin's is of an older run.
        board, verification: Measurements, where there are any, or ``{"error": sentence}``.
        predicted: What was said beforehand; adds ``"prediction"``, where the two are compared.
        names: Of the nodes of the network that the logs should be of; empty where it names none.

    Raises:
        ReidEdgeError: Neither log is given.
    """
    if checker is not None and not checker.success:
        makertbin = None
    log = makertbin or checker
    if log is None:
        raise ReidEdgeError("The toolchain's result needs a log of checker or of makertbin.")
    if isinstance(board, BoardSpeed):
        board = asdict(board)
    cosine = makertbin.worst_output_cosine if makertbin else None
    errors = [part["error"] for part in (board, verification) if part and "error" in part]
    return {
        "command": log.command,
        "success": log.success,
        "errors": list(log.errors),
        "warnings": errors + _stranger(log, names),
        "versions": log.versions,
        "nodes": {"BPU": sum(n.on == "BPU" for n in log.nodes), "CPU": len(log.cpu_nodes)},
        "cpu_nodes": [{"name": n.name, "type": n.type} for n in log.cpu_nodes],
        "subgraphs": log.subgraphs,
        "calibration_method": log.method,
        "output_cosine": for_json(cosine),
        "output_judgement": None if cosine is None else _judgement(cosine),
        "worst_nodes": [
            {"name": n.name, "type": n.type, "cosine": for_json(n.cosine)}
            for n in _worst(log.nodes)
        ],
        "estimated": [asdict(s) for s in log.speeds],
        "board": board,
        "verification": verification,
        "prediction": _prediction(predicted, log) if predicted else None,
    }


def _judgement(cosine: float) -> str:
    if rank(cosine) < BAD_COSINE:
        return "clear loss"
    return "normal" if cosine >= GOOD_COSINE else "some loss"


def _worst(nodes: tuple[LogNode, ...], count: int = 5) -> list[LogNode]:
    measured = [(n.cosine, n) for n in nodes if n.cosine is not None]
    return [n for _, n in sorted(measured, key=lambda pair: rank(pair[0]))[:count]]


def _stranger(log: HbLog, names: Collection[str]) -> list[str]:
    """A warning where no node has a name of the network.

    The toolchain fuses and renames nodes, so that some are unknown says nothing.
    """
    if not names or not log.nodes or any(_same(n, row.name) for row in log.nodes for n in names):
        return []
    return [
        "Expected the log of this network, got one without any of its node names (the first is %s); "
        "run build.sh again if the log came from elsewhere." % log.nodes[0].name
    ]


def _prediction(predicted: CheckReport, log: HbLog) -> dict[str, Any]:
    """CPU nodes and segments as predicted and as they came."""
    expected = [n.name for n in predicted.on(CPU)]
    real = [n.name for n in log.cpu_nodes]
    return {
        "subgraphs": predicted.segments,
        "cpu_nodes": len(expected),
        "only_predicted": [n for n in expected if not any(_same(n, r) for r in real)],
        "only_real": [r for r in real if not any(_same(n, r) for n in expected)],
    }


def _same(name: str, logged: str) -> bool:
    if logged.startswith(_CUT) and logged != _CUT:
        return name.endswith(logged[len(_CUT) :])
    return name == logged
