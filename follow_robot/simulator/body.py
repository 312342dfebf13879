"""A jointed body that walks, as shapes in the picture, seen from any side.

Every joint is projected by the camera on its own, so that a low camera sees large shoes and a small
head, as it does. Widths are those of an ellipse seen from the side in question.
"""

import math
from typing import Dict, List, NamedTuple, Tuple

from follow_robot.simulator.camera import Camera
from follow_robot.simulator.looks import Colour, Look
from follow_robot.simulator.plane import Pose, wrapped

Spot = Tuple[float, float, float]  # column, row, depth
Ends = Tuple[Tuple[float, float], Tuple[float, float]]  # height and half width, above and below
Joint = Tuple[float, float, float]  # ahead, left, up in heights of the person

_FRONT = 0.3  # cosine of the view from which on the chest is seen


class Stance(NamedTuple):
    """How somebody stands before the camera.

    Attributes:
        ahead_m, left_m: Place seen from the camera.
        turn_rad: Direction they look in, to the left of the camera's.
        phase: Of the double step, 0 to 1.
        stride: 0 standing to 1 walking briskly.
    """

    ahead_m: float
    left_m: float
    turn_rad: float
    phase: float = 0.0
    stride: float = 0.0

    @classmethod
    def of(cls, pose: Pose, camera: Pose, phase: float, speed_mps: float) -> "Stance":
        """Of somebody at ``pose`` before a camera at ``camera``."""
        ahead, left = camera.to_local(pose[:2])
        turn = wrapped(pose.heading_rad - camera.heading_rad)
        return cls(ahead, left, turn, phase, min(speed_mps / 1.2, 1.0))


class Shape(NamedTuple):
    """A polygon, or with ``radius_px`` a thick line through the points (a disc for one)."""

    points: List[Tuple[float, float]]
    colour: Colour
    radius_px: float = 0.0


class Body:
    """The shapes of a person in the order in which they cover each other."""

    def __init__(self, look: Look, stance: Stance, camera: Camera):
        self.look, self.stance, self.camera = look, stance, camera
        self._cos, self._sin = math.cos(stance.turn_rad), math.sin(stance.turn_rad)
        way = math.hypot(stance.ahead_m, stance.left_m)
        # To the right across the line of sight, in the camera's axes.
        self._right = (stance.left_m / way, -stance.ahead_m / way)
        # Direction of the camera in the person's axes: 0 is a view from the front.
        self.view = wrapped(math.atan2(-stance.left_m, -stance.ahead_m) - stance.turn_rad)
        self.facing = math.cos(self.view)  # 1 front, 0 side, -1 rear
        # Where the person's front points in the picture: 1 right, -1 left.
        self.side = self._cos * self._right[0] + self._sin * self._right[1]
        self._sink = 0.0
        self._complete = True

    def shapes(self) -> List[Shape]:
        """Nothing if some part of the person is behind the camera."""
        legs = [self._leg(side) for side in (1, -1)]
        self._sink = min(min(z for _, _, z in leg[:3]) for leg in legs) - 0.03
        arms = [self._arm(side) for side in (1, -1)]
        # The person's left side is the far one where the camera looks at the right side.
        far, near = (0, 1) if math.sin(self.view) < 0 else (1, 0)
        pack = self._pack()
        shapes = self._draw_leg(legs[far]) + self._draw_leg(legs[near])
        shapes += self._below() + self._draw_arm(arms[far])
        behind = 0 < self.facing <= _FRONT  # the torso hides part of the pack
        shapes += pack if behind else []
        shapes += self._torso() + self._head()
        shapes += [] if behind else pack
        shapes += self._draw_arm(arms[near])
        return shapes if self._complete else []

    # -- joints, in the person's axes: ahead, left, up in heights -------------------------------

    def _leg(self, side: int) -> List[Joint]:
        swing = math.sin(2 * math.pi * self.stance.phase) * side
        lift = max(math.cos(2 * math.pi * self.stance.phase) * side, 0.0)
        thigh = 0.5 * self.stance.stride * swing
        bend = 0.75 * self.stance.stride * lift
        hip = (0.0, 0.048 * self.look.build * side, 0.5)
        knee = (0.25 * math.sin(thigh), hip[1], 0.5 - 0.25 * math.cos(thigh))
        shank = thigh - bend
        ankle = (knee[0] + 0.23 * math.sin(shank), hip[1], knee[2] - 0.23 * math.cos(shank))
        toe = (ankle[0] + 0.085 * math.cos(bend), hip[1], ankle[2] - 0.012 - 0.04 * math.sin(bend))
        return [hip, knee, ankle, toe]

    def _arm(self, side: int) -> List[Joint]:
        swing = -math.sin(2 * math.pi * self.stance.phase) * side * 0.45 * self.stance.stride
        shoulder = (0.0, 0.128 * self.look.build * side, 0.80)
        out = 0.02 * side
        elbow = (0.17 * math.sin(swing), shoulder[1] + out, 0.8 - 0.17 * math.cos(swing))
        fore = swing + 0.15 + 0.3 * self.stance.stride
        wrist = (
            elbow[0] + 0.15 * math.sin(fore),
            elbow[1] + out / 2,
            elbow[2] - 0.15 * math.cos(fore),
        )
        return [shoulder, elbow, wrist]

    # -- parts ----------------------------------------------------------------------------------

    def _draw_leg(self, leg: List[Joint]) -> List[Shape]:
        hip, knee, ankle, toe = (self._at(*joint) for joint in leg)
        look = self.look
        bare = look.legs_style in ("shorts", "skirt")
        shank = look.skin if bare else look.legs
        thigh = look.skin if look.legs_style == "skirt" else look.legs
        return [
            self._limb(ankle, toe, 0.026, look.shoes),
            self._limb(knee, ankle, 0.03 if bare else 0.036, shank),
            self._limb(hip, knee, 0.046 * look.build, thigh),
        ]

    def _draw_arm(self, arm: List[Joint]) -> List[Shape]:
        shoulder, elbow, wrist = (self._at(*joint) for joint in arm)
        look = self.look
        sleeve = look.top if look.sleeves is None else look.sleeves
        lower = look.skin if look.sleeves is None else look.sleeves
        return [
            self._limb(wrist, wrist, 0.024, look.skin),
            self._limb(elbow, wrist, 0.024, lower),
            self._limb(shoulder, elbow, 0.031 * look.build, sleeve),
        ]

    def _below(self) -> List[Shape]:
        """Skirt or coat."""
        look = self.look
        if look.legs_style not in ("skirt", "coat"):
            return []
        low = 0.3 if look.legs_style == "skirt" else 0.27
        colour = look.legs if look.legs_style == "skirt" else look.top
        wide = 0.13 + 0.03 * self.stance.stride
        top, bottom = self._half(0.09, 0.07), self._half(wide, 0.8 * wide)
        return [self._band(((0.52, top), (low, bottom)), 0, 1, -1, 1, colour)]

    def _torso(self) -> List[Shape]:
        look = self.look
        ends = self._trunk()
        shapes = [
            self._limb(self._at(0, 0, 0.88), self._at(0, 0, 0.82), 0.033, look.skin),
            self._band(ends, 0, 1, -1, 1, look.top),
        ]
        for top, bottom, left, right in _PATTERNS.get(look.pattern, ()):
            shapes.append(self._band(ends, top, bottom, left, right, look.second))
        if self.facing > _FRONT and look.legs_style == "coat":  # a coat is open in front
            middle = self._ahead_shift()
            shapes.append(self._band(ends, 0, 1, middle - 0.12, middle + 0.12, look.second))
        elif self.facing > _FRONT:  # a neckline
            middle = self._ahead_shift()
            shapes.append(self._band(ends, 0, 0.09, middle - 0.25, middle + 0.25, look.skin))
        return shapes

    def _pack(self) -> List[Shape]:
        look = self.look
        if look.backpack is None:
            return []
        if self.facing > _FRONT:  # only the straps are seen
            middle, ends = self._ahead_shift(), self._trunk()
            return [
                self._band(ends, 0, 0.6, middle + x - 0.08, middle + x + 0.08, look.backpack)
                for x in (-0.55, 0.55)
            ]
        half = self._half(0.1, 0.06)
        return [self._band(((0.82, half), (0.56, half)), 0, 1, -1, 1, look.backpack, -0.11)]

    def _head(self) -> List[Shape]:
        look = self.look
        centre = self._at(0.012, 0, 0.925)
        radius = self._px(0.066, centre)
        x, y = centre[:2]
        hair = look.skin if look.hair_style == "bald" else look.hair
        shapes = []
        if look.hair_style == "long":
            half = self._half(0.062, 0.05)
            shapes.append(self._band(((0.93, half), (0.77, 1.15 * half)), 0, 1, -1, 1, hair, -0.03))
        shapes.append(Shape([(x, y)], hair, radius))
        shown = min(max((self.facing + 0.35) / 1.35, 0.0), 1.0)
        if shown > 0.05:  # the face, towards where they look
            aside = x + self.side * radius * (1 - shown) * 0.85
            wide = radius * (0.35 + 0.5 * shown)
            shapes.append(Shape(_oval(aside, y + 0.16 * radius, wide, 0.8 * radius), look.skin))
        if look.hair_style == "cap":
            shapes.append(Shape(_oval(x, y - 0.05 * radius, radius * 1.05, radius, 0.5), look.hat))
            if self.facing > -0.3:
                tip = x + self.side * radius * 1.7
                shapes.append(Shape([(x, y - 0.2 * radius), (tip, y)], look.hat, 0.16 * radius))
        return shapes

    # -- shapes ---------------------------------------------------------------------------------

    def _limb(self, a: Spot, b: Spot, radius: float, colour: Colour) -> Shape:
        return Shape([a[:2], b[:2]], colour, self._px(radius, a))

    def _band(
        self,
        ends: Ends,
        top: float,
        bottom: float,
        left: float,
        right: float,
        colour: Colour,
        ahead: float = 0.0,
    ) -> Shape:
        """Part of an upright trapezium that faces the camera.

        Args:
            ends: Height and half width of its upper and of its lower edge.
            top, bottom: From 0 at the upper edge to 1 at the lower.
            left, right: From -1 to 1 across, as the camera sees it.
            colour: What is filled in.
            ahead: Its place in front of the body's axis.
        """
        (high, wide), (low, narrow) = ends
        corners = []
        for down, across in ((top, left), (top, right), (bottom, right), (bottom, left)):
            half = wide + down * (narrow - wide)
            spot = self._at(ahead, 0, high + down * (low - high), across * half)
            corners.append((spot[0], spot[1]))
        return Shape(corners, colour)

    def _trunk(self) -> Ends:
        """The torso from the shoulders to the hips."""
        return (0.825, self._half(0.125, 0.07)), (0.49, self._half(0.095, 0.066))

    def _half(self, wide: float, deep: float) -> float:
        """Half the width, in heights, of an ellipse seen from here."""
        return self.look.build * math.hypot(wide * self.facing, deep * math.sin(self.view))

    def _ahead_shift(self) -> float:
        """Where the middle of the chest is across the torso, -1 to 1."""
        return 0.9 * self.side

    def _at(self, ahead: float, left: float, up: float, across: float = 0.0) -> Spot:
        """A point of the body in the picture; ``across`` is to the right of the camera's view."""
        h, s = self.look.height_m, self.stance
        x = s.ahead_m + h * (ahead * self._cos - left * self._sin + across * self._right[0])
        y = s.left_m + h * (ahead * self._sin + left * self._cos + across * self._right[1])
        spot = self.camera.project(x, y, h * (up - self._sink))
        if spot is None:
            self._complete = False
            return 0.0, 0.0, 1.0
        return spot

    def _px(self, size: float, at: Spot) -> float:
        """Pixels of a length in heights at a place in the picture."""
        return size * self.look.height_m * self.camera.focal_px / at[2]


def _oval(
    x: float, y: float, wide: float, high: float, turns: float = 1.0
) -> List[Tuple[float, float]]:
    """Points of an ellipse, or of its upper half where ``turns`` is 0.5."""
    steps = 12
    start = math.pi if turns < 1 else 0.0
    angles = [start + turns * 2 * math.pi * i / steps for i in range(steps + 1)]
    return [(x + wide * math.cos(a), y + high * math.sin(a)) for a in angles]


# Parts of the torso in the second colour: top, bottom, left, right.
_PATTERNS: Dict[str, List[Tuple[float, float, float, float]]] = {
    "hoops": [(0.14 + 0.29 * i, 0.28 + 0.29 * i, -1, 1) for i in range(3)],
    "stripes": [(0, 1, x - 0.13, x + 0.13) for x in (-0.66, 0.0, 0.66)],
    "halves": [(0.5, 1, -1, 1)],
    "yoke": [(0, 0.36, -1, 1)],
    "checks": [
        (i / 4, (i + 1) / 4, -1 + j / 2, -0.5 + j / 2)
        for i in range(4)
        for j in range(4)
        if (i + j) % 2
    ],
}
