"""What a network expects and what it returns, as data.

The contract comes from the checkpoint adapter, travels in the bundle's manifest, and is obeyed by
calibration, accuracy runs and the robot alike. It is never typed a second time.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Tuple

from runtime.errors import ReidEdgeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

COLORS = ("RGB", "BGR")
RESIZES = ("bilinear", "bicubic", "area")
FEATURES = ("before_neck", "after_neck")


def _checked(cls, data, what):
    """Build ``cls`` from a dict, refusing unknown and missing keys by name."""
    if not isinstance(data, dict):
        raise ReidEdgeError("%s must be a JSON object, got %s." % (what, type(data).__name__))
    known = {f.name for f in fields(cls)}
    unknown, missing = sorted(set(data) - known), sorted(known - set(data))
    if unknown or missing:
        raise ReidEdgeError(
            "%s has unknown keys %s and lacks keys %s; export the bundle again with this version."
            % (what, unknown, missing)
        )
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class InputContract:
    """Pixels to network input: ``(pixel * scale - mean) / std`` in channel order ``color``, NCHW.

    Attributes:
        height, width: Network input in pixels; crops are stretched to it (no letterbox).
        color: Channel order the network was trained on; ``"RGB"`` or ``"BGR"``.
        scale: Factor on the 0..255 pixel values before mean and std; 1.0 where the network
            normalises inside its graph.
        mean, std: Per channel, in the order of ``color``, on the scaled values.
        resize: OpenCV interpolation: ``"bilinear"``, ``"bicubic"`` or ``"area"``.
    """

    height: int
    width: int
    color: str = "RGB"
    scale: float = 1.0 / 255.0
    mean: Tuple[float, float, float] = IMAGENET_MEAN
    std: Tuple[float, float, float] = IMAGENET_STD
    resize: str = "bilinear"

    def __post_init__(self):
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 8 <= value <= 4096:
                raise ReidEdgeError(
                    "Input %s must be an integer from 8 to 4096 pixels, got %r." % (name, value)
                )
        if self.color not in COLORS:
            raise ReidEdgeError(
                "Input color must be one of %s, got %r." % (", ".join(COLORS), self.color)
            )
        if self.resize not in RESIZES:
            raise ReidEdgeError(
                "Input resize must be one of %s, got %r." % (", ".join(RESIZES), self.resize)
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 3 or not all(map(_is_number, value)):
                raise ReidEdgeError("Input %s must be three numbers, got %r." % (name, value))
        if not _is_number(self.scale) or not min(self.scale, *self.std) > 0:
            raise ReidEdgeError(
                "Input scale and std must be positive, got %r and %r." % (self.scale, self.std)
            )

    @property
    def shape(self) -> Tuple[int, int, int]:
        """(channels, height, width) of one network input."""
        return (3, self.height, self.width)

    def with_(self, **changes: Any) -> "InputContract":
        """A copy with the named fields replaced."""
        return replace(self, **changes)

    def to_dict(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "InputContract":
        return _checked(cls, data, "The input contract")


@dataclass(frozen=True)
class EmbeddingContract:
    """What comes out of the network.

    Attributes:
        dim: Length of the embedding.
        feature: ``"after_neck"`` (behind the last BatchNorm / FC) or ``"before_neck"`` (pooled map).
        l2_normalize: Whether the runtime divides the embedding by its Euclidean norm. The graph
            itself never does: it costs nothing on the CPU and would be lost in INT8.
    """

    dim: int
    feature: str = "after_neck"
    l2_normalize: bool = True

    def __post_init__(self):
        if not isinstance(self.dim, int) or isinstance(self.dim, bool) or self.dim < 1:
            raise ReidEdgeError("Embedding dim must be a positive integer, got %r." % (self.dim,))
        if self.feature not in FEATURES:
            raise ReidEdgeError(
                "Embedding feature must be one of %s, got %r." % (", ".join(FEATURES), self.feature)
            )
        if not isinstance(self.l2_normalize, bool):
            raise ReidEdgeError(
                "Embedding l2_normalize must be true or false, got %r." % (self.l2_normalize,)
            )

    def to_dict(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "EmbeddingContract":
        return _checked(cls, data, "The embedding contract")
