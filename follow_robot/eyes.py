"""What looks at frames: camera, detector and ReID network, opened as configured."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np

from follow_robot.config import Config
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.detection import Detections
from runtime.detectors import open_detector
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.perception import Embed, strangers
from runtime.sources import Source, open_source

Detect = Callable[[np.ndarray], Detections]


class Eyes(NamedTuple):
    """What looks at frames.

    Attributes:
        source: Where they come from.
        detect: (H, W, 3) uint8 BGR to Detections.
        embed: Crops to embeddings; None without a ReID network.
        strangers: (K, D) embeddings of people from elsewhere, or None.
        notes: Names for the black box, such as the bundle's.
    """

    source: Source
    detect: Detect
    embed: Optional[Embed] = None
    strangers: Optional[np.ndarray] = None
    notes: Dict[str, str] = {}


def open_network(
    config: Config, backend: str = "auto", threads: Optional[int] = None
) -> Tuple[Optional[Embed], Optional[np.ndarray]]:
    """(embed, strangers) of the configured bundle, or (None, None) without one.

    Args:
        config: Section ``bundle``.
        backend: As for ``open_backend``.
        threads: CPU threads; None for all cores.

    Raises:
        ReidEdgeError: The bundle cannot be run here.
    """
    if config.bundle.path is None:
        return None, None
    bundle = Bundle.open(config.bundle.path)
    embedder = Embedder(bundle, open_backend(bundle, backend, threads=threads))
    return embedder.embed, strangers(bundle)


def configured_detector(config: Config) -> Optional[Detect]:
    """The configured detector, or None if none is.

    Raises:
        ReidEdgeError: It cannot be run here.
    """
    if config.detector.model is None:
        return None
    d = config.detector
    return open_detector(d.model, d.kind, d, d.threads).detect


def open_eyes(
    config: Config, stack: ExitStack, backend: str = "auto", threads: Optional[int] = None
) -> Eyes:
    """Open everything that looks; ``stack`` closes the camera.

    Raises:
        ReidEdgeError: Something cannot be opened, or there is no ReID network.
    """
    if config.bundle.path is None:
        raise ReidEdgeError(
            "Nobody can be followed without a ReID network; give --bundle or set bundle.path."
        )
    embed, others = open_network(config, backend, threads)
    d, s = config.detector, config.source
    detect = configured_detector(config) or open_detector(None, d.kind, d).detect
    source = stack.enter_context(
        open_source(
            s.input,
            s,
            s.file_fps,
            realtime=True,
            backoff=s.reconnect,
            give_up_after_s=s.give_up_after_s,
        )
    )
    notes = {
        "bundle": Path(config.bundle.path).name,
        "detector": str(d.model),
        "source": source.name,
    }
    return Eyes(source, detect, embed, others, notes)
