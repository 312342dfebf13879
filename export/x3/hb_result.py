"""The real result of the Horizon toolchain, as the part it adds to a bundle's report."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from export.x3.check_report import CPU, CheckReport
from export.x3.hb_log import HbLog, LogNode
from runtime.errors import ReidEdgeError

GOOD_COSINE, BAD_COSINE = (
    0.99,
    0.8,
)  # the vendor: normal from the one on, clear loss below the other
_CUT = "..."  # in front of a node name that is too long for the log's table
_LATENCY = re.compile(r"Average\s+latency\s+is:\s*(\S+)\s*ms")
_RATE = re.compile(r"Frame\s+rate\s+is:\s*(\S+)\s*FPS")
_THREADS = re.compile(r"Thread number is:\s*(\d+)")
_FRAMES = re.compile(r"Frame count\s+is:\s*(\d+)")
_PASSED = re.compile(r"Strict check PASSED")
_MISMATCH = re.compile(r"mismatch rate:\s*([\d.eE+-]+)")


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
        return BoardSpeed(float(latency), float(rate), int(threads), int(frames))
    except ValueError:
        raise ReidEdgeError(
            "Expected the output of hrt_model_exec perf with thread number, frame count, average "
            "latency and frame rate, got %d lines without them; give the whole output."
            % len(text.splitlines())
        ) from None


def parse_verification(text: str) -> dict[str, Any]:
    """Read what ``hb_model_verifier`` printed: ``{"passed", "mismatch_rate"}``.

    Raises:
        ReidEdgeError: It says neither that the check passed nor how much differed.
    """
    rates = [float(m.group(1)) for m in _MISMATCH.finditer(text)]
    passed = bool(_PASSED.search(text)) and not any(rates)
    if not passed and not rates:
        raise ReidEdgeError(
            "Expected the output of hb_model_verifier with 'Strict check PASSED' or a mismatch "
            "rate, got %d lines without either; give the whole output." % len(text.splitlines())
        )
    return {"passed": passed, "mismatch_rate": max(rates, default=0.0)}


def toolchain_part(
    *,
    checker: HbLog | None = None,
    makertbin: HbLog | None = None,
    board: BoardSpeed | None = None,
    verification: dict[str, Any] | None = None,
    predicted: CheckReport | None = None,
) -> dict[str, Any]:
    """The JSON-able part ``"toolchain"`` of a report.

    Args:
        checker, makertbin: What the logs say; makertbin's table wins over the checker's.
        board, verification: Measurements, where there are any.
        predicted: What was said beforehand; adds ``"prediction"``, where the two are compared.

    Raises:
        ReidEdgeError: Neither log is given.
    """
    log = makertbin or checker
    if log is None:
        raise ReidEdgeError("The toolchain's result needs a log of checker or of makertbin.")
    cosine = makertbin.worst_output_cosine if makertbin else None
    part: dict[str, Any] = {
        "command": log.command,
        "success": log.success,
        "errors": list(log.errors),
        "versions": log.versions,
        "nodes": {"BPU": sum(n.on == "BPU" for n in log.nodes), "CPU": len(log.cpu_nodes)},
        "cpu_nodes": [{"name": n.name, "type": n.type} for n in log.cpu_nodes],
        "subgraphs": log.subgraphs,
        "calibration_method": log.method,
        "output_cosine": cosine,
        "output_judgement": None if cosine is None else _judgement(cosine),
        "worst_nodes": [
            {"name": n.name, "type": n.type, "cosine": n.cosine} for n in _worst(log.nodes)
        ],
        "estimated": [asdict(s) for s in log.speeds],
        "board": asdict(board) if board else None,
        "verification": verification,
        "prediction": _prediction(predicted, log) if predicted else None,
    }
    return part


def _judgement(cosine: float) -> str:
    if cosine >= GOOD_COSINE:
        return "normal"
    return "clear loss" if cosine < BAD_COSINE else "some loss"


def _worst(nodes: tuple[LogNode, ...], count: int = 5) -> list[LogNode]:
    measured = [n for n in nodes if n.cosine is not None]
    return sorted(measured, key=lambda n: n.cosine or 0.0)[:count]


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
    return name.endswith(logged[len(_CUT) :]) if logged.startswith(_CUT) else name == logged
