"""Settings of the application's own refuse what cannot be meant."""

import pytest

from follow_robot.settings import (
    ChassisSettings,
    DetectorSection,
    EstopSettings,
    ObstacleSettings,
    SourceSettings,
)
from runtime.detectors.base import DetectorSettings
from runtime.errors import ReidEdgeError
from runtime.sources.captures import CameraSettings


def test_sections_are_what_the_parts_take():
    assert isinstance(SourceSettings(), CameraSettings)
    assert isinstance(DetectorSection(), DetectorSettings)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: SourceSettings(input=" "), "must name a camera or file"),
        (lambda: SourceSettings(file_fps=0.0), "file_fps must be above 0"),
        (lambda: SourceSettings(give_up_after_s=-1.0), "give_up_after_s must be above 0"),
        (lambda: SourceSettings(width=640), "needs width and height"),
        (lambda: DetectorSection(kind="cat"), "kind must be one of"),
        (lambda: DetectorSection(threads=0), "threads must be at least 1"),
        (lambda: DetectorSection(score_threshold=2.0), "must be 0 to 1"),
        (lambda: ChassisSettings("tank:/dev/tty"), "is none of"),
        (lambda: ObstacleSettings("bat"), "An obstacle sensor is given as"),
        (lambda: EstopSettings(devices=("whistle",)), "A stop is given as"),
    ],
)
def test_values_out_of_range(make, said):
    with pytest.raises(ReidEdgeError, match=said):
        make()


def test_what_can_be_meant():
    SourceSettings(give_up_after_s=None, file_fps=25.0, width=640, height=480)
    DetectorSection(kind="hog", threads=2)
    ChassisSettings("waveshare:/dev/ttyUSB0@115200?track_width_m=0.2")
    ObstacleSettings("lines:/dev/ttyUSB1@9600")
    EstopSettings(devices=("joystick:/dev/input/js1", "gpio:18,low"))
