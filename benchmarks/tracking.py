"""``python -m benchmarks.tracking --sequence DIR``: the tracker against a sequence's ground truth.

A sequence is a folder of the MOTChallenge: ``seqinfo.ini``, ``gt/gt.txt``, ``img1/`` and detections
in ``det/``. The figures are those of py-motmetrics at IoU 0.5 (CLEAR MOT, Bernardin and Stiefelhagen
2008; IDF1, Ristani et al. 2016), over the confirmed tracks of each frame, as they were known then.
Ground truth of 2016 and later: pedestrians with flag 1; boxes on other classes are counted as false,
unlike in the challenge's own evaluation. Ground truth of 2015: every row; ``--counted-only`` leaves
out rows with flag 0, on which boxes are then false, as the challenge does.
"""

from __future__ import annotations

import argparse
import configparser
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from runtime.camera_motion import CameraMotion
from runtime.detection import Detections, iou
from runtime.errors import ReidEdgeError
from runtime.mot_format import MotRows, mot_lines, read_mot
from runtime.preprocess import read_image
from runtime.track import CONFIRMED, Track
from runtime.tracker import Tracker, TrackerSettings

_MATCH_IOU = 0.5
_PEDESTRIAN = 1
_NAMES = {
    "idf1": "idf1",
    "mota": "mota",
    "num_switches": "switches",
    "num_false_positives": "false_positives",
    "num_misses": "misses",
    "num_fragmentations": "fragmentations",
    "precision": "precision",
    "recall": "recall",
}
Embed = Callable[[list], np.ndarray]


@dataclass(frozen=True)
class Sequence:
    """One MOTChallenge sequence.

    Attributes:
        folder: Where it lies.
        name: Of the sequence.
        frame_rate: Frames per second.
        frames: Number of frames.
        frame_size: (height, width) in pixels.
        images: Folder of its frames.
        suffix: Of their files, e.g. ``".jpg"``.
    """

    folder: Path
    name: str
    frame_rate: float
    frames: int
    frame_size: tuple[int, int]
    images: Path
    suffix: str

    @classmethod
    def open(cls, folder: Path) -> Sequence:
        """Read ``seqinfo.ini``.

        Raises:
            ReidEdgeError: It is missing, or an entry is.
        """
        info = configparser.ConfigParser()
        if not info.read(folder / "seqinfo.ini", encoding="utf-8"):
            raise ReidEdgeError("%s is not a sequence: it has no seqinfo.ini." % folder)
        try:
            entry = info["Sequence"]
            return cls(
                folder,
                entry["name"],
                float(entry["frameRate"]),
                int(entry["seqLength"]),
                (int(entry["imHeight"]), int(entry["imWidth"])),
                folder / entry["imDir"],
                entry["imExt"],
            )
        except (KeyError, ValueError) as error:
            raise ReidEdgeError(
                "%s/seqinfo.ini lacks a good entry: %s." % (folder, error)
            ) from None

    def image(self, frame: int) -> np.ndarray:
        """Frame from 1, (H, W, 3) uint8 BGR."""
        return read_image(self.images / ("%06d%s" % (frame, self.suffix)))

    def ground_truth(self, counted_only: bool = False) -> MotRows:
        """The people; without those of flag 0 if ``counted_only`` or if the file has classes."""
        rows = read_mot(self.folder / "gt" / "gt.txt")
        if rows.category is not None:
            return rows.select((rows.confidence != 0) & (rows.category == _PEDESTRIAN))
        return rows.select(rows.confidence != 0) if counted_only else rows

    def detections(self, path: Path | None = None) -> tuple[Path, MotRows]:
        """Detections of ``path``, or of the one file in ``det/`` whose scores are probabilities.

        Raises:
            ReidEdgeError: No such file, several, or scores above 1.
        """
        if path is not None:
            rows = read_mot(path)
            if len(rows.frame) and not 0 <= rows.confidence.min() <= rows.confidence.max() <= 1:
                raise ReidEdgeError("Scores must be from 0 to 1, those of %s are not." % path)
            return path, rows
        found = [(p, read_mot(p)) for p in sorted((self.folder / "det").glob("*.txt"))]
        fit = [(p, r) for p, r in found if not len(r.frame) or r.confidence.max() <= 1]
        if len(fit) != 1:
            raise ReidEdgeError(
                "%s/det must have one file with scores from 0 to 1, got %s; choose one with "
                "--detections." % (self.folder, [p.name for p, _ in fit] or "none")
            )
        return fit[0]


@dataclass(frozen=True)
class Run:
    """A tracker's way through a sequence.

    Attributes:
        tracks: Confirmed tracks of each frame.
        tracker_ms, motion_ms: Milliseconds of the tracker and of camera motion on each frame.
    """

    tracks: list[list[Track]]
    tracker_ms: list[float]
    motion_ms: list[float]


def track_sequence(
    sequence: Sequence,
    detections: MotRows,
    settings: TrackerSettings | None = None,
    camera_motion: bool = True,
    embed: Embed | None = None,
) -> Run:
    """Track the people of a sequence with given detections.

    Args:
        camera_motion: Measure it on the frames; else the camera is taken to stand still.
        embed: Crops to (N, D) L2-normalised float32; None tracks without appearance.
    """
    tracker, camera = Tracker(settings), CameraMotion()
    run = Run([], [], [])
    people = np.empty((0, 4))
    for frame in range(1, sequence.frames + 1):
        rows = detections.at(frame)
        found = Detections(rows.boxes.astype(np.float32), rows.confidence.astype(np.float32))
        image = sequence.image(frame) if camera_motion or embed else None
        motion = camera.update(image, people) if camera_motion and image is not None else None
        run.motion_ms.append(1e3 * camera.report.took_s if camera_motion else 0.0)
        known = None if embed is None else _embeddings(image, found, tracker.settings, embed)
        started = time.perf_counter()
        tracks = tracker.update(
            found, known, motion, (frame - 1) / sequence.frame_rate, sequence.frame_size
        )
        run.tracker_ms.append(1e3 * (time.perf_counter() - started))
        people = np.array([t.box for t in tracks]).reshape(-1, 4)
        run.tracks.append([t for t in tracks if t.state == CONFIRMED])
    return run


def score(truth: MotRows, tracks: list[list[Track]]) -> dict[str, float]:
    """IDF1, MOTA and what they consist of, by motmetrics.

    Raises:
        ReidEdgeError: motmetrics is missing.
    """
    motmetrics = _motmetrics()
    events = motmetrics.MOTAccumulator()
    for frame, seen in enumerate(tracks, 1):
        people = truth.at(frame)
        boxes = np.array([t.box for t in seen], np.float64).reshape(-1, 4)
        overlap = iou(people.boxes, boxes)
        distance = np.where(overlap >= _MATCH_IOU, 1 - overlap, np.nan)
        events.update(people.id, [t.id for t in seen], distance, frameid=frame)
    table = motmetrics.metrics.create().compute(events, metrics=list(_NAMES), name="run")
    return {ours: float(table.loc["run", theirs]) for theirs, ours in _NAMES.items()}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.tracking",
        description="Track the people of a MOTChallenge sequence and score the result.",
        epilog="example:\n  python -m benchmarks.tracking --sequence video/ETH-Sunnyday "
        "--detections video/ETH-Sunnyday/det/yolox_nano.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--sequence", required=True, type=Path, metavar="DIR")
    p.add_argument(
        "--detections",
        type=Path,
        metavar="FILE",
        help="MOT text with scores from 0 to 1; default: the one such file in DIR/det",
    )
    p.add_argument("--bundle", type=Path, metavar="DIR", help="ReID bundle: use appearance too")
    p.add_argument("--still-camera", action="store_true", help="do not measure the camera's motion")
    p.add_argument("--counted-only", action="store_true", help="leave out truth with flag 0")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the tracks as MOT text")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(argv: list[str] | None = None) -> int:
    a = parser().parse_args(argv)
    try:
        record = _run(a)
    except ReidEdgeError as error:
        print("benchmarks.tracking: %s" % error, file=sys.stderr)
        return error.exit_code
    if a.json:
        print(json.dumps(record))
        return 0
    print("%(sequence)s with %(detections)s, appearance %(appearance)s" % record)
    print(
        "IDF1 %(idf1).3f  MOTA %(mota).3f  switches %(switches)d  false positives "
        "%(false_positives)d  misses %(misses)d" % record
    )
    print(
        "tracker %(tracker_ms).2f ms, camera motion %(motion_ms).2f ms per frame (median)" % record
    )
    return 0


def _run(a: argparse.Namespace) -> dict:
    sequence = Sequence.open(a.sequence)
    path, detections = sequence.detections(a.detections)
    truth = sequence.ground_truth(a.counted_only)
    run = track_sequence(sequence, detections, None, not a.still_camera, _embedder(a.bundle))
    if a.out is not None:
        lines = (mot_lines(frame, tracks) for frame, tracks in enumerate(run.tracks, 1))
        _write(a.out, lines)
    return {
        "sequence": sequence.name,
        "detections": path.name,
        "appearance": "off" if a.bundle is None else str(a.bundle),
        **score(truth, run.tracks),
        "tracker_ms": float(np.median(run.tracker_ms)),
        "motion_ms": float(np.median(run.motion_ms)),
    }


def _write(path: Path, lines: Iterator[str]) -> None:
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ReidEdgeError("Cannot write %s: %s." % (path, error.strerror)) from None


def _embeddings(image, found: Detections, settings: TrackerSettings, embed: Embed) -> np.ndarray:
    """(N, D) embeddings of the detections that can teach a track what a person looks like."""
    limit = np.array([image.shape[1], image.shape[0]] * 2)
    boxes = np.clip(np.round(found.boxes), 0, limit).astype(int)
    good = (found.scores >= settings.high_score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    rows = np.flatnonzero(good)
    known = embed([image[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes[rows]])
    embeddings = np.full((len(found), known.shape[1]), np.nan, np.float32)
    embeddings[rows] = known
    return embeddings


def _embedder(bundle: Path | None) -> Embed | None:
    if bundle is None:
        return None
    from runtime.bundle import Bundle
    from runtime.embedder import Embedder

    return Embedder(Bundle.open(bundle)).embed


def _motmetrics():
    try:
        import motmetrics
    except ImportError:
        raise ReidEdgeError(
            "Scoring tracks needs motmetrics; install it with `pip install motmetrics`."
        ) from None
    return motmetrics


if __name__ == "__main__":
    sys.exit(main())
