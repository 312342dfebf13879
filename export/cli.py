"""``reid-export``: a trained checkpoint in, a verified bundle out."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.arguments import parser
from runtime.errors import ReidEdgeError


def main(argv: list[str] | None = None) -> int:
    arguments = vars(parser().parse_args(argv))
    as_json = arguments.pop("json")
    only = {name: arguments.pop(name) for name in ("check_only", "fold", "detector")}
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    try:
        if any(only.values()):
            return _x3_only(arguments, only, as_json)
        print(_export(arguments, as_json))
    except ReidEdgeError as error:
        print("reid-export: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-export: interrupted; nothing was written.", file=sys.stderr)
        return 130
    except MemoryError:
        print("reid-export: out of memory; use fewer --calib-count crops.", file=sys.stderr)
        return 2
    return 0


def _export(arguments: dict[str, Any], as_json: bool) -> str:
    """Export, write, and return what to print."""
    if arguments.pop("detector_kind") is not None:
        raise ReidEdgeError("--detector-kind goes with --detector; leave it out.")
    # Imported here so that --help and usage errors need no torch.
    from export.options import ExportOptions
    from export.pipeline import export
    from export.report import summary
    from export.write import write
    from runtime.bundle import Bundle

    options = ExportOptions(**arguments)
    if options.target == "x3":
        from export.x3.export import export_x3
        from export.x3.write import write_x3

        destination, report = write_x3(export_x3(options, _bar))
    else:
        destination, report = write(export(options, _bar))
    files = Bundle.open(destination).manifest.files
    if as_json:
        return json.dumps({**report, "bundle": str(destination), "files": files})
    return summary(report, files, str(destination))


def _x3_only(arguments: dict[str, Any], only: dict[str, Path | None], as_json: bool) -> int:
    """``--check-only``, ``--fold`` and ``--detector``: no ReID network is exported."""
    if arguments["target"] != "x3" or sum(value is not None for value in only.values()) > 1:
        raise ReidEdgeError(
            "--check-only, --fold and --detector are for --target x3, one at a time; got target %s."
            % arguments["target"]
        )
    (option,) = (name for name, value in only.items() if value is not None)
    _refuse_others(arguments, option)
    if only["detector"]:
        return _detector(only["detector"], arguments, as_json)
    if only["fold"]:
        from export.x3.fold import fold

        toolchain = fold(only["fold"])["x3"]["toolchain"]
        print(json.dumps(toolchain, indent=None if as_json else 2))
        return 0 if toolchain["success"] else 3
    from export.onnx_file import read_onnx
    from export.x3.checker import check_model

    assert only["check_only"] is not None
    report = check_model(read_onnx(only["check_only"]))
    print(json.dumps(report.to_dict()) if as_json else report.text())
    return 0 if report.ok else 3


_DETECTOR_TAKES = (
    "calib", "calib_count", "detector_kind", "board_input", "calibration_type", "max_percentile",
    "core_num", "optimize_level", "layer_times", "out", "force", "threads",
)  # fmt: skip


def _refuse_others(arguments: dict[str, Any], option: str) -> None:
    """Refuse what would have no effect, rather than to leave the user believing that it had one."""
    takes = ("target", *(_DETECTOR_TAKES if option == "detector" else ()))
    given = parser().parse_args(["--target", "x3"])
    for name, value in arguments.items():
        if name not in takes and value != getattr(given, name):
            raise ReidEdgeError(
                "--%s has no effect with --%s; leave it out."
                % (name.replace("_", "-"), option.replace("_", "-"))
            )


def _detector(path: Path, arguments: dict[str, Any], as_json: bool) -> int:
    from export.options import CALIBRATION_CROPS, SIMULATED_TYPES
    from export.x3.config import INPUT_KINDS, CompilerOptions
    from export.x3.detector import export_detector
    from export.x3.detector_report import detector_summary

    if arguments["calib"] is None:
        raise ReidEdgeError(
            "A detector is calibrated on camera frames; pass --calib FOLDER of pictures."
        )
    for name, allowed in (("board_input", INPUT_KINDS), ("calibration_type", SIMULATED_TYPES)):
        if arguments[name] not in allowed:
            raise ReidEdgeError(
                "--%s must be one of %s, got %r."
                % (name.replace("_", "-"), ", ".join(allowed), arguments[name])
            )
    count, threads = arguments["calib_count"], arguments["threads"]
    if count is None:
        count = CALIBRATION_CROPS["x3"]
    if count < 1 or (threads is not None and threads < 1):
        raise ReidEdgeError(
            "--calib-count and --threads must be at least 1, got %s and %s." % (count, threads)
        )
    compiler = CompilerOptions(
        *(arguments[n] for n in ("max_percentile", "core_num", "optimize_level", "layer_times"))
    )
    compiler.check(arguments["calibration_type"])
    result = export_detector(
        path,
        arguments["calib"],
        arguments["out"] or Path("bundles") / ("%s_x3" % path.stem),
        kind=arguments["detector_kind"],
        board_input=arguments["board_input"],
        calibration_type=arguments["calibration_type"],
        compiler=compiler,
        count=count,
        force=arguments["force"],
        threads=threads,
        progress=_bar,
    )
    folder = str(result.folder)
    if as_json:
        print(json.dumps({**result.record, "folder": folder, "warnings": result.warnings}))
    else:
        print(detector_summary(result.record, result.warnings, folder))
    return 0


def _bar(label: str, total: int) -> tqdm:
    """A progress bar on stderr, shown only on a terminal."""
    return tqdm(total=total, desc=label, file=sys.stderr, disable=None, leave=False)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
