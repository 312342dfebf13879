"""The HC-SR04 ultrasonic distance sensor on two pins of the board."""

import math
import time
from typing import Any, Callable, Optional

from follow_robot.gpio import load_gpio
from follow_robot.obstacle import ObstacleSource
from follow_robot.polling import MAX_POLL_S


class HcSr04Obstacle(ObstacleSource):
    """An HC-SR04 ultrasonic sensor on two pins.

    Timed in software, so what it gives is a lower bound: from the first look at which the echo line
    was high to the last at which it still was. A look that came too late gives no reading.

    Args:
        trigger_pin, echo_pin: On the 40-pin header. The echo needs a divider down to 3.3 V.
        gpio: A library with the names of RPi.GPIO; by default the board's.
        clock: Monotonic time, seconds.
    """

    RANGE_M = 4.0
    SOUND_MPS = 343.0
    _LATE_S = 1e-3  # between two looks at the line: 17 cm
    _ANSWER_S = 0.01  # the sensor raises the line within 1 ms, or it is not there

    def __init__(
        self,
        trigger_pin: int,
        echo_pin: int,
        gpio: Optional[Any] = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__("HC-SR04 on pins %d and %d" % (trigger_pin, echo_pin), MAX_POLL_S)
        self.trigger_pin, self.echo_pin = trigger_pin, echo_pin
        self._gpio, self._clock = gpio, clock
        self._is_open = False

    def _open(self) -> None:
        gpio = self._gpio = self._gpio or load_gpio()
        self._is_open = True
        gpio.setup(self.trigger_pin, gpio.OUT)
        gpio.setup(self.echo_pin, gpio.IN)
        gpio.output(self.trigger_pin, 0)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._gpio.cleanup([self.trigger_pin, self.echo_pin])  # type: ignore[union-attr]

    def _poll(self) -> None:
        time_s = self._clock()
        distance_m = self.measure()
        if distance_m is not None:
            self._give(distance_m, time_s)

    def measure(self) -> Optional[float]:
        """One ping: metres, inf if nothing is in range, None if the sensor gave nothing usable."""
        gpio: Any = self._gpio
        if gpio.input(self.echo_pin):  # still, or always: no way to tell an echo
            return None
        gpio.output(self.trigger_pin, 1)
        time.sleep(1e-5)
        gpio.output(self.trigger_pin, 0)
        sent_s = before_s = self._clock()
        while not gpio.input(self.echo_pin):
            before_s = self._clock()
            if before_s - sent_s > self._ANSWER_S:
                return None
        rise_s = high_s = self._clock()  # after the look: not too early
        late = rise_s - before_s > self._LATE_S
        longest_s = 2 * self.RANGE_M / self.SOUND_MPS
        while not late and high_s - rise_s <= longest_s:
            look_s = self._clock()  # before the look: not too late
            late = look_s - high_s > self._LATE_S
            if not gpio.input(self.echo_pin):
                break
            high_s = look_s
        if late:
            return None
        distance_m = max(high_s - rise_s, 0.0) * self.SOUND_MPS / 2
        return distance_m if distance_m <= self.RANGE_M else math.inf
