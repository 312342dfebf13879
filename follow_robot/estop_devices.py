"""Devices that press the emergency stop: a button on a pin, a joystick."""

import os
import select
import struct
from typing import Any, Optional, Sequence, Set

from follow_robot.estop import PolledStop
from follow_robot.gpio import load_gpio
from follow_robot.polling import MAX_POLL_S
from runtime.errors import ReidEdgeError


class GpioStop(PolledStop):
    """A button on a pin.

    Wired as emergency stops are: closed between the pin and ground while all is well, with a
    pull-up, so that a press and a broken wire both read high.

    Args:
        pin: On the 40-pin header.
        pressed_level: What the pin reads when the button is pressed: 1 as above, 0 for a button that
            closes when pressed, which does not notice a broken wire.
        gpio: A library with the names of RPi.GPIO; by default the board's.
    """

    def __init__(self, pin: int, pressed_level: int = 1, gpio: Optional[Any] = None):
        super().__init__("button on pin %d" % pin, 0.01)
        self.pin, self.pressed_level = pin, pressed_level
        self._gpio = gpio
        self._seen = 0

    def _open(self) -> None:
        gpio = self._gpio = self._gpio or load_gpio()
        # Jetson.GPIO cannot set pull resistors, so none is asked for: the pull-up is soldered.
        gpio.setup(self.pin, gpio.IN)

    def _close(self) -> None:
        if self._gpio is not None:
            self._gpio.cleanup(self.pin)
            self._gpio = None

    def _poll(self) -> None:
        pressed = self._gpio.input(self.pin) == self.pressed_level  # type: ignore[union-attr]
        self._seen = self._seen + 1 if pressed else 0
        if self._seen >= 2:  # one look may be a spark
            self._press(self.name)


class JoystickStop(PolledStop):
    """Buttons of a joystick; one that is unplugged stops the car too.

    Args:
        path: The kernel's joystick device.
        buttons: Their numbers; None for all.
    """

    # struct js_event of linux/joystick.h: time in ms, value, type, number.
    EVENT = struct.Struct("=IhBB")
    BUTTON, INIT = 0x01, 0x80

    def __init__(self, path: str = "/dev/input/js0", buttons: Optional[Sequence[int]] = None):
        super().__init__("joystick " + path)
        self.path = path
        self._buttons = None if buttons is None else set(buttons)
        self._held: Set[int] = set()
        self._file: Optional[int] = None
        self._rest = b""

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise ReidEdgeError(
                "Joystick %s cannot be opened (%s); plug it in, or name another device."
                % (self.path, error.strerror)
            ) from None

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _poll(self) -> None:
        if self._held:
            self._press(self.name)
        file = self._file
        assert file is not None
        if not select.select([file], [], [], MAX_POLL_S)[0]:
            return
        data = os.read(file, 64 * self.EVENT.size)
        if not data:
            raise ReidEdgeError("it was unplugged")
        self._rest += data
        whole = len(self._rest) - len(self._rest) % self.EVENT.size
        events, self._rest = self._rest[:whole], self._rest[whole:]
        for _, value, kind, number in self.EVENT.iter_unpack(events):
            if kind & ~self.INIT != self.BUTTON:
                continue
            if self._buttons is not None and number not in self._buttons:
                continue
            if value:
                self._held.add(number)
                self._press(self.name)
            else:
                self._held.discard(number)
