"""What people look like: build, hair and clothes as data, drawn at random or nearly like another."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

Colour = Tuple[int, int, int]  # blue, green, red

PATTERNS = ("plain", "hoops", "stripes", "halves", "checks", "yoke")
HAIR = ("short", "long", "cap", "bald")
LEGS = ("trousers", "shorts", "skirt", "coat")

# Clothes people wear, far enough apart to be told apart at 40 pixels: blue, green, red.
CLOTHES: Dict[str, Colour] = {
    "black": (28, 28, 30),
    "white": (232, 232, 230),
    "grey": (128, 130, 130),
    "red": (40, 38, 196),
    "maroon": (38, 28, 96),
    "orange": (30, 122, 236),
    "yellow": (50, 206, 236),
    "olive": (44, 96, 100),
    "green": (64, 150, 40),
    "teal": (140, 134, 22),
    "sky": (222, 172, 98),
    "blue": (190, 76, 36),
    "navy": (88, 40, 24),
    "purple": (140, 44, 110),
    "pink": (178, 128, 232),
    "beige": (148, 186, 206),
}
_SKINS: Sequence[Colour] = ((150, 182, 226), (110, 148, 204), (74, 104, 158), (44, 62, 98))
_HAIRS: Sequence[Colour] = ((22, 22, 26), (34, 52, 82), (80, 140, 186), (150, 152, 156))


@dataclass(frozen=True)
class Look:
    """A drawn person. Colours are blue, green, red, 0 to 255.

    Attributes:
        height_m: Of the body.
        build: Width of the body, 1 is average.
        skin, hair: Colours.
        hair_style: One of ``HAIR``; a cap has ``hat`` as its colour.
        hat: Colour of the cap.
        top, second: Colours of the top; ``second`` is that of its pattern.
        pattern: One of ``PATTERNS``.
        sleeves: Colour of the sleeves, or None for bare arms.
        legs: Colour of what is worn below.
        legs_style: One of ``LEGS``; a coat reaches to the knees in the colour of the top.
        shoes: Colour.
        backpack: Colour, or None without one.
    """

    height_m: float = 1.72
    build: float = 1.0
    skin: Colour = _SKINS[0]
    hair: Colour = _HAIRS[1]
    hair_style: str = "short"
    hat: Colour = CLOTHES["red"]
    top: Colour = CLOTHES["blue"]
    second: Colour = CLOTHES["white"]
    pattern: str = "plain"
    sleeves: Optional[Colour] = CLOTHES["blue"]
    legs: Colour = CLOTHES["grey"]
    legs_style: str = "trousers"
    shoes: Colour = CLOTHES["black"]
    backpack: Optional[Colour] = None

    def __post_init__(self):
        for name, choices in (("pattern", PATTERNS), ("hair_style", HAIR), ("legs_style", LEGS)):
            if getattr(self, name) not in choices:
                raise ReidEdgeError(
                    "A look's %s is one of %s, got %r." % (name, choices, getattr(self, name))
                )
        if not 0.8 <= self.height_m <= 2.2 or not 0.5 <= self.build <= 1.6:
            raise ReidEdgeError(
                "A look's height_m is 0.8 to 2.2 and its build 0.5 to 1.6, got %r and %r."
                % (self.height_m, self.build)
            )
        for name in (
            "skin",
            "hair",
            "hat",
            "top",
            "second",
            "sleeves",
            "legs",
            "shoes",
            "backpack",
        ):
            value = getattr(self, name)
            if value is None and name in ("sleeves", "backpack"):
                continue
            if len(tuple(value)) != 3 or not all(0 <= v <= 255 for v in value):
                raise ReidEdgeError(
                    "A look's %s is blue, green, red from 0 to 255, got %r." % (name, value)
                )

    @classmethod
    def random(cls, seed: int) -> "Look":
        """Somebody; the same person for the same seed."""
        rng = np.random.default_rng((seed, 1))
        names = [str(name) for name in rng.permutation(list(CLOTHES))]
        style = str(rng.choice(LEGS, p=(0.6, 0.15, 0.12, 0.13)))
        colours = {
            part: _jittered(CLOTHES[name], rng)
            for part, name in zip(("top", "second", "legs", "shoes", "hat", "backpack"), names)
        }
        backpack = colours.pop("backpack")
        short = rng.random() < 0.35 and style != "coat"
        two_toned = rng.random() < 0.25
        return cls(
            height_m=float(np.clip(rng.normal(1.71, 0.07), 1.55, 1.9)),
            build=float(np.clip(rng.normal(1.0, 0.1), 0.82, 1.25)),
            skin=_SKINS[int(rng.integers(len(_SKINS)))],
            hair=_HAIRS[int(rng.integers(len(_HAIRS)))],
            hair_style=str(rng.choice(HAIR, p=(0.4, 0.3, 0.2, 0.1))),
            pattern=str(rng.choice(PATTERNS, p=(0.3, 0.18, 0.13, 0.13, 0.13, 0.13))),
            sleeves=None if short else (colours["second"] if two_toned else colours["top"]),
            legs_style=style,
            backpack=backpack if rng.random() < 0.3 else None,
            **colours,
        )

    def double(self, seed: int, details: int = 2) -> "Look":
        """A look-alike: the same top and nearly the same build.

        What somebody wears below covers nearly half of them. Where that is the same too, an embedder
        sees one person: the mean cosine to the original is 0.65 with another backpack and 0.77 with
        another second colour, and 0.92 to the person's own crops (0.65, 0.72 and 0.88 with reid-edge's
        default network; without what drawn people have in common).

        Args:
            seed: Same seed, same look-alike.
            details: 0, a twin: only the top's second colour, the backpack or the hair differs. 1: only
                what is worn below. 2: that, and one of the former.
        """
        rng = np.random.default_rng((seed, 2))
        changed: Dict[str, Any] = {}
        if details > 0:
            legs = _far_from(rng, (self.top, self.second, self.legs))
            changed["legs"] = _jittered(CLOTHES[legs], rng)
            if self.legs_style == "coat":  # it hides the legs
                changed["top"] = changed["legs"]
        if details != 1:
            kinds = ["backpack", "hair"] + ["second"] * (self.pattern != "plain")
            kind = kinds[int(rng.integers(len(kinds)))]
            worn = (self.top, self.second, changed.get("legs", self.legs))
            other = _jittered(CLOTHES[_far_from(rng, worn)], rng)
            if kind == "backpack":
                changed["backpack"] = other if self.backpack is None else None
            elif kind == "second":
                changed["second"] = other
            else:
                styles = [style for style in HAIR if style != self.hair_style]
                changed["hair_style"] = styles[int(rng.integers(len(styles)))]
        for part in ("top", "second"):
            if part in changed and self.sleeves == getattr(self, part):
                changed["sleeves"] = changed[part]
        height = float(np.clip(self.height_m + rng.uniform(-0.03, 0.03), 1.5, 1.95))
        return replace(self, height_m=height, **changed)

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, as scenario files have them."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Dict[str, Any]) -> "Look":
        """The other way round; what is left out is as in ``Look()``.

        Raises:
            ReidEdgeError: An unknown name, or a value that is none.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ReidEdgeError("A look has %s, not %s." % (sorted(known), unknown))
        try:
            given: Dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
            }
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise ReidEdgeError("A look's values are wrong: %s." % error) from None


def _jittered(colour: Colour, rng: np.random.Generator) -> Colour:
    b, g, r = (int(np.clip(v + rng.integers(-10, 11), 0, 255)) for v in colour)
    return b, g, r


def _far_from(rng: np.random.Generator, colours: Sequence[Colour]) -> str:
    """Name of a colour that none of ``colours`` can be taken for."""
    names = list(CLOTHES)
    apart = [
        min(np.linalg.norm(np.subtract(CLOTHES[n], c, dtype=float)) for c in colours) for n in names
    ]
    far = [name for name, gap in zip(names, apart) if gap > 110]
    return far[int(rng.integers(len(far)))] if far else names[int(np.argmax(apart))]
