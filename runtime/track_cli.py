"""``reid-track``: who is where on a video, and where the target is."""

import argparse
import json
import logging
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import numpy as np

from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.chooser import Chooser, parse_target
from runtime.detection import Detections
from runtime.detectors import DetectorSettings, open_detector
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.mot_format import read_mot
from runtime.perception import Perception
from runtime.pipeline import Timing, run_pipeline
from runtime.preprocess import read_image
from runtime.sources import Frame, Source, open_source
from runtime.sources.files import list_images
from runtime.track_outputs import TrackOutputs

_DEFAULT_FPS = 25.0  # of the written video, where the source does not say
_INTERRUPTED = 130  # as shells report Ctrl-C
_LINE_FRAMES = 100  # between two lines of progress where there is no bar
_EPILOG = """examples:
  reid-track walk.mp4 --detector yolox_nano.onnx --bundle bundles/osnet_cpu --front
      detect, track and re-identify everybody; lock whoever is in front on the first frames
  reid-track img1/ --detections det.txt --bundle bundles/osnet_cpu --target 320,90,420,400@10
      given boxes; lock the person at this box on frame 10
  reid-track 0 --detector yolox_nano.onnx --bundle bundles/osnet_cpu --gallery photos/
      a camera; search for the person of these photos; end with Ctrl-C

The folder OUT gets video.mp4, tracks.txt (MOTChallenge), frames.jsonl (one object per frame: people,
lock, camera motion, milliseconds per stage) and summary.json.

exit status: 0 done (also when ended by Ctrl-C), 2 the input cannot be used (a camera that is lost
leaves what came before), 3 a file of the bundle is not what was exported, 130 ended by Ctrl-C
before the first frame
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="reid-track",
        description="Detect, track and re-identify the people of a video or camera, and keep to one "
        "of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "source",
        help="video file, folder of images, camera number or device, rtsp://..., csi://SENSOR "
        "(Jetson), mipi:// (RDK X3)",
    )
    p.add_argument("--out", type=Path, help="new folder (default: reid_track/NAME of the source)")
    p.add_argument("--force", action="store_true", help="replace an earlier result")
    p.add_argument(
        "--detector",
        type=Path,
        help="ONNX file, TensorRT plan or exported X3 folder (default: OpenCV's HOG, slow)",
    )
    p.add_argument("--detector-kind", help="its kind, where the outputs do not tell")
    p.add_argument("--min-score", type=float, help="ignore detections below (default: 0.1)")
    p.add_argument("--detections", type=Path, help="MOTChallenge detections instead of a detector")
    p.add_argument("--bundle", type=Path, help="ReID network; without it nobody can be locked")
    p.add_argument("--backend", default="auto", help="of the ReID network (default: %(default)s)")
    who = p.add_mutually_exclusive_group()
    who.add_argument(
        "--target", metavar="L,T,R,B[@FRAME]", help="lock the person at this box (default: frame 0)"
    )
    who.add_argument("--front", action="store_true", help="lock the person in front")
    who.add_argument("--gallery", type=Path, help="lock the person of the photos in this folder")
    p.add_argument("--fps", type=float, help="of a folder, or of a video that says it wrongly")
    p.add_argument("--max-frames", type=int, help="end after so many")
    p.add_argument("--no-video", action="store_true", help="write no annotated video")
    p.add_argument("--threads", type=int, help="CPU threads of each network")
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def given(path: Path) -> Callable[[int], Detections]:
    """Frame number from 0 -> the detections of a MOTChallenge file.

    Raises:
        ReidEdgeError: It cannot be read, or its scores are not from 0 to 1.
    """
    rows = read_mot(path)
    if len(rows.frame) and not 0 <= rows.confidence.min() <= rows.confidence.max() <= 1:
        raise ReidEdgeError(
            "The scores of --detections must be from 0 to 1, those of %s are from %g to %g."
            % (path, rows.confidence.min(), rows.confidence.max())
        )

    def at(number: int) -> Detections:
        found = rows.at(number + 1)
        return Detections(found.boxes.astype(np.float32), found.confidence.astype(np.float32))

    return at


def main(argv: Optional[List[str]] = None) -> int:
    a = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        summary = _track(a)
    except ReidEdgeError as error:
        print("reid-track: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("reid-track: interrupted; nothing was written.", file=sys.stderr)
        return _INTERRUPTED
    if a.json:
        print(json.dumps(summary))
    else:
        _report(summary)
    return 0


def _track(a: argparse.Namespace) -> Dict[str, Any]:
    box, number = parse_target(a.target) if a.target is not None else (None, 0)
    _check(a, number)
    if a.bundle is None and (box or a.front or a.gallery):
        raise ReidEdgeError("A target can only be locked with a ReID network; give --bundle.")
    if a.detections is not None and (a.detector or a.detector_kind or a.min_score is not None):
        raise ReidEdgeError("Give either --detections or a detector, not both.")
    detections = None if a.detections is None else given(a.detections)
    perception = _perception(a, detections is not None)
    if a.gallery is not None:
        perception.choose_gallery(_photos(a.gallery))
    chooser = Chooser(perception, box, number, a.front)

    def step(frame: Frame) -> FrameRecord:
        found = None if detections is None else detections(frame.index)
        record = perception.step(frame.image, frame.time_s, found)
        chooser.after(record)
        return record

    with open_source(a.source, fps=a.fps) as source:
        folder = a.out or Path("reid_track") / _name(source)
        outputs = TrackOutputs(folder, source.fps or _DEFAULT_FPS, not a.no_video, a.force)
        events: List[Tuple[int, str]] = []
        people: Set[int] = set()

        def sink(frame: Frame, record: FrameRecord) -> None:
            outputs.write(frame, record)
            people.update(p.track for p in record.people if p.state == "confirmed")
            if record.lock.event:
                events.append((record.index, record.lock.event))

        timing, stopped, broken = Timing(), False, None
        try:
            with _ctrl_c() as end, _Bar(source, a.max_frames) as progress:
                try:
                    run_pipeline(source, step, sink, a.max_frames, progress, timing, end)
                    stopped = end.is_set()
                except KeyboardInterrupt:
                    stopped = True
                except ReidEdgeError as error:
                    # What a camera showed before it was lost cannot be had again.
                    if not (source.live and source.ended and timing.frames):
                        raise
                    stopped, broken = True, error
            if not stopped:
                chooser.check()
            elif perception.last is None:
                raise KeyboardInterrupt
            if perception.last is None:
                raise ReidEdgeError("%s gave no frame." % source.name)
            result: Dict[str, Any] = {
                "source": source.name,
                "out": str(folder),
                "interrupted": stopped,
                "dropped_frames": source.dropped,
                "people": len(people),
                "embeddings_per_person_frame": perception.schedule.per_person_frame,
                "lock_events": [list(event) for event in events],
                "lock_state": perception.lock.state,
                **timing.summary(),
            }
            outputs.keep(result)
            if broken is not None:
                raise ReidEdgeError("%s What came before is in %s." % (broken, folder))
            return result
        finally:
            outputs.discard()


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C is a KeyboardInterrupt, as always."""
    end = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if end.is_set():
            signal.default_int_handler(number, frame)
        end.set()

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield end  # the caller has its own ways
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield end
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _perception(a: argparse.Namespace, has_detections: bool) -> Perception:
    detect = None
    if not has_detections:
        settings = None if a.min_score is None else DetectorSettings(score_threshold=a.min_score)
        detect = open_detector(a.detector, a.detector_kind, settings, a.threads).detect
    if a.bundle is None:
        return Perception(detect)
    bundle = Bundle.open(a.bundle)
    embedder = Embedder(bundle, open_backend(bundle, a.backend, threads=a.threads))
    return Perception.with_bundle(bundle, detect, embedder.embed)


def _check(a: argparse.Namespace, number: int) -> None:
    for flag, value in (("--max-frames", a.max_frames), ("--threads", a.threads)):
        if value is not None and value < 1:
            raise ReidEdgeError("%s must be at least 1, got %d." % (flag, value))
    if a.max_frames is not None and number >= a.max_frames:
        raise ReidEdgeError(
            "The target is chosen on frame %d, which is behind the last one with --max-frames %d."
            % (number, a.max_frames)
        )


def _photos(folder: Path) -> List[np.ndarray]:
    if not folder.is_dir():
        raise ReidEdgeError("--gallery must be a folder of photos, got %s." % folder)
    photos = [read_image(path) for path in list_images(folder)]
    if not photos:
        raise ReidEdgeError("--gallery must be a folder of photos, but %s has none." % folder)
    return photos


def _name(source: Source) -> str:
    """A folder's name made from the source's."""
    stem = Path(source.name.rstrip("/")).name if not source.live else source.name
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip("._") or "source"


class _Bar:
    """A progress bar where tqdm is installed, else a line every few seconds; on standard error."""

    def __init__(self, source: Source, max_frames: Optional[int]):
        total = source.frame_count
        if max_frames is not None:
            total = max_frames if total is None else min(total, max_frames)
        try:
            from tqdm import tqdm
        except ImportError:
            tqdm = None
        self._tqdm = None if tqdm is None else tqdm(total=total, unit="frame", file=sys.stderr)
        self._total, self._said = total, 0

    def __enter__(self) -> Callable[[int], None]:
        return self._show

    def _show(self, frames: int) -> None:
        if self._tqdm is not None:
            self._tqdm.update(frames - self._tqdm.n)
        elif frames >= self._said + _LINE_FRAMES:
            self._said = frames
            print("frame %d of %s" % (frames, self._total or "?"), file=sys.stderr)

    def __exit__(self, kind, error, trace) -> None:
        if self._tqdm is not None:
            self._tqdm.close()


def _report(summary: Dict[str, Any]) -> None:
    print("Result: %s" % summary["out"])
    if summary["interrupted"]:
        print("Interrupted; the result goes up to there.")
    print(
        "%d frames in %.1f s (%.1f per second), %d people, %.3f embeddings per person and frame"
        % (
            summary["frames"],
            summary["seconds"],
            summary["fps"] or 0,
            summary["people"],
            summary["embeddings_per_person_frame"],
        )
    )
    print("stage     p50 ms   p90 ms   p99 ms")
    for stage, t in summary["stages"].items():
        print("%-8s %7.2f  %7.2f  %7.2f" % (stage, t["p50_ms"], t["p90_ms"], t["p99_ms"]))
    for number, event in summary["lock_events"]:
        print("frame %d: %s" % (number, event.replace("_", " ")))
    if summary["lock_state"] != "idle":
        print("At the end the target is %s." % summary["lock_state"])


if __name__ == "__main__":
    sys.exit(main())
