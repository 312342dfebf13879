"""The board's pins, through whichever library it has: they share the names of RPi.GPIO."""

from importlib import import_module
from typing import Any, List, Sequence

from runtime.errors import ReidEdgeError

LIBRARIES = ("Jetson.GPIO", "Hobot.GPIO")
_NAMES = ("BOARD", "IN", "OUT", "setmode", "setup", "input", "output", "cleanup")


def load_gpio(libraries: Sequence[str] = LIBRARIES) -> Any:
    """The first library that works on this board, with pins numbered as on its 40-pin header.

    Raises:
        ReidEdgeError: None does; the message says why, library by library.
    """
    reasons: List[str] = []
    for name in libraries:
        try:
            module = import_module(name)
        except Exception as error:  # Jetson.GPIO raises a bare Exception on other boards
            reasons.append("%s: %s" % (name, error))
            continue
        missing = [n for n in _NAMES if not hasattr(module, n)]
        if missing:
            reasons.append("%s lacks %s" % (name, ", ".join(missing)))
            continue
        module.setmode(module.BOARD)
        return module
    raise ReidEdgeError(
        "Expected a GPIO library of this board, got none (%s); install the board's own, or use "
        "another kind of input." % "; ".join(reasons)
    )
