"""The other side of the serial line: what a chassis' board makes of the bytes it gets."""

from typing import Dict, Type

from follow_robot.simulator.firmware.base import Firmware
from follow_robot.simulator.firmware.rosmaster import RosmasterFirmware
from follow_robot.simulator.firmware.waveshare import WaveshareFirmware
from follow_robot.simulator.firmware.wheeltec import WheeltecFirmware

FIRMWARES: Dict[str, Type[Firmware]] = {
    "wheeltec": WheeltecFirmware,
    "rosmaster": RosmasterFirmware,
    "waveshare": WaveshareFirmware,
}

__all__ = ["FIRMWARES", "Firmware", "RosmasterFirmware", "WaveshareFirmware", "WheeltecFirmware"]
