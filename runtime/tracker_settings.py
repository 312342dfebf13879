"""Every parameter of the tracker, with its unit and what it does."""

import math
from dataclasses import dataclass, field, fields

from runtime.errors import ReidEdgeError
from runtime.kalman import MotionNoise


@dataclass(frozen=True)
class TrackerSettings:
    """What decides how detections become tracks.

    Times are in seconds and lengths in box heights, so the same values serve any frame rate and
    any resolution. Scores are the detector's: a detector whose scores are lower or higher on the
    whole needs the first three changed, and nothing else.

    Attributes:
        low_score: Detections below it are ignored.
        high_score: The score at which a detection is as likely a person as not. From here on it may
            continue any track and speaks for it; below, it may only continue a track that was just
            seen, and speaks against it. Higher: fewer false tracks, later confirmation.
        new_score: Only a detection from this score on starts a track.
        max_aspect: Width / height above which a box does not start a track: shadows, groups, cars.
            An upright person has 0.2 to 0.5.
        confirm_evidence: Evidence at which a track is confirmed; it is also the most a track can
            collect. Evidence is the sum of ``log(s / (1 - s))`` of its detections' scores s,
            counted from that of ``high_score``. Higher: fewer false tracks, later confirmation. At
            0.9 a detection of 0.67 confirms at once, of 0.6 after two more frames at 15 Hz.
        reject_evidence: A track that was never confirmed is dropped below this (negative).
        correlation_s: Detections this close in time repeat each other: one that comes t after the
            last counts ``1 - exp(-t / correlation_s)``. Makes confirmation take about the same time
            at any frame rate. Higher: slower.
        min_iou: A detection from ``high_score`` on continues a track that was seen on the frame
            before only if their overlap is at least this. Lower: more swaps in crowds.
        min_iou_low: The same for detections below ``high_score``, which are often half a person.
        min_iou_lost: The same for tracks that were not seen on the frame before, whose boxes have
            drifted. Lower: found again more often, by the wrong person more often too.
        max_height_ratio: A lost track is continued only by detections of its predicted height times
            or divided by at most this. Lower: fewer swaps behind occlusions; people who come out
            half hidden are not found again.
        recent_s: Detections below ``high_score`` continue only tracks seen this recently.
        appearance_weight: How much one unit of cosine distance between a track's and a detection's
            embedding counts against one unit of IoU. 0 leaves appearance out.
        same_distance: Cosine distance up to which a detection continues a lost track beyond
            ``min_iou_lost``, as far as its motion allows (``reach``). Depends on the network.
        reach: How far that may be: standard deviations of the predicted centre.
        embedding_memory: Share of the old in a track's running mean of embeddings.
        coast_s: A confirmed track stays confirmed, on its predicted box, while it was not seen for
            at most this long: one frame at 20 Hz. Higher: fewer gaps, more boxes on nobody.
        memory_s: A lost track is forgotten after this. Higher: found again after longer occlusions,
            but predictions by motion alone are worth little after a few seconds.
        min_visible: Share of the predicted box inside the frame below which a track is not
            confirmed: somebody is leaving. Needs ``frame_size``.
        edge_px: A box this near to the frame's edge is cut off there: its hidden edge is not
            measured but predicted. Needs ``frame_size``.
        noise: How detected boxes err and people move (runtime.kalman).
    """

    low_score: float = 0.1
    high_score: float = 0.45
    new_score: float = 0.5
    max_aspect: float = 0.6
    confirm_evidence: float = 0.9
    reject_evidence: float = -0.3
    correlation_s: float = 0.15
    min_iou: float = 0.35
    min_iou_low: float = 0.6
    min_iou_lost: float = 0.1
    max_height_ratio: float = 1.3
    recent_s: float = 0.3
    appearance_weight: float = 2.0
    same_distance: float = 0.2
    reach: float = 4.0
    embedding_memory: float = 0.9
    coast_s: float = 0.06
    memory_s: float = 2.0
    min_visible: float = 0.7
    edge_px: float = 2.0
    noise: MotionNoise = field(default_factory=MotionNoise)

    def __post_init__(self):
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "noise"}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        bad += [name for name, value in values.items() if value < 0 and name != "reject_evidence"]
        bad += ["max_height_ratio"] if self.max_height_ratio < 1 else []
        shares = ("min_iou", "min_iou_low", "min_iou_lost", "min_visible", "embedding_memory")
        bad += [name for name in shares if values[name] > 1]
        bad += [name for name in ("correlation_s", "confirm_evidence") if values[name] == 0]
        if bad:
            raise ReidEdgeError(
                "Tracker settings must be finite and not negative, shares at most 1, correlation_s "
                "and confirm_evidence above 0, max_height_ratio at least 1; got %s."
                % ", ".join("%s=%s" % (name, values[name]) for name in dict.fromkeys(bad))
            )
        if not 0 < self.low_score <= self.high_score < 1 or self.new_score < self.high_score:
            raise ReidEdgeError(
                "Scores must be 0 < low_score <= high_score < 1 and high_score <= new_score, got "
                "%s, %s and %s." % (self.low_score, self.high_score, self.new_score)
            )
        if self.reject_evidence > 0:
            raise ReidEdgeError("reject_evidence must be at most 0, got %s." % self.reject_evidence)
