"""What the main process knows of the driver process."""

from typing import NamedTuple, Optional, Tuple

from follow_robot.chassis import Telemetry
from follow_robot.driver_messages import Event
from follow_robot.velocity import Velocity

STARTING, RUNNING, ENDED = "starting", "running", "ended"


class DriverStatus(NamedTuple):
    """What is known of the driver.

    Attributes:
        state: ``"starting"``, ``"running"`` or ``"ended"``.
        sent: Velocity last written to the port.
        sent_s: Monotonic time of that; None if nothing was.
        sequence: Of the command that was judged last; None if none.
        reasons: Of the safety gate, the strongest first.
        pressed: Who latched the emergency stop; empty if nobody.
        port_open: Whether the port is there.
        telemetry: The newest of the chassis.
        telemetry_age_s, report_age_s: How old that and the driver's last report are; None before
            the first.
        events: The newest about the port, oldest first.
        fault: What is wrong with the link although the driver runs; None if nothing.
        end: Why the driver ended; None while it has not.
    """

    state: str
    sent: Velocity
    sent_s: Optional[float]
    sequence: Optional[int]
    reasons: Tuple[str, ...]
    pressed: Tuple[str, ...]
    port_open: bool
    telemetry: Optional[Telemetry]
    telemetry_age_s: Optional[float]
    report_age_s: Optional[float]
    events: Tuple[Event, ...]
    fault: Optional[str]
    end: Optional[str]
