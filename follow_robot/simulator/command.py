"""``follow-robot simulate``: scenarios in simulated time, judged against the truth."""

import argparse
import json
import logging
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import cv2
import numpy as np

from follow_robot.config import load_config
from follow_robot.simulator.generator import KINDS
from follow_robot.simulator.judge import SimResult
from follow_robot.simulator.run import Glimpse, play
from follow_robot.simulator.scenario import open_scenario, scenario_yaml, shipped
from follow_robot.simulator.scenario_model import Scenario
from follow_robot.simulator.top_view import render_scene
from follow_robot.simulator.viewer import Viewer
from runtime.errors import ReidEdgeError, VerificationError

LATEST_S = 0.35  # later, nothing may move without a target or without frames
VIDEO_FPS = 10.0

_EPILOG = """examples:
  follow-robot simulate
      one scenario of each kind
  follow-robot simulate crossing lookalike --runs 20 --out runs/
      forty scenarios, with a record of each
  follow-robot simulate crossing --seed 7 --video --out runs/
      one, to be looked at: world from above beside the camera's picture
  follow-robot simulate my.yaml --bundle osnet_cpu
      an own scenario with the real ReID network

scenarios: a YAML file, a kind (%s), or a shipped one (%s)

exit status: 0 done, 2 the input cannot be used, 3 somebody else was followed or the car moved later
than %.2f s after the target or the frames had vanished
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="follow-robot simulate",
        description="Run scenarios in simulated time, faster than real time, and judge them.",
        epilog=_EPILOG % (", ".join(KINDS), ", ".join(shipped()), LATEST_S),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="file, kind or name (default: each kind)"
    )
    p.add_argument("--seed", type=int, default=0, help="of the first run (default: %(default)s)")
    p.add_argument("--runs", type=int, default=1, help="seeds per kind (default: %(default)s)")
    p.add_argument("--config", type=Path, metavar="FILE", help="the car's configuration")
    p.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    p.add_argument("--bundle", metavar="DIR", help="ReID network (default: colours instead)")
    p.add_argument("--detector", metavar="ONNX", help="person detector (default: simulated)")
    p.add_argument("--out", type=Path, metavar="DIR", help="write a record of each run")
    p.add_argument("--video", action="store_true", help="and a video; needs --out")
    p.add_argument("--yaml", action="store_true", help="print the scenarios and run nothing")
    p.add_argument("--json", action="store_true", help="print the results as JSON")
    return p


def run(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        _command(sys.argv[1:] if argv is None else argv)
    except ReidEdgeError as error:
        print("follow-robot simulate: %s" % error, file=sys.stderr)
        return error.exit_code
    except OSError as error:  # of a folder that cannot be written to, or a full disk
        print("follow-robot simulate: %s." % error, file=sys.stderr)
        return ReidEdgeError.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _command(argv: Sequence[str]) -> None:
    a = parser().parse_args(argv)
    if a.runs < 1 or a.seed < 0:
        raise ReidEdgeError("--runs must be at least 1 and --seed at least 0.")
    if a.video and a.out is None:
        raise ReidEdgeError("--video needs a folder to write to; give --out.")
    scenarios = _scenarios(a)
    if a.yaml:
        print("---\n".join(scenario_yaml(scenario) for scenario in scenarios), end="")
        return
    config = load_config(a.config, a.set)
    viewer = Viewer.of(_embed(a.bundle), _detect(a.detector))
    if a.out is not None:
        a.out.mkdir(parents=True, exist_ok=True)
    results = []
    for scenario in scenarios:
        started_s = time.perf_counter()
        with ExitStack() as stack:
            film = None
            if a.video:
                film = stack.enter_context(_Film(a.out / (scenario.name + ".mp4"), scenario))
            result = play(scenario, viewer, config, film)
        took_s = time.perf_counter() - started_s
        if a.out is not None:
            _write(a.out / (scenario.name + ".json"), result, scenario)
        if not a.json:
            print(
                "%s  %4.1fx real time" % (result.summary(), result.duration_s / took_s), flush=True
            )
        results.append(result)
    if a.json:
        print(json.dumps([_without_series(result) for result in results]))
    _check(results)


def _scenarios(a: argparse.Namespace) -> List[Scenario]:
    found = []
    for name in a.scenarios or KINDS:
        seeds = range(a.seed, a.seed + a.runs) if name in KINDS else range(a.seed, a.seed + 1)
        found += [open_scenario(name, seed) for seed in seeds]
    names = [scenario.name for scenario in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and a.out is not None:
        raise ReidEdgeError(
            "Records are named after their scenarios, and there are two of %s; rename one."
            % ", ".join(twice)
        )
    return found


def _embed(bundle: Optional[str]):
    if bundle is None:
        return None
    from runtime.bundle import Bundle
    from runtime.embedder import Embedder

    return Embedder(Bundle.open(bundle)).embed


def _detect(model: Optional[str]):
    if model is None:
        return None
    from runtime.detectors import open_detector

    return open_detector(model).detect


def _without_series(result: SimResult) -> Dict[str, Any]:
    data = result.to_dict()
    del data["series"]
    return data


def _write(path: Path, result: SimResult, scenario: Scenario) -> None:
    """One JSON file, whole or not at all."""
    data = {"schema": 1, "scenario": scenario.to_dict(), "result": result.to_dict()}
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(data) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _check(results: Sequence[SimResult]) -> None:
    wrong = [r.name for r in results if r.wrong_frames]
    late = [r.name for r in results if max(r.after_target_s, r.after_frames_s) > LATEST_S]
    said = []
    if wrong:
        said.append("somebody else was followed in %s" % ", ".join(wrong))
    if late:
        said.append("the car moved without a target or frames in %s" % ", ".join(late))
    if said:
        raise VerificationError("Of %d runs: %s." % (len(results), "; ".join(said)))


class _Film:
    """A video of a run; a context manager that keeps it only if all went well."""

    def __init__(self, path: Path, scenario: Scenario):
        self._path, self._hfov_deg = path, scenario.camera.hfov_deg
        self._unfinished = path.with_name("unfinished-" + path.name)
        self._next_s = 0.0
        self._writer: Optional[cv2.VideoWriter] = None

    def __call__(self, glimpse: Glimpse) -> None:
        stage = glimpse.stage
        if stage.time_s + 1e-9 < self._next_s or glimpse.picture is None:
            return
        self._next_s += 1 / VIDEO_FPS
        answer = glimpse.answer
        scene = render_scene(
            stage.world,
            glimpse.picture.image,
            None if answer is None else answer.record,
            glimpse.sent.heard,
            self._hfov_deg,
            "; ".join(glimpse.sent.reasons),
        )
        self._write(scene)

    def _write(self, scene: np.ndarray) -> None:
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
            size = (scene.shape[1], scene.shape[0])
            self._writer = cv2.VideoWriter(str(self._unfinished), code, VIDEO_FPS, size)
            if not self._writer.isOpened():
                raise ReidEdgeError(
                    "Cannot write video %s; check the folder, or leave out --video." % self._path
                )
        self._writer.write(scene)

    def __enter__(self) -> "_Film":
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None:
            self._unfinished.replace(self._path)
        else:
            self._unfinished.unlink()


if __name__ == "__main__":
    sys.exit(run())
