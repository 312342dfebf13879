"""A stop without the driver process, for when it is not there to send one."""

import time

from follow_robot.chassis import PortError, open_chassis

_STOP_GAP_S = 0.02


def emergency_stop(chassis: str, repeats: int = 5, give_up_s: float = 2.0) -> None:
    """Open the port and stop the car.

    Args:
        chassis: Specification, as for ``follow_robot.chassis.open_chassis``.
        repeats: How many stops are sent.
        give_up_s: How long a port that is busy or away is tried.

    Raises:
        ReidEdgeError: They could not be sent.
    """
    codec, port = open_chassis(chassis)
    give_up_at_s = time.monotonic() + give_up_s
    try:
        while repeats > 0:
            try:
                port.open()
                port.write(codec.stop())
                repeats -= 1
            except PortError:
                port.close()
                if time.monotonic() >= give_up_at_s:
                    raise
            time.sleep(_STOP_GAP_S)
    finally:
        port.close()
