"""A stand-in for Jetson.GPIO and Hobot.GPIO that refuses what either would not take."""

from types import ModuleType

BOARD, BCM, OUT, IN = 10, 11, 0, 1


class FakeGpio(ModuleType):
    """Only the names both libraries share, called in the order both need.

    Attributes:
        levels: What each pin reads: a number, or a function of no arguments.
        written: (pin, level) in order.
    """

    BOARD, OUT, IN = BOARD, OUT, IN

    def __init__(self, name="Jetson.GPIO"):
        super().__init__(name)
        self.mode = None
        self.pins = {}
        self.levels = {}
        self.written = []
        self.cleaned = []

    def setmode(self, mode):
        if mode != BOARD:
            raise ValueError("An invalid mode was passed to setmode()!")
        self.mode = mode

    def setup(self, channel, direction):
        if self.mode is None:
            raise RuntimeError("Please set pin numbering mode using GPIO.setmode(GPIO.BOARD)")
        if direction not in (IN, OUT) or not 1 <= channel <= 40:
            raise ValueError("Channel %s is invalid" % channel)
        self.pins[channel] = direction

    def input(self, channel):
        if channel not in self.pins:
            raise RuntimeError("You must setup() the GPIO channel first")
        level = self.levels.get(channel, 0)
        return level() if callable(level) else level

    def output(self, channel, value):
        if self.pins.get(channel) != OUT:
            raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
        self.written.append((channel, value))

    def cleanup(self, channel=None):
        for pin in channel if isinstance(channel, (list, tuple)) else [channel]:
            if self.pins.pop(pin, None) is None:
                raise RuntimeError("channel %s was not set up" % pin)
            self.cleaned.append(pin)
