"""Settings of the application's own: what it opens, and where the chain's parts come from.

Parts with settings of their own (the lock, the tracker, the controller, ...) keep them where the
part is; follow_robot.config puts all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Tuple

from follow_robot.chassis import open_chassis
from follow_robot.estop import open_stop
from follow_robot.frame_guard import FrameGuardSettings
from follow_robot.obstacle import open_obstacle
from runtime.detectors import HOG, KINDS
from runtime.detectors.base import DetectorSettings
from runtime.embed_schedule import ScheduleSettings
from runtime.errors import ReidEdgeError
from runtime.sources.captures import CameraSettings
from runtime.sources.live import Backoff


@dataclass(frozen=True)
class SourceSettings(CameraSettings):
    """Where frames come from.

    Attributes:
        input: Camera number or device, csi://SENSOR (Jetson), mipi:// (RDK X3), stream, video file
            or folder, as in --source; text, so a camera's number stands in quotes.
        file_fps: Frames per second of a file or folder, where it does not say or says it wrongly;
            null: as it says.
        give_up_after_s: Time without a frame after which the run ends; null: wait for the camera for
            ever, with the car stopped.
        reconnect: Waits before a lost camera is opened again.
        guard: When a picture that comes is not believed.
    """

    input: str = "0"
    file_fps: Optional[float] = None
    give_up_after_s: Optional[float] = 60.0
    reconnect: Backoff = field(default_factory=Backoff)
    guard: FrameGuardSettings = field(default_factory=FrameGuardSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.input.strip():
            raise ReidEdgeError('The source\'s input must name a camera or file, such as "0".')
        for name in ("file_fps", "give_up_after_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ReidEdgeError("The source's %s must be above 0, got %g." % (name, value))


@dataclass(frozen=True)
class DetectorSection(DetectorSettings):
    """What finds the people.

    Attributes:
        model: ONNX file, TensorRT plan or exported X3 folder, as in --detector; null: OpenCV's HOG
            detector, which is slow and misses many.
        kind: Family of the network; null: recognised from its outputs.
        threads: CPU threads of ONNX Runtime; null: all cores.
    """

    model: Optional[str] = None
    kind: Optional[str] = None
    threads: Optional[int] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind is not None and self.kind not in (*KINDS, HOG):
            raise ReidEdgeError(
                "The detector's kind must be one of %s, got %r."
                % (", ".join((*KINDS, HOG)), self.kind)
            )
        if self.threads is not None and self.threads < 1:
            raise ReidEdgeError("The detector's threads must be at least 1, got %d." % self.threads)


@dataclass(frozen=True)
class BundleSettings:
    """What recognises the target: a bundle of reid-export, and how often it is asked.

    Attributes:
        path: Folder of the bundle, as in --bundle; null: none, and then nobody can be followed.
        schedule: Whom the network looks at on which frame.
    """

    path: Optional[str] = None
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)


@dataclass(frozen=True)
class ChassisSettings:
    """The car's chassis.

    Attributes:
        open: Kind and port, as in --chassis, such as wheeltec:/dev/ttyUSB0; "null" drives nothing.
    """

    open: str = "null"

    def __post_init__(self) -> None:
        open_chassis(self.open)  # reads the text; opens nothing yet


@dataclass(frozen=True)
class ObstacleSettings:
    """The sensor that looks ahead; how the car reacts to it is set in safety.

    Attributes:
        open: lines:PATH[@BAUD] for a device or pipe that sends metres as text, hc-sr04:TRIGGER,ECHO
            for an ultrasonic sensor on pins; null: none.
    """

    open: Optional[str] = None

    def __post_init__(self) -> None:
        if self.open is not None:
            open_obstacle(self.open)  # as above


@dataclass(frozen=True)
class EstopSettings:
    """Who may press the emergency stop, beside the web page and signals.

    Attributes:
        keyboard: Whether any key stops the car, where it was started from a terminal.
        devices: Each joystick[:PATH] or gpio:PIN[,low].
    """

    keyboard: bool = True
    devices: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for device in self.devices:
            open_stop(device)  # as above
