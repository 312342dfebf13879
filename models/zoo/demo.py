"""Drawn people: stand-ins for a data set where there is none.

Each identity has its own build, skin, hair and clothes; each picture its own camera tint, pose,
framing, background and noise. They exercise the tool chain and its metrics; figures measured on
them say nothing about people.
"""

from __future__ import annotations

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

CAMERAS = 4


def demo_crops(
    n_identities: int, n_per_identity: int, seed: int = 0
) -> list[tuple[np.ndarray, int, int]]:
    """Draw crops of standing people.

    Args:
        n_identities: Number of people.
        n_per_identity: Crops of each, spread over up to four cameras.
        seed: Same seed, same pixels.

    Returns:
        ``n_identities * n_per_identity`` tuples (BGR uint8 image of 160..320 x 60..140 pixels,
        person_id from 1, camera_id from 1).

    Raises:
        ReidEdgeError: A count below 1.
    """
    if n_identities < 1 or n_per_identity < 1:
        raise ReidEdgeError(
            "Demo crops need at least one identity and one crop of each, got "
            f"{n_identities} and {n_per_identity}."
        )
    crops = []
    for person in range(1, n_identities + 1):
        look = _look(np.random.default_rng([seed, person]))
        for index in range(n_per_identity):
            camera = index % CAMERAS + 1
            view = np.random.default_rng([seed, person, index + 1])
            crops.append((_draw(look, camera, view), person, camera))
    return crops


def _look(rng: np.random.Generator) -> dict:
    """What stays the same about a person between pictures."""

    def color(low: int = 10, high: int = 240) -> np.ndarray:
        return rng.integers(low, high, 3).astype(float)

    return {
        "skin": np.array([120.0, 150.0, 200.0]) * rng.uniform(0.4, 1.15),
        "hair": np.array([40.0, 55.0, 70.0]) * rng.uniform(0.1, 2.5),
        "top": color(),
        "legs": color(10, 170),
        "shoes": color(10, 200),
        "stripe": color(),
        "striped": rng.random() < 0.4,
        "bag": color() if rng.random() < 0.4 else None,
        "skirt": rng.random() < 0.3,
        "build": rng.uniform(0.8, 1.25),
    }


def _draw(look: dict, camera: int, rng: np.random.Generator) -> np.ndarray:
    height = int(rng.integers(160, 321))
    width = int(np.clip(height * rng.uniform(0.36, 0.48), 60, 140))
    image = _background(height, width, camera, rng)
    tint = np.random.default_rng(1000 + camera).uniform(0.88, 1.1, 3) * rng.uniform(0.9, 1.1)

    def paint(name: str) -> tuple[float, float, float]:
        b, g, r = np.clip(look[name] * tint, 0, 255)
        return float(b), float(g), float(r)

    def point(x: float, y: float) -> tuple[int, int]:
        """Body coordinates (x from -1 to 1 across, y from 0 to 1 down) to pixels."""
        return round(width / 2 + shift + x * width / 2), round(height * (top + y * tall))

    shift, top, tall = rng.normal(0, width * 0.04), rng.uniform(0.02, 0.08), rng.uniform(0.86, 0.94)
    build, step, lean = look["build"], rng.uniform(0.03, 0.28), rng.normal(0, 0.05)
    limb = max(2, round(width * 0.11 * build))
    for side in (-1, 1):
        hip, foot = point(side * 0.12 * build, 0.5), point(side * (0.1 + step), 0.97)
        cv2.line(image, hip, foot, paint("legs"), round(limb * 1.4), cv2.LINE_AA)
        cv2.circle(image, foot, limb, paint("shoes"), -1, cv2.LINE_AA)
        hand = point(side * (0.42 * build + 0.5 * step), 0.5)
        cv2.line(image, point(side * 0.3 * build, 0.22), hand, paint("top"), limb, cv2.LINE_AA)
        cv2.circle(image, hand, max(2, limb // 2), paint("skin"), -1, cv2.LINE_AA)
    _fill(
        image,
        [
            point(-0.33 * build, 0.18),
            point(0.33 * build, 0.18),
            point(0.27 * build, 0.53),
            point(-0.27 * build, 0.53),
        ],
        paint("top"),
    )
    if look["striped"]:
        for y in (0.26, 0.34, 0.42):
            cv2.line(
                image,
                point(-0.28 * build, y),
                point(0.28 * build, y),
                paint("stripe"),
                max(2, height // 60),
                cv2.LINE_AA,
            )
    if look["skirt"]:
        _fill(
            image,
            [
                point(-0.26 * build, 0.5),
                point(0.26 * build, 0.5),
                point(0.4 * build, 0.7),
                point(-0.4 * build, 0.7),
            ],
            paint("legs"),
        )
    if look["bag"] is not None:
        side = 1 if rng.random() < 0.5 else -1
        _fill(
            image,
            [
                point(side * 0.3, 0.4),
                point(side * 0.55, 0.4),
                point(side * 0.55, 0.56),
                point(side * 0.3, 0.56),
            ],
            paint("bag"),
        )
    head, radius = point(lean, 0.09), max(4, round(height * 0.062))
    cv2.circle(image, head, radius, paint("skin"), -1, cv2.LINE_AA)
    cv2.ellipse(image, head, (radius, radius), 0, 175, 365, paint("hair"), -1, cv2.LINE_AA)

    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    noisy = image + rng.normal(0, rng.uniform(2, 7), image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _background(height: int, width: int, camera: int, rng: np.random.Generator) -> np.ndarray:
    """Wall and floor of the camera's place, with clutter."""
    place = np.random.default_rng(2000 + camera)
    # Nearly grey, as streets are: the clothes shall carry the identity.
    wall, floor = (
        place.uniform(low, high) + place.uniform(-15, 15, 3)
        for low, high in ((110, 210), (70, 150))
    )
    image = np.empty((height, width, 3), np.uint8)
    horizon = int(height * rng.uniform(0.45, 0.8))
    image[:horizon], image[horizon:] = wall, floor
    for _ in range(3):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = (x + int(rng.integers(8, width // 2)), y + int(rng.integers(8, height // 3)))
        shade = rng.uniform(50, 200) + rng.uniform(-20, 20, 3)
        cv2.rectangle(image, (x, y), size, tuple(float(v) for v in shade), -1)
    return cv2.GaussianBlur(image, (0, 0), 3)


def _fill(
    image: np.ndarray, corners: list[tuple[int, int]], color: tuple[float, float, float]
) -> None:
    cv2.fillConvexPoly(image, np.array(corners, np.int32), color, cv2.LINE_AA)
