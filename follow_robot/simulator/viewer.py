"""Who looks at drawn pictures: the embedder, what strangers look like to it, and perhaps a detector."""

import logging
from dataclasses import dataclass
from typing import Callable, List, Optional

import numpy as np

from follow_robot.simulator import appearance
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Walker, Waypoint
from follow_robot.simulator.plane import Pose, Walls
from follow_robot.simulator.rendering import Renderer
from runtime.detection import Detections
from runtime.perception import Embed

_STRANGERS, _STRANGER_SEED = 24, 900000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Viewer:
    """What looks at the pictures.

    Attributes:
        embed: Crops to embeddings.
        strangers: (K, D) embeddings of drawn people from elsewhere.
        detect: A real detector; None simulates one.
    """

    embed: Embed
    strangers: np.ndarray
    detect: Optional[Callable[[np.ndarray], Detections]] = None

    @classmethod
    def of(
        cls,
        embed: Optional[Embed] = None,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
    ) -> "Viewer":
        """With a ReID network; without one colours stand in for it, which is announced."""
        if embed is None:
            _log.warning(
                "No bundle given: drawn people are told apart by the colours they wear, not by a ReID "
                "network."
            )
            embed = appearance.embed
        return cls(embed, embed(stranger_crops()), detect)


def stranger_crops(count: int = _STRANGERS, seed: int = _STRANGER_SEED) -> List[np.ndarray]:
    """Crops of drawn people who are in no scenario, in a room of their own."""
    rng = np.random.default_rng(seed)
    walls = Walls(np.array([[-4, -5, 9, -5], [9, -5, 9, 5], [9, 5, -4, 5], [-4, 5, -4, -5]]))
    renderer = Renderer(Camera(), walls, seed)
    crops: List[np.ndarray] = []
    while len(crops) < count:
        place = Waypoint((rng.uniform(1.7, 3.5), rng.uniform(-0.6, 0.6)))
        walker = Walker("stranger", Look.random(int(seed + rng.integers(10000))), (place,))
        walker.pose = Pose(place.at[0], place.at[1], rng.uniform(-3.1, 3.1))
        walker.phase, walker.velocity = rng.uniform(), (rng.uniform(0, 1), 0.0)
        picture = renderer.render(Pose(0.0, 0.0, rng.uniform(-0.2, 0.2)), [walker])
        box = picture.people[0].seen_box if picture.people else None
        if box is not None:
            left, top, right, bottom = (int(v) for v in box)
            crops.append(picture.image[top:bottom, left:right])
    return crops
