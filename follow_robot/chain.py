"""The chain from what a camera saw to what the wheels are told, built from a configuration.

The live car, the simulator and a replay build it here, so that all three are the same chain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Optional

import numpy as np

from follow_robot.config import Config
from follow_robot.controller import Controller
from follow_robot.follower import Follower
from follow_robot.safety_gate import SafetyGate
from follow_robot.target_filter import TargetFilter
from runtime.association import assign
from runtime.detection import Detections
from runtime.embed_schedule import EmbedSchedule
from runtime.lock import TargetLock
from runtime.memory import SceneMean
from runtime.perception import Embed, Perception
from runtime.tracker import Tracker


def perception_of(
    config: Config,
    strangers: Optional[np.ndarray],
    detect: Optional[Callable[[np.ndarray], Detections]] = None,
    embed: Optional[Embed] = None,
) -> Perception:
    """Tracker, schedule and lock with the configured settings.

    Args:
        config: Sections ``tracker``, ``bundle`` and ``lock`` are used.
        strangers: (K, D) embeddings of other people, to begin with (runtime.perception.strangers);
            None for none.
        detect, embed: As for ``Perception``.

    Raises:
        ReidEdgeError: The tracker lacks a library.
    """
    assign(np.zeros((1, 1)), np.ones((1, 1), bool))  # loads it now, not on the first frame
    scene = SceneMean(strangers)
    return Perception(
        detect,
        embed,
        Tracker(config.tracker),
        TargetLock(config.lock, scene=scene),
        EmbedSchedule(config.bundle.schedule),
    )


def follower_of(config: Config) -> Follower:
    """Ranging, filter and controller with the configured settings; on hold."""
    return Follower(
        config.camera,
        config.person,
        TargetFilter(config.filter),
        Controller(config.controller, config.drive),
    )


def gate_of(config: Config, holonomic: bool) -> SafetyGate:
    """The safety gate with the configured limits, for a chassis that drives sideways or not."""
    limits = config.safety
    return SafetyGate(limits if holonomic else replace(limits, lateral_mps=0.0))
