"""``follow-robot calibrate``: the section ``camera`` of a configuration, measured.

    follow-robot calibrate lens pictures/*.png --board 9x6
    follow-robot calibrate lens --source 0 --board 9x6
    follow-robot calibrate mount --camera camera.yaml --frame 640x480 \\
        --person-height-m 1.78 --at 2.0:250,12,390,441 --at 3.5:270,80,360,390

Both write a YAML file that a configuration names: ``camera: camera.yaml``.
"""

import argparse
import os
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import yaml

from follow_robot.camera_model import CameraModel
from follow_robot.camera_mount import Mount, Sighting, solve_mount
from follow_robot.config_yaml import read_yaml
from follow_robot.lens_calibration import Board, LensCalibration, Rejected, Views, fit_lens
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image
from runtime.sources import Source, open_source
from runtime.sources.files import IMAGE_SUFFIXES

Say = Callable[[str], None]


def camera_yaml(camera: CameraModel, notes: Sequence[str] = ()) -> str:
    """A camera as a YAML fragment, ``camera: {...}``, with comments in front.

    Only what differs from the defaults is written. Read back it gives the same camera, up to six
    decimals.
    """
    default = CameraModel()
    values = {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(camera).items()
        if value != getattr(default, name)
    }
    text = yaml.safe_dump({"camera": values}, sort_keys=False)
    return "".join("# %s\n" % note for note in notes) + text


def read_camera(path: Path) -> CameraModel:
    """The camera of a file that ``camera_yaml`` wrote, or of a whole configuration.

    Raises:
        ReidEdgeError: The file cannot be read, or its section ``camera`` is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidEdgeError("Cannot read camera file %s: %s." % (path, error)) from None
    data = read_yaml(text, str(path)).data
    section = data.get("camera", data) if isinstance(data, dict) else None
    if not isinstance(section, dict):
        raise ReidEdgeError("%s should have a section 'camera:' with fields such as f_x_px." % path)
    known = {f.name for f in fields(CameraModel)}
    for name, value in section.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name not in known or not (number or value is None):
            raise ReidEdgeError(
                "%s: camera has no number %r with the value %r; known are %s."
                % (path, name, value, ", ".join(sorted(known)))
            )
    return CameraModel(**section)


def collect(
    source: Source,
    board: Board,
    count: int,
    timeout_s: float,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> Views:
    """Take pictures of the board from a source until there are enough, time is up or it ends."""
    views = Views(board)
    end_s = clock() + timeout_s
    while len(views.names) < count and clock() < end_s:
        frame = source.read(timeout_s=max(0.0, min(1.0, end_s - clock())))
        if frame is None:
            if source.ended:
                break
            continue
        rejected = views.add("frame %d" % frame.index, frame.image)
        if rejected is None:
            say("%d of %d: taken; now hold the board elsewhere." % (len(views.names), count))
    # Frames between two pictures are not worth a line each.
    views.rejected.clear()
    return views


def run(argv: Optional[Sequence[str]] = None) -> int:
    """The command; returns its exit code.

    Raises:
        ReidEdgeError: Whatever the user can mend.
    """
    arguments = _parser().parse_args(argv)
    arguments.act(arguments)
    return 0


def _calibrate_lens(arguments: argparse.Namespace) -> None:
    columns, rows = arguments.board
    board = Board(columns, rows, arguments.square_mm / 1000)
    if bool(arguments.images) == bool(arguments.source):
        raise ReidEdgeError("Give either pictures or --source, such as --source 0.")
    if arguments.source:
        with open_source(arguments.source) as source:
            views = collect(source, board, arguments.count, arguments.timeout_s, _say)
    else:
        views = Views(board)
        for path in _image_files(arguments.images):
            try:
                views.add(path.name, read_image(path))
            except ReidEdgeError as error:
                views.rejected.append(Rejected(path.name, "cannot be read (%s)" % error))
    result = fit_lens(views, arguments.wide)
    camera = _lens_of(result, _old_camera(arguments.out))
    for name, reason in result.rejected:
        _say("not used: %s %s" % (name, reason))
    summary = _lens_summary(result)
    _say(summary)
    for warning in result.warnings:
        _say("Warning: %s" % warning)
    _write(arguments.out, camera_yaml(camera, ["Lens: " + summary]))


def _calibrate_mount(arguments: argparse.Namespace) -> None:
    camera = CameraModel(horizontal_fov_deg=arguments.fov_deg or CameraModel.horizontal_fov_deg)
    if arguments.camera is not None:
        if arguments.fov_deg is not None:
            raise ReidEdgeError("Give either --camera or --fov-deg, not both.")
        camera = read_camera(arguments.camera)
    width, height = arguments.frame
    mount = solve_mount(
        arguments.at,
        (height, width),
        camera,
        arguments.person_height_m,
        arguments.camera_height_m,
    )
    summary = _mount_summary(mount, arguments.camera_height_m is None)
    _say(summary)
    if mount.height_sigma_m > 0.05 or mount.pitch_sigma_rad > 0.02:
        _say(
            "Warning: that is uncertain; give --camera-height-m, or more --at with the person at "
            "other distances."
        )
    mounted = replace(camera, height_m=mount.height_m, pitch_rad=mount.pitch_rad)
    _write(arguments.out, camera_yaml(mounted, ["Mount: " + summary]))


def _lens_of(result: LensCalibration, old: CameraModel) -> CameraModel:
    """The new lens on the mount that is already known."""
    lens: Dict[str, Any] = dict(result.lens)
    return replace(old, **lens)


def _old_camera(path: Path) -> CameraModel:
    return read_camera(path) if path.exists() else CameraModel()


def _lens_summary(result: LensCalibration) -> str:
    return (
        "f %.1f px (+- %.1f) at %d x %d, corners %.2f px off (RMS), %d pictures used, %d not, board "
        "seen in %.0f %% of the frame."
        % (
            result.lens["f_x_px"],
            result.focal_sigma_px,
            result.lens["width_px"],
            result.lens["height_px"],
            result.rms_px,
            len(result.used),
            len(result.rejected),
            100 * result.coverage,
        )
    )


def _mount_summary(mount: Mount, fitted: bool) -> str:
    sigma = " (+- %.2f)" % mount.height_sigma_m if fitted else " (given)"
    return "height %.2f m%s, pitch %.3f rad (+- %.3f) down, edges %.1f px off (RMS)." % (
        mount.height_m,
        sigma,
        mount.pitch_rad,
        mount.pitch_sigma_rad,
        mount.misfit_px,
    )


def _image_files(paths: Sequence[Path]) -> List[Path]:
    files: List[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        elif path.is_file():
            files.append(path)
        else:
            raise ReidEdgeError("There is no picture or folder %s." % path)
    if not files:
        raise ReidEdgeError(
            "There are no pictures (%s) in %s."
            % (", ".join(IMAGE_SUFFIXES), ", ".join(map(str, paths)))
        )
    return files


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    scratch = path.with_name(".%s.%d" % (path.name, os.getpid()))
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(str(scratch), str(path))
    except OSError as error:
        if scratch.exists():
            scratch.unlink()
        raise ReidEdgeError("Cannot write %s: %s." % (path, error.strerror or error)) from None
    _say("Written to %s; name it in the configuration: 'camera: %s'." % (path, path.name))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _pair(text: str) -> Tuple[int, int]:
    first, _, second = text.lower().partition("x")
    if not (first.isdigit() and second.isdigit() and int(first) and int(second)):
        raise argparse.ArgumentTypeError("two whole numbers such as 9x6 expected, got %r" % text)
    return int(first), int(second)


def _sighting(text: str) -> Sighting:
    distance, _, box = text.partition(":")
    try:
        edges = [float(v) for v in box.split(",")]
        left, top, right, bottom = edges
        return Sighting((left, top, right, bottom), float(distance))
    except ValueError:
        raise argparse.ArgumentTypeError(
            "DISTANCE_M:LEFT,TOP,RIGHT,BOTTOM such as 2.5:250,12,390,441 expected, got %r" % text
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="follow-robot calibrate", description="Measure the camera: its lens, then its mount."
    )
    parts = parser.add_subparsers(dest="part", required=True)
    lens = parts.add_parser("lens", help="focal length and distortion, from a chessboard")
    lens.add_argument("images", nargs="*", type=Path, help="pictures or folders of them")
    lens.add_argument("--source", help="take them from this camera or video instead, such as 0")
    lens.add_argument("--board", type=_pair, default=(9, 6), help="inner corners (9x6)")
    lens.add_argument("--square-mm", type=float, default=25.0, help="side of a square (25)")
    lens.add_argument("--count", type=int, default=20, help="pictures to take from --source (20)")
    lens.add_argument("--timeout-s", type=float, default=180.0, help="for taking them (180)")
    lens.add_argument(
        "--wide", action="store_true", help="lens of 100 degrees and more: fit k3 too"
    )
    lens.set_defaults(act=_calibrate_lens)
    mount = parts.add_parser("mount", help="height and pitch, from a person who stands there")
    mount.add_argument("--camera", type=Path, help="file of the calibrated lens")
    mount.add_argument("--fov-deg", type=float, help="or its horizontal field of view (62)")
    mount.add_argument("--frame", type=_pair, required=True, help="frame size, such as 640x480")
    mount.add_argument("--person-height-m", type=float, required=True, help="with shoes")
    mount.add_argument("--camera-height-m", type=float, help="above the ground, if measured")
    mount.add_argument(
        "--at",
        type=_sighting,
        action="append",
        required=True,
        metavar="M:L,T,R,B",
        help="distance along the ground and the person's box in pixels; may be repeated",
    )
    mount.set_defaults(act=_calibrate_mount)
    for part in (lens, mount):
        part.add_argument("--out", type=Path, default=Path("camera.yaml"), help="(camera.yaml)")
    return parser
