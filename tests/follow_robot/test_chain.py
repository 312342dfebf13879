"""The chain takes every setting from the configuration."""

import sys

import numpy as np
import pytest

from follow_robot.chain import follower_of, gate_of, perception_of
from follow_robot.config import config_from_text
from follow_robot.safety_limits import SafetyLimits
from runtime.errors import ReidEdgeError
from runtime.lock_types import LockSettings

CONFIG = config_from_text(
    """\
lock: {accept: 0.45}
tracker: {memory_s: 3.0}
bundle: {schedule: {budget: 2}}
camera: {height_m: 0.3}
person: {height_m: 1.8}
filter: {forget_s: 1.0}
controller: {distance_m: 1.5}
drive: {kind: holonomic}
safety: {speed_mps: 0.3, lateral_mps: 0.2}
""",
    "test",
)


def test_perception_has_the_settings_of_its_sections():
    perception = perception_of(CONFIG, None)
    assert perception.lock.settings == CONFIG.lock == LockSettings(accept=0.45)
    assert perception.tracker.settings == CONFIG.tracker
    assert perception.schedule.settings == CONFIG.bundle.schedule
    assert perception.schedule.settings.budget == 2


def test_strangers_are_what_the_scene_begins_with():
    looks = np.eye(3, dtype=np.float32)
    with_them = perception_of(CONFIG, looks).lock.scene
    crop = np.array([[1.0, 0.0, 0.0]], np.float32)
    # Without the mean of the three, (1, 0, 0) is (2, -1, -1) / sqrt(6).
    assert with_them.without(crop) == pytest.approx(np.array([[2, -1, -1]]) / np.sqrt(6))
    assert perception_of(CONFIG, None).lock.scene.without(crop) == pytest.approx(crop)


def test_the_follower_has_the_settings_of_its_sections():
    follower = follower_of(CONFIG)
    assert follower.camera == CONFIG.camera and follower.person == CONFIG.person
    assert follower.target_filter.settings == CONFIG.filter
    assert follower.controller.settings == CONFIG.controller
    assert follower.controller.drive == CONFIG.drive
    assert not follower.going


def test_the_gate_lets_no_chassis_drive_sideways_that_cannot():
    assert gate_of(CONFIG, holonomic=True).limits == SafetyLimits(speed_mps=0.3, lateral_mps=0.2)
    assert gate_of(CONFIG, holonomic=False).limits == SafetyLimits(speed_mps=0.3, lateral_mps=0.0)


def test_what_the_tracker_needs_is_there_before_the_first_frame(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)  # as if it were not installed
    with pytest.raises(ReidEdgeError, match="needs scipy"):
        perception_of(CONFIG, None)
