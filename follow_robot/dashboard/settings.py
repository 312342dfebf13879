"""Settings of the dashboard: who can reach it, and how much of the picture it shows."""

from dataclasses import dataclass
from typing import Optional, Tuple

from runtime.errors import ReidEdgeError

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class DashboardSettings:
    """Of the web page.

    Attributes:
        enabled: Whether there is a page at all.
        host: Address to listen on; 127.0.0.1 is reached from this machine only, 0.0.0.0 from the
            network, with a token. The traffic is not encrypted.
        port: TCP port; 0 takes any free one.
        token: Secret of at least 16 characters that opens the page from the network; null makes a
            new one at every start.
        host_names: Names by which the page is reached, beside addresses, localhost and this
            machine's own name.
        picture_width_px: Wider frames are scaled down to this.
        picture_rate_hz: Pictures per second at most.
        jpeg_quality: 1 to 100.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8080
    token: Optional[str] = None
    host_names: Tuple[str, ...] = ()
    picture_width_px: int = 640
    picture_rate_hz: float = 10.0
    jpeg_quality: int = 75

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ReidEdgeError("The dashboard's port must be 0 to 65535, got %r." % self.port)
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise ReidEdgeError(
                "The dashboard's token must have at least %d characters, got %d; leave it out to "
                "have one made." % (SHORTEST_TOKEN, len(self.token))
            )
        if not 160 <= self.picture_width_px <= 1920:
            raise ReidEdgeError(
                "The dashboard's picture_width_px must be 160 to 1920, got %r."
                % self.picture_width_px
            )
        if not 0.5 <= self.picture_rate_hz <= 30:
            raise ReidEdgeError(
                "The dashboard's picture_rate_hz must be 0.5 to 30, got %g." % self.picture_rate_hz
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise ReidEdgeError(
                "The dashboard's jpeg_quality must be 1 to 100, got %r." % self.jpeg_quality
            )
