"""Who may use the page: names it is reached by, pages that may send, the token. No I/O.

A browser runs pages of strangers beside ours, and they can reach every address the browser can:

- A foreign page that posts to us or opens a WebSocket carries its own ``Origin``, which must be
  exactly the ``Host`` that it asked for.
- A foreign page whose name was re-bound to our address (DNS rebinding) has a matching Origin, but a
  ``Host`` that is a name of its own. Only addresses, localhost and our own names are answered.
- A token keeps out who is merely on the same network. It is printed behind the ``#`` of the
  address, which browsers never send; the page posts it once and gets a session in a cookie that no
  script can read (HttpOnly) and no other site can use (SameSite=Strict).

References: RFC 6454 (Origin), RFC 6265bis (SameSite), OWASP's CSRF prevention cheat sheet.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections import OrderedDict
from typing import Optional, Sequence
from urllib.parse import quote

from follow_robot.dashboard.settings import SHORTEST_TOKEN
from runtime.errors import ReidEdgeError

_SESSIONS = 16  # browsers that stay logged in; a further one ends the oldest
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


class Guard:
    """Decides from headers and secrets, for one server.

    Attributes:
        token: The secret, or None where the page is for this machine only and needs none.
    """

    def __init__(self, host: str, token: Optional[str] = None, names: Sequence[str] = ()):
        """What may come in.

        Args:
            host: Address the server listens on.
            token: Secret; by default none on a loopback address, and a new one elsewhere.
            names: Further names by which the page is reached.

        Raises:
            ReidEdgeError: The token is too short to be a secret.
        """
        self._local = is_loopback(host)
        if token is None and not self._local:
            token = secrets.token_urlsafe(32)
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ReidEdgeError(
                "The dashboard's token must have at least %d characters, got %d."
                % (SHORTEST_TOKEN, len(token))
            )
        self.token = token
        own = [] if self._local else [socket.gethostname(), socket.gethostname() + ".local"]
        self._names = {n.lower() for n in ("localhost", host, *own, *names) if not _address(n)}
        self._sessions: OrderedDict[str, None] = OrderedDict()

    def host_allowed(self, host: Optional[str]) -> bool:
        """Whether a ``Host`` header names this machine and not somebody's domain."""
        match = _HOST.fullmatch((host or "").lower())
        if match is None:
            return False
        name = match.group("name").strip("[]")
        address = _address(name)
        if address is None:
            return name in self._names
        if (
            address.is_unspecified
        ):  # 0.0.0.0 reaches this machine past a browser's private-network rules
            return False
        return address.is_loopback if self._local else True

    def origin_allowed(self, origin: Optional[str], host: Optional[str]) -> bool:
        """Whether a request that may change something comes from our own page.

        A missing Origin is refused: browsers send it with every POST and WebSocket.
        """
        return self.host_allowed(host) and origin == "http://" + (host or "").lower()

    def login(self, token: str) -> Optional[str]:
        """A new session for who has the token, else None. Takes the same time either way."""
        if self.token is None or not _same(token, self.token):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def session_valid(self, session: Optional[str]) -> bool:
        """Whether a cookie's value (None: no cookie) lets its sender in."""
        if self.token is None:
            return True
        found = [_same(session or "", known) for known in list(self._sessions)]
        return any(found)

    def url(self, host: str, port: int) -> str:
        """The address to open, with the token where there is one."""
        shown = "[%s]" % host if ":" in host else host
        return "http://%s:%d/%s" % (
            shown,
            port,
            "" if self.token is None else "#token=" + quote(self.token, safe=""),
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(name: str):
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _same(given: str, secret: str) -> bool:
    # "surrogatepass": JSON can carry halves of characters, which plain UTF-8 refuses.
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass")
    )
