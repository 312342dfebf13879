"""What the web server answers: the page's files, the login, STOP by POST, the WebSocket."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Tuple, Type

from aiohttp import web

from follow_robot.dashboard.auth import Guard
from follow_robot.dashboard.hub import Hub
from follow_robot.dashboard.messages import MAX_MESSAGE_BYTES, BadMessage, parse_json
from follow_robot.dashboard.pages import Pages
from runtime.errors import ReidEdgeError

STATIC = Path(__file__).with_name("static")
CONTENT_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_WRONG_TOKEN_S = 0.5  # what a wrong token costs
_PAGE_ID = re.compile(r"[0-9a-f]{32}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'%s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The handlers of one server.

    Attributes:
        cookie: Name of the session's cookie. Cookies do not know ports, so the server puts its own
            in: two cars' pages on one machine must not share a session.
    """

    def __init__(self, hub: Hub, guard: Guard, pages: Pages):
        """Read the page's files.

        Args:
            hub: Where STOP goes.
            guard: Who may come in.
            pages: Where WebSockets go.
        """
        self.cookie = "follow_robot"
        self._hub, self._guard, self._pages = hub, guard, pages
        self._files = _read_files()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES, middlewares=[self._admit])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get("/", self._file)
        app.router.add_get("/static/{name}", self._file)
        app.router.add_get("/api/session", self._session)
        app.router.add_get("/api/live", self._live)
        app.router.add_post("/api/login", self._login)
        app.router.add_post("/api/stop", self._stop)
        return app

    # -- around every request --------------------------------------------------------------------

    @web.middleware
    async def _admit(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse foreign names everywhere; whatever fails becomes one sentence as JSON."""
        try:
            if not self._guard.host_allowed(request.headers.get("Host")):
                raise _refusal(web.HTTPForbidden, "This name is not one of the dashboard's.")
            return await handler(request)
        except web.HTTPException as error:
            if error.content_type == "application/json":
                raise
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return web.json_response(
                {"error": "%s." % error.reason}, status=error.status, headers=allow
            )
        except BadMessage as error:
            return web.json_response({"error": str(error)}, status=400)
        except ReidEdgeError as error:
            return web.json_response({"error": str(error)}, status=500)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        host = request.headers.get("Host", "").lower()
        # By the standard 'self' includes WebSockets; older WebKit wants them named. Only a name
        # that was checked is put in.
        socket = " ws://%s" % host if self._guard.host_allowed(host) else ""
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = _POLICY % socket

    # -- requests that change nothing ------------------------------------------------------------

    async def _file(self, request: web.Request) -> web.Response:
        # Looked up among what was read at the start: no path of a request ever reaches the disk.
        found = self._files.get(request.match_info.get("name", "index.html"))
        if found is None:
            raise _refusal(web.HTTPNotFound, "There is no such page.")
        body, content_type = found
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    async def _session(self, request: web.Request) -> web.Response:
        """Whether this browser is let in, so that the page knows whether to ask for the token."""
        return web.json_response({"admitted": self._has_session(request)})

    # -- requests that change something ----------------------------------------------------------

    async def _login(self, request: web.Request) -> web.Response:
        """The token for a session."""
        self._check_origin(request)
        token = (await _posted(request)).get("token")
        session = self._guard.login(token) if isinstance(token, str) else None
        if session is None:
            await asyncio.sleep(_WRONG_TOKEN_S)
            raise _refusal(web.HTTPForbidden, "This is not the token that the start printed.")
        response = web.json_response({"admitted": True})
        response.set_cookie(self.cookie, session, httponly=True, samesite="Strict", path="/")
        return response

    async def _stop(self, request: web.Request) -> web.Response:
        """STOP for a page whose WebSocket is gone or does not answer."""
        self._check_sender(request)
        await _posted(request)
        self._hub.stop("a page at %s" % (request.remote or "an unknown address"))
        self._pages.wake()
        return web.json_response({"stopped": True})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket of a page."""
        self._check_sender(request)
        page_id = request.query.get("page", "")
        if not _PAGE_ID.fullmatch(page_id):
            raise _refusal(web.HTTPBadRequest, "The page's number must be 32 hexadecimal digits.")
        if self._pages.full(page_id):
            raise _refusal(web.HTTPServiceUnavailable, "Too many pages are open; close one.")
        return await self._pages.serve(request, page_id)

    # -- checks ----------------------------------------------------------------------------------

    def _has_session(self, request: web.Request) -> bool:
        return self._guard.session_valid(request.cookies.get(self.cookie))

    def _check_origin(self, request: web.Request) -> None:
        headers = request.headers
        if not self._guard.origin_allowed(headers.get("Origin"), headers.get("Host")):
            raise _refusal(web.HTTPForbidden, "Only the dashboard's own page may do this.")

    def _check_sender(self, request: web.Request) -> None:
        self._check_origin(request)
        if not self._has_session(request):
            raise _refusal(web.HTTPUnauthorized, "Open the page with its token first.")


async def _posted(request: web.Request) -> Dict[str, Any]:
    """The JSON object that was posted.

    Raises:
        BadMessage: It is none.
    """
    if request.content_type != "application/json":
        raise _refusal(web.HTTPUnsupportedMediaType, "The content type must be application/json.")
    try:
        data = parse_json((await request.read()).decode("utf-8"))
    except UnicodeDecodeError:
        raise BadMessage("Expected JSON in UTF-8.") from None
    if not isinstance(data, dict):
        raise BadMessage("Expected a JSON object, got %s." % type(data).__name__)
    return data


def _refusal(kind: Type[web.HTTPException], sentence: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": sentence}), content_type="application/json")


def _read_files() -> Dict[str, Tuple[bytes, str]]:
    """Name to content and content type of everything in ``static``."""
    files = {
        path.name: (path.read_bytes(), CONTENT_TYPES[path.suffix])
        for path in STATIC.iterdir()
        if path.suffix in CONTENT_TYPES
    }
    if "index.html" not in files:
        raise ReidEdgeError("The dashboard's page is missing from %s; install again." % STATIC)
    return files
