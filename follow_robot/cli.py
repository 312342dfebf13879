"""``follow-robot``: the car's command. Without a subcommand it drives."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from follow_robot.config import DEFAULTS, Config, load_config
from runtime.errors import ReidEdgeError

_EPILOG = """examples:
  follow-robot --bundle osnet_xavier --detector yolox_nano.onnx --source 0 \\
      --chassis wheeltec:/dev/ttyUSB0
      follow whoever is chosen on the page http://127.0.0.1:8080, once GO is pressed there
  follow-robot --config car.yaml --front --go --record runs/
      follow whoever stands in front, at once, and keep a black box
  follow-robot --config car.yaml --dry-run
      everything but the chassis
  follow-robot --sim
      no car and no camera: a simulated one with the page

subcommands (follow-robot SUBCOMMAND --help):
  config       print the documented defaults, or check a file
  calibrate    the camera's lens and mount
  replay       decide a recorded run again
  simulate     scenarios in simulated time

exit status: 0 ended as asked, 2 a mistake in the input (nothing moved), 4 a part failed while driving
(the car was stopped), 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM
"""
SUBCOMMANDS = ("config", "calibrate", "replay", "simulate")
_NICE = -5  # of the priority; the driver process has more


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="follow-robot",
        description="Drive a car that follows one person.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="YAML (default: see 'config')")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="change one setting; may be repeated",
    )
    p.add_argument("--bundle", metavar="DIR", help="ReID network (bundle.path)")
    p.add_argument("--backend", default="auto", help="of the ReID network (default: %(default)s)")
    p.add_argument("--detector", metavar="ONNX", help="person detector (detector.model)")
    p.add_argument("--source", help="camera, stream or file (source.input)")
    p.add_argument(
        "--chassis", metavar="KIND:PORT", help="wheeltec:/dev/ttyUSB0, ... (chassis.open)"
    )
    p.add_argument("--dry-run", action="store_true", help="drive no chassis")
    who = p.add_mutually_exclusive_group()
    who.add_argument("--front", action="store_true", help="follow whoever stands in front")
    who.add_argument("--target", metavar="L,T,R,B", help="follow the person at this box")
    who.add_argument(
        "--gallery", type=Path, metavar="DIR", help="follow the person of these photos"
    )
    p.add_argument("--go", action="store_true", help="drive without waiting for GO on the page")
    p.add_argument("--record", metavar="DIR", help="keep a black box (recording.folder)")
    p.add_argument("--port", type=int, help="of the page (dashboard.port)")
    p.add_argument("--no-dashboard", action="store_true", help="no page")
    p.add_argument("--threads", type=int, help="CPU threads of the ReID network")
    p.add_argument(
        "--sim",
        nargs="?",
        const="crossing",
        metavar="SCENARIO",
        help="a simulated car in real time: a scenario's file or kind (default: %(const)s)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the simulation (default: %(default)s)")
    p.add_argument("--seconds", type=float, help="end after so long")
    p.add_argument("--json", action="store_true", help="print how the run went as JSON")
    p.add_argument("--verbose", action="store_true", help="say more")
    return p


def main(argv: Optional[Sequence[str]] = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in SUBCOMMANDS:
        return _subcommand(arguments[0], arguments[1:])
    a = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if a.verbose else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    try:
        return _drive(a)
    except ReidEdgeError as error:
        print("follow-robot: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("follow-robot: ended by Ctrl-C; the car was stopped.", file=sys.stderr)
        return 130


def _subcommand(name: str, arguments: List[str]) -> int:
    if name == "config":
        return _config(arguments)
    module = {
        "calibrate": "follow_robot.camera_calibration",
        "replay": "follow_robot.replay_cli",
        "simulate": "follow_robot.simulator.command",
    }[name]
    return importlib.import_module(module).run(arguments)


def _config(arguments: List[str]) -> int:
    p = argparse.ArgumentParser(
        prog="follow-robot config",
        description="Print the documented defaults, to be copied and changed, or check a file.",
    )
    p.add_argument("file", nargs="?", type=Path, help="check this one and print it completed")
    p.add_argument("--json", action="store_true", help="as JSON")
    a = p.parse_args(arguments)
    try:
        if a.file is None and not a.json:
            sys.stdout.write(DEFAULTS.read_text(encoding="utf-8"))
            return 0
        data = load_config(a.file).without_secrets().to_dict()
    except ReidEdgeError as error:
        print("follow-robot: %s" % error, file=sys.stderr)
        return error.exit_code
    if a.json:
        print(json.dumps(data))
    else:
        import yaml

        yaml.safe_dump(data, sys.stdout, sort_keys=False)
    return 0


def configuration(a: argparse.Namespace) -> Config:
    """The file, then --set, then the options of their own."""
    options: Dict[str, Any] = {
        "bundle.path": a.bundle,
        "detector.model": a.detector,
        "source.input": a.source,
        "chassis.open": "null" if a.dry_run else a.chassis,
        "recording.folder": a.record,
        "dashboard.port": a.port,
        "dashboard.enabled": "false" if a.no_dashboard else None,
    }
    overrides = ["%s=%s" % (name, value) for name, value in options.items() if value is not None]
    if a.dry_run and a.chassis:
        raise ReidEdgeError("--dry-run drives no chassis; leave out --chassis or --dry-run.")
    return load_config(a.config, [*a.set, *overrides])


def _drive(a: argparse.Namespace) -> int:
    from follow_robot.app import App
    from follow_robot.eyes import configured_detector, open_eyes, open_network

    if a.seconds is not None and not 0 < a.seconds <= threading.TIMEOUT_MAX:
        raise ReidEdgeError("--seconds must be above 0, got %g." % a.seconds)
    if a.threads is not None and a.threads < 1:
        raise ReidEdgeError("--threads must be at least 1, got %d." % a.threads)
    config = configuration(a)
    if not config.dashboard.enabled and not a.go:
        raise ReidEdgeError(
            "Without the page nobody could press GO; give --go, or leave out --no-dashboard."
        )
    with ExitStack() as stack:
        _take_precedence(stack)
        if a.sim is not None:
            from follow_robot.simulator.live import SimCar

            if a.source or a.chassis or a.dry_run:
                raise ReidEdgeError("--sim brings its own camera and chassis; give neither.")
            car = stack.enter_context(SimCar(a.sim, a.seed))
            config = car.configuration(config)
            embed, strangers = open_network(config, a.backend, a.threads)
            eyes = car.eyes(embed, strangers, configured_detector(config))
        else:
            eyes = open_eyes(config, stack, a.backend, a.threads)
        app = App(config, eyes, _first(a, eyes))
        if a.seconds is not None:
            _end_after(a.seconds, app.end, stack)
        try:
            app.run()
        finally:
            if app.started:
                _summarise(app.frames, app.reports.latency.summary(), a.json)
    return 0


def _take_precedence(stack: ExitStack) -> None:
    """Run before other programs, such as a browser on the same board, where this user may.

    For threads started from here on too; the driver process, which judges and stops, comes before.
    """
    with suppress(OSError):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(_NICE, before))
        stack.callback(os.setpriority, os.PRIO_PROCESS, 0, before)


def _first(a: argparse.Namespace, eyes):
    """What the command line wants from the start."""
    from follow_robot.choices import BOX, FRONT, GALLERY, Choice
    from follow_robot.wishes import FirstWish
    from runtime.preprocess import read_image
    from runtime.sources.files import list_images

    target: Optional[Choice] = None
    if a.front:
        target = Choice(FRONT)
    elif a.target is not None:
        try:
            box = tuple(float(part) for part in a.target.split(","))
        except ValueError:
            box = ()
        if len(box) != 4 or not np.isfinite(box).all():
            raise ReidEdgeError(
                "--target must be left,top,right,bottom in pixels, such as 320,90,420,400, got %r."
                % a.target
            )
        target = Choice(BOX, box)
    elif a.gallery is not None:
        photos = [read_image(p) for p in list_images(a.gallery)] if a.gallery.is_dir() else []
        if not photos:
            raise ReidEdgeError("--gallery needs a folder with photos, got %s." % a.gallery)
        target = Choice(GALLERY, embeddings=eyes.embed(photos))
    return FirstWish(target, a.go)


def _end_after(seconds: float, end, stack: ExitStack) -> None:
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    stack.callback(timer.cancel)


def _summarise(frames: int, latency: Dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"frames": frames, "latency": latency}), flush=True)
        return
    print("%d frames were answered." % frames, file=sys.stderr)
    for name, text in (("whole", "whole"), ("own", "without the networks")):
        times = latency.get(name)
        if times:
            print(
                "From frame to wire, %s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms"
                % (text, times["p50_ms"], times["p90_ms"], times["p99_ms"]),
                file=sys.stderr,
            )


if __name__ == "__main__":
    sys.exit(main())
