"""``python -m benchmarks.predictor``: check, predict, fit."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.predictor import measured
from benchmarks.predictor.boards import boards
from benchmarks.predictor.check import BARS, check, fit_published, met
from benchmarks.predictor.cost import NetworkCost
from benchmarks.predictor.networks import NETWORKS, network
from benchmarks.predictor.onnx_cost import cost_of_onnx
from benchmarks.predictor.params import FILE, load_parameters
from benchmarks.predictor.predict import LABEL, Prediction, predict, published_parameters
from runtime.errors import ReidEdgeError, VerificationError

_LINE = "%-22s %7s %6s %6s %6s %8s %8s %8s %8s"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.predictor",
        description="Latency of a network on boards you may not have: predicted, not measured.",
    )
    commands = p.add_subparsers(dest="command", required=True)
    c = commands.add_parser("check", help="errors on published figures, leaving families out")
    c.add_argument("--json", action="store_true", help="print one JSON object with all rows")
    c.add_argument("--rows", action="store_true", help="list every figure, excluded ones too")
    c = commands.add_parser(
        "predict",
        help="predict one network",
        epilog="boards: %s\nnetworks: %s" % (", ".join(boards()), ", ".join(NETWORKS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = c.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", type=Path, metavar="DIR")
    what.add_argument("--onnx", type=Path, metavar="FILE")
    what.add_argument("--network", metavar="NAME", help="a described network, see below")
    c.add_argument("--size", type=int, metavar="PIXELS", help="input side of a described network")
    c.add_argument("--board", required=True, metavar="BOARD")
    c.add_argument("--precision", metavar="P", help="fp32, fp16 or int8; default fp16, X3 int8")
    c.add_argument("--batch", type=int, default=1, metavar="N")
    c.add_argument("--power-mode", metavar="MODE", help="as nvpmodel -q prints it")
    c.add_argument("--unit", metavar="U", help="gpu, dla or bpu; default: the board's first")
    c.add_argument("--params", type=Path, metavar="FILE", help="written by fit; default: published")
    c.add_argument("--json", action="store_true", help="print one JSON object")
    c = commands.add_parser(
        "fit",
        help="refit on measurements of your board, or on the published figures",
        epilog=measured.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    c.add_argument("--measured", type=Path, metavar="FILE", help="default: the published figures")
    c.add_argument("--out", type=Path, required=True, metavar="FILE")
    return p


def main(argv: Optional[List[str]] = None) -> int:
    a = parser().parse_args(argv)
    try:
        return {"check": _check, "predict": _predict, "fit": _fit}[a.command](a)
    except ReidEdgeError as error:
        print("benchmarks.predictor: %s" % error, file=sys.stderr)
        return error.exit_code


def _check(a: argparse.Namespace) -> int:
    found = check()
    found["stale"] = published_parameters().figures_sha256 != found["figures_sha256"]
    if a.json:
        print(json.dumps(found))
    else:
        _print_check(found, a.rows)
    good = not found["stale"] and all(met(found["overall"]).values())
    return 0 if good else VerificationError.exit_code


def _print_check(found: Dict[str, Any], rows: bool) -> None:
    print("Latency predictor on %s; times are %s.\n" % (found["label"], LABEL))
    if rows:
        for row in found["rows"]:
            print(
                "%-42s %9.3f ms measured %9.3f predicted %+6.1f %%%s"
                % (
                    row["id"],
                    row["measured_ms"],
                    row["predicted_ms"],
                    row["error_percent"],
                    "" if row["inside"] else "  outside its interval",
                )
            )
        for row in found["excluded"]:
            error = row["error_percent"]
            shown = "" if error is None else " (predicted %+.1f %%)" % error
            print("not used: %s%s: %s" % (row["id"], shown, row["reason"]))
        print()
    print(_LINE % ("", "figures", "MAPE", "once", "worst", "Spearman", "ResNet", "once", "in 90 %"))
    groups = {**found["boards"], "all": found["overall"]}
    for name, group in groups.items():
        print(
            _LINE
            % (
                name,
                group["figures"],
                "%.1f" % group["mape"],
                "%.1f" % group["mape_once"],
                "%.1f" % group["worst"],
                "%.3f" % group["spearman"],
                "%.1f" % group["resnet_mape"] if "resnet_mape" in group else "-",
                "%.1f" % group["resnet_mape_once"] if "resnet_mape" in group else "-",
                "%.0f %%" % group["coverage"],
            )
        )
    print('\n"once": figures of the same conditions count as one; %d figures are not used.'
          % len(found["excluded"]))  # fmt: skip
    missed = [bar for bar, ok in met(found["overall"]).items() if not ok]
    print("bars %s: %s" % (BARS, "missed: %s" % ", ".join(missed) if missed else "met"))
    if found["stale"]:
        print("params.json was fitted on other figures: run `fit --out %s`." % FILE)


def _predict(a: argparse.Namespace) -> int:
    precision = a.precision or ("int8" if a.board == "x3" else "fp16")
    cost, notes = _cost(a, precision)
    parameters = load_parameters(a.params) if a.params else None
    found = predict(cost, a.board, precision, a.batch, a.power_mode, a.unit, parameters)
    if a.json:
        print(json.dumps({**found.record(), "notes": notes}))
    else:
        _print_prediction(cost, found, notes)
    return 0


def _print_prediction(cost: NetworkCost, found: Prediction, notes: List[str]) -> None:
    print(
        "%s on %s (%s, %s), %s, batch %d: %.2f ms, 90 %% interval %.2f to %.2f ms, %s"
        % (
            found.network,
            found.board,
            found.power_mode,
            found.unit,
            found.precision,
            found.batch,
            found.latency_ms,
            found.low_ms,
            found.high_ms,
            LABEL,
        )
    )
    print(
        "%.3f GMAC and %.2f M parameters in %d kernels, input %dx%dx%d"
        % (cost.macs / 1e9, cost.weights / 1e6, len(cost.kernels), *cost.input)
    )
    print("  ".join("%s %.3f ms" % term for term in found.terms.items()))
    for note in [found.note, *notes]:
        print("note: " + note)


def _cost(a: argparse.Namespace, precision: str):
    if a.network:
        return network(a.network, a.size), []
    if a.onnx:
        return cost_of_onnx(a.onnx), []
    from runtime.bundle import Bundle

    bundle = Bundle.open(a.bundle)
    target = bundle.manifest.target
    notes: List[str] = []
    wanted = "model.int8" if (precision, target) == ("int8", "xavier") else "model.fp32"
    right = "x3" if a.board == "x3" else "xavier"
    if precision == "int8" and target != right:
        notes.append(
            "the bundle was exported for %s; an export for %s has other layers" % (target, right)
        )
    return cost_of_onnx(bundle.find(wanted)), notes


def _fit(a: argparse.Namespace) -> int:
    if a.measured is None:
        fit_published().save(a.out)
        print("fitted on the published figures: %s" % a.out)
        return 0
    parameters, held_out = measured.refit(a.measured, published_parameters())
    parameters.save(a.out)
    print("%-40s %11s %11s %11s" % ("milliseconds", "measured", "fitted", "left out"))
    for item in held_out:
        times = item.figure.measured_ms, item.fitted_ms, item.predicted_ms
        print("%-40s %11.3f %11.3f %11.3f" % (item.figure.id, *times))
    print(
        "mean absolute error %(fitted_mape_percent).1f %%, of a network not measured "
        "%(left_out_mape_percent).1f %%" % measured.summary(held_out)
    )
    print("use them: python -m benchmarks.predictor predict --params %s ..." % a.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
