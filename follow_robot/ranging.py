"""How far and in which direction a person is, read from one box.

A box gives up to four independent cues of the inverse distance q = 1 / d. In q every one of them is
linear in what was seen (t: slope of a ray, height per metre along the ground; h: the camera's height;
H, W: the person's height and width; a: angle between left and right edge), so Gaussian errors stay
Gaussian, "at the horizon" is simply q = 0, and cues combine by inverse variance:

| cue | q | needs | mostly wrong by |
|---|---|---|---|
| feet | -t_feet / h | lower edge | the camera's pitch; grows with d / h: weak for low cameras |
| height | (t_head - t_feet) / H | both edges | the person's height |
| head | t_head / (H - h) | upper edge, no lower | the person's height, the pitch |
| width, legs | 2 tan(a / 2) / W | left and right edge | how people walk and carry their arms |

Assumed: flat ground, somebody upright, and cues that err independently. They nearly do: feet depend on
the pitch and height on the person; the noise of the lower edge, which both share, is the smaller part
of each. Cues that contradict each other by more than that allows mean that one side of the box is not
what it seems: feet hidden by a chair, a child or somebody bent, arms spread, two people in one box.
Then the box is explained without its lower edge, without its upper one or without its width, and the
explanation that puts the person nearest is believed: a car that stays too far away harms nobody.

A side of the box at the frame's edge is cut off there and gives no cue, only a bound: a head above the
frame, feet below it or shoulders beyond it put the person nearer than some distance. Where only
bounds are left (very close, or cues that are beyond them), the person is put half way to the bound with a standard deviation as
large as ignorance (uniform), too uncertain for a controller to drive towards.
"""

import math
from dataclasses import dataclass, fields
from typing import List, NamedTuple, Optional, Sequence, Tuple

from follow_robot.camera_model import CameraModel
from follow_robot.target import Measurement
from runtime.errors import ReidEdgeError

Box = Sequence[float]

FARTHEST_M = 20.0  # beyond, a box says only "far"
_CONTRADICTION = 5.0  # chi squared of up to three cues about their mean
_UNLIKELY = 2.0  # standard deviations by which bounds are loosened
_IMPOSSIBLE = 3.0  # standard deviations by which cues may lie beyond a bound
_MIN_SIGMA_PX = 1.0
_PARTS = 0.15  # of the width: doubt about which parts of the body show below a cut
_SWAY_M = 0.05  # how a walking body sways about its path
_BOUND = "bound"


@dataclass(frozen=True)
class PersonPrior:
    """What is known of the person before looking, and of the boxes a detector draws.

    Attributes:
        height_m: Height of the person to follow, with shoes.
        height_sigma_m: Standard deviation of that height: 0.1 for adults of both sexes about 1.7, 0.03
            for a person whose height was measured, which makes distances better.
        leg_share: Height of the hips as a share of the person's (0.53: Drillis and Contini 1966).
        shoulder_width_m: Width of a box around the whole person, arms hanging.
        leg_width_m: Width of a box around legs and hips alone.
        width_sigma_share: Standard deviation of these widths as a share of them: strides, arms, bags.
        stride_m: Standard deviation of the feet's place along the line of sight against the body's.
        box_sigma_share: Standard deviation of a box's edge as a share of its longer side; at least
            one pixel.
        edge_share: A box whose edge is this near to the frame's, as a share of the box's longer
            side (at least 2 pixels), is taken to be cut off there.
    """

    height_m: float = 1.7
    height_sigma_m: float = 0.1
    leg_share: float = 0.53
    shoulder_width_m: float = 0.5
    leg_width_m: float = 0.36
    width_sigma_share: float = 0.3
    stride_m: float = 0.1
    box_sigma_share: float = 0.02
    edge_share: float = 0.03

    def __post_init__(self):
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        bad = [name for name, value in values.items() if not math.isfinite(value) or value <= 0]
        shares = ("leg_share", "width_sigma_share", "box_sigma_share", "edge_share")
        bad += [name for name in shares if values[name] >= 1]
        if bad:
            raise ReidEdgeError(
                "Person settings must be finite and above 0, shares below 1; got %s."
                % ", ".join("%s=%s" % (name, values[name]) for name in dict.fromkeys(bad))
            )
        if not 0.5 <= self.height_m <= 2.5 or self.height_sigma_m > 0.25 * self.height_m:
            raise ReidEdgeError(
                "A person's height_m must be 0.5 to 2.5 with height_sigma_m at most a quarter of it, "
                "got %g and %g." % (self.height_m, self.height_sigma_m)
            )


class _Cue(NamedTuple):
    """One reading of the inverse distance: value and standard deviation, per metre."""

    how: str
    value: float
    sigma: float


class _View:
    """A box as rays: slopes of its upper and lower edge, bearings of its sides, what is cut off."""

    def __init__(self, box: Box, frame_size: Tuple[int, int], camera: CameraModel, p: PersonPrior):
        self.camera, self.person = camera.scaled(frame_size), p
        height, width = frame_size
        left, right = max(0.0, box[0]), min(float(width), box[2])
        top, bottom = max(0.0, box[1]), min(float(height), box[3])
        self.empty = not (left < right and top < bottom)
        if self.empty:
            return
        longer = max(right - left, bottom - top)
        self.sigma_px = max(_MIN_SIGMA_PX, p.box_sigma_share * longer)
        margin = max(2.0, p.edge_share * longer)
        self.cut_left, self.cut_right = left < margin, right > width - margin
        self.cut_top, self.cut_bottom = top < margin, bottom > height - margin
        x, y = (left + right) / 2, (top + bottom) / 2
        self.head, self.head_px = self._slope(x, top)
        self.feet, self.feet_px = self._slope(x, bottom)
        self.left_rad = self.camera.ray((left, y)).bearing_rad
        self.right_rad = self.camera.ray((right, y)).bearing_rad
        self.angle_rad = _wrap(self.left_rad - self.right_rad)
        self.px_rad = self.sigma_px * self.angle_rad / (right - left)
        # Feet on flat ground are below the horizon; a lower edge that is not belongs to somebody
        # whose feet are hidden.
        unsure = math.hypot(self.feet_px, self._pitched(self.feet))
        self.feet_hidden = not self.cut_bottom and self.feet > _UNLIKELY * unsure

    def _slope(self, x: float, y: float) -> Tuple[float, float]:
        """Slope at a pixel and its deviation by the noise of the edge."""
        above, below = (
            self.camera.ray((x, y + sign * self.sigma_px)).slope for sign in (-1.0, 1.0)
        )
        return self.camera.ray((x, y)).slope, abs(above - below) / 2

    def _pitched(self, slope: float) -> float:
        """Deviation of a slope by that of the pitch."""
        return (1 + slope * slope) * self.camera.pitch_sigma_rad

    def width_m(self, inverse_m: float) -> float:
        """Width of what is seen of a person at 1 / ``inverse_m``.

        Legs alone are narrower; around the hips, hands and then elbows come in.
        """
        p = self.person
        seen_to = (self.camera.height_m + self.head / inverse_m) / (p.leg_share * p.height_m)
        share = (seen_to - 0.8) / 0.4 if self.cut_top else 1.0
        return p.leg_width_m + min(max(share, 0.0), 1.0) * (p.shoulder_width_m - p.leg_width_m)

    def cues(self, inverse_m: float, without: str = "") -> List[_Cue]:
        """All cues; what their deviations depend on is taken at the distance 1 / ``inverse_m``.

        Not at each cue's own: the cue that is too far would believe itself too much.

        Args:
            without: ``"feet"``, ``"head"`` or ``"width"`` is not what it seems.
        """
        p, h, found = self.person, self.camera.height_m, []
        feet = not (self.cut_bottom or self.feet_hidden) and without != "feet"
        head = not self.cut_top and without != "head"
        if feet:
            edge = math.hypot(self.feet_px, self._pitched(self.feet)) / h
            sigma = math.hypot(edge, p.stride_m * inverse_m**2)
            found.append(_Cue("feet", -self.feet / h, sigma))
        if feet and head:
            slopes = math.hypot(self.head_px, self.feet_px)
            pitch = abs(self.head**2 - self.feet**2) * self.camera.pitch_sigma_rad
            edge = math.hypot(slopes, pitch) / p.height_m
            prior = inverse_m * p.height_sigma_m / p.height_m
            value = (self.head - self.feet) / p.height_m
            found.append(_Cue("height", value, math.hypot(edge, prior)))
        over = p.height_m - h
        if head and not feet and over > 2 * _UNLIKELY * p.height_sigma_m:
            edge = math.hypot(self.head_px, self._pitched(self.head)) / over
            prior = inverse_m * p.height_sigma_m / over
            found.append(_Cue("head", self.head / over, math.hypot(edge, prior)))
        if not (self.cut_left or self.cut_right) and without != "width":
            width = self.width_m(inverse_m)
            edge = math.sqrt(2) * self.px_rad / width
            value = 2 * math.tan(self.angle_rad / 2) / width
            name = "legs" if width < p.shoulder_width_m else "width"
            share = math.hypot(p.width_sigma_share, _PARTS if self.cut_top else 0.0)
            found.append(_Cue(name, value, math.hypot(edge, share * inverse_m)))
        return found

    def bound(self) -> float:
        """Inverse distance that cannot be less, by what is cut off; 0 if nothing says so."""
        p, h, bounds = self.person, self.camera.height_m, [0.0]
        if self.cut_top:
            over = p.height_m + _UNLIKELY * p.height_sigma_m - h
            if over > 0:
                bounds.append((self.head - _UNLIKELY * self._pitched(self.head)) / over)
        if self.cut_bottom:
            bounds.append((-self.feet - _UNLIKELY * self._pitched(self.feet)) / h)
        if self.cut_left or self.cut_right:
            widest = p.shoulder_width_m * (1 + _UNLIKELY * p.width_sigma_share)
            bounds.append(2 * math.tan(min(self.angle_rad, 3.0) / 2) / widest)
        return max(bounds)

    def bearing(self, inverse_m: float, share: float) -> Tuple[float, float]:
        """Bearing of the person's middle and its deviation.

        Args:
            inverse_m: One over the distance, which says how much of the width is cut off.
            share: Standard deviation of the distance as a share of it.
        """
        middle = self.right_rad + self.angle_rad / 2
        sigma = math.hypot(self.px_rad / math.sqrt(2), _SWAY_M * inverse_m)
        if not (self.cut_left or self.cut_right):
            return _wrap(middle), sigma
        whole = 2 * math.atan(self.width_m(inverse_m) * inverse_m / 2)
        hidden = max(0.0, whole - self.angle_rad)
        if self.cut_left and self.cut_right:
            # The middle may lie anywhere on the part that is seen.
            return _wrap(middle), math.hypot(sigma, self.angle_rad / math.sqrt(12))
        middle += hidden / 2 if self.cut_left else -hidden / 2
        unsure = math.hypot(self.person.width_sigma_share, share) * whole
        return _wrap(middle), math.hypot(sigma, max(unsure, hidden) / 2)


def measure(
    box: Box, frame_size: Tuple[int, int], camera: CameraModel, person: PersonPrior
) -> Optional[Measurement]:
    """Distance and bearing of the person in a box.

    Args:
        box: Left, top, right, bottom in pixels; may reach beyond the frame.
        frame_size: (height, width) in pixels.
        camera: Lens and mount.
        person: What is known of the person.

    Returns:
        None if nothing of the box lies inside the frame, or nothing about the distance can be said.
        ``how`` names the cues: ``"feet"``, ``"height"``, ``"head"``, ``"width"``, ``"legs"`` joined by
        ``+``, or ``"bound"`` where all that is known is that the person is near.

    Raises:
        ReidEdgeError: A box that is not finite or upside down, or a frame that the calibration does
            not fit.
    """
    left, top, right, bottom = (float(v) for v in box)
    if not all(map(math.isfinite, (left, top, right, bottom))) or right < left or bottom < top:
        raise ReidEdgeError(
            "A box is left, top, right, bottom with right >= left and bottom >= top, got %s."
            % (tuple(box),)
        )
    view = _View((left, top, right, bottom), frame_size, camera, person)
    if view.empty:
        return None
    bound = view.bound()
    inverse, sigma, how = _combine(view, bound)
    if how == _BOUND:
        if bound <= 1 / FARTHEST_M:
            return None
        distance = 0.5 / bound
        distance_sigma = 1 / bound / math.sqrt(12)
    else:
        distance = min(1 / inverse, FARTHEST_M)
        distance_sigma = min(sigma * distance * distance, distance)
    bearing, bearing_sigma = view.bearing(1 / distance, distance_sigma / distance)
    return Measurement(distance, bearing, distance_sigma, bearing_sigma, how)


class _Mean(NamedTuple):
    """The inverse distance, its standard deviation, and how the cues differ from it."""

    value: float
    sigma: float
    chi2: float
    how: str


def _combine(view: _View, bound: float) -> Tuple[float, float, str]:
    """The inverse distance, its deviation and what it was read from."""
    floor = max(bound, 1 / FARTHEST_M)
    mean = _explain(view, floor)
    if mean is None:
        return 0.0, 0.0, _BOUND
    if mean.chi2 > _CONTRADICTION:
        parts = [_explain(view, floor, without) for without in ("feet", "head", "width")]
        mean = max((part for part in parts if part is not None), key=lambda part: part.value)
    # Birge ratio: cues that differ more than they say are all less certain than they say.
    freedom = mean.how.count("+")
    value, sigma = mean.value, mean.sigma * math.sqrt(max(1.0, mean.chi2 / max(freedom, 1)))
    if bound - value > _IMPOSSIBLE * sigma:  # the box is not what it seems at all
        return 0.0, 0.0, _BOUND
    if bound > 0:
        value, sigma = _above(value, sigma, bound)
    return max(value, 1 / FARTHEST_M), sigma, mean.how


def _explain(view: _View, floor: float, without: str = "") -> Optional[_Mean]:
    """Mean by inverse variance; None without a cue."""
    inverse = max(1.0, floor)  # where to start; three rounds settle to below a percent
    mean = None
    for _ in range(3):
        cues = view.cues(inverse, without)
        if not cues:
            return None
        weights = [cue.sigma**-2 for cue in cues]
        total = sum(weights)
        value = sum(w * cue.value for w, cue in zip(weights, cues)) / total
        chi2 = sum(w * (cue.value - value) ** 2 for w, cue in zip(weights, cues))
        mean = _Mean(value, total**-0.5, chi2, "+".join(cue.how for cue in cues))
        inverse = max(value, floor)
    return mean


def _above(value: float, sigma: float, bound: float) -> Tuple[float, float]:
    """Mean and deviation of a Gaussian of which only what lies above ``bound`` is possible."""
    a = (bound - value) / sigma
    if a < -6:
        return value, sigma
    tail = 0.5 * math.erfc(a / math.sqrt(2))
    ratio = math.exp(-a * a / 2) / math.sqrt(2 * math.pi) / tail
    return value + sigma * ratio, sigma * math.sqrt(1 - ratio * (ratio - a))


def _wrap(angle_rad: float) -> float:
    return math.remainder(angle_rad, 2 * math.pi)
