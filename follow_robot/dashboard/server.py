"""The dashboard's web server: a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from typing import Optional

from aiohttp import web

from follow_robot.dashboard.auth import Guard
from follow_robot.dashboard.hub import Hub
from follow_robot.dashboard.pages import Pages
from follow_robot.dashboard.routes import Routes
from follow_robot.dashboard.settings import DashboardSettings
from follow_robot.dashboard.stream import Picture, picture_of
from runtime.errors import ReidEdgeError

_CLOSE_S = 5.0

_log = logging.getLogger(__name__)


class DashboardServer:
    """Serves the page from ``start`` to ``close``; also a context manager.

    Whatever happens here, the application's loop and the car's driver go on; ``alive`` says whether
    there is still a page.

    Attributes:
        hub: Where the application publishes and collects wishes.
        port: The port in use, once started.
    """

    def __init__(self, hub: Hub, settings: Optional[DashboardSettings] = None):
        """Prepare; nothing listens yet."""
        self.hub = hub
        self.settings = settings or DashboardSettings()
        self.port = self.settings.port
        self._guard = Guard(self.settings.host, self.settings.token, self.settings.host_names)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._end: Optional[asyncio.Event] = None
        self._started = threading.Event()
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    def start(self) -> DashboardServer:
        """Listen; pages can be opened when this returns.

        Raises:
            ReidEdgeError: The port is in use, or the address is not one of this machine.
        """
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            if isinstance(self._error, OSError):
                raise self._refusal(self._error) from None
            raise self._error
        return self

    def close(self) -> None:
        """End all pages' connections and the thread."""
        if self._loop is not None and self._end is not None:
            try:
                self._loop.call_soon_threadsafe(self._end.set)
            except RuntimeError:
                pass  # the loop has ended by itself
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def __enter__(self) -> DashboardServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._thread.is_alive()

    @property
    def url(self) -> str:
        """The address to open in a browser, with the token if one is needed."""
        host = self.settings.host
        return self._guard.url(_own_address() if host in ("0.0.0.0", "::", "") else host, self.port)

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
            if self._started.is_set():
                _log.exception("the dashboard has ended; the car goes on without it")
        finally:
            self.hub.watchers = 0
            loop.close()
            self._started.set()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        pages = Pages(self.hub)
        routes = Routes(self.hub, self._guard, pages)
        runner = web.AppRunner(
            routes.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await runner.setup()
        tasks = []
        try:
            await web.TCPSite(runner, self.settings.host, self.settings.port).start()
            self.port = runner.addresses[0][1]
            routes.cookie = "follow_robot_%d" % self.port
            tasks = [asyncio.ensure_future(t) for t in (self._encode(pages), self._end.wait())]
            self._started.set()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # an encoder that failed ends the page, rather than freeze it
        finally:
            for task in tasks:
                task.cancel()
            await pages.close()
            await runner.cleanup()

    async def _encode(self, pages: Pages) -> None:
        """Encode the newest frame: not more often than asked for, and only while a page takes it."""
        period_s = 1.0 / self.settings.picture_rate_hz
        picture: Optional[Picture] = None
        while True:
            began_s = time.monotonic()
            newest = self.hub.newest()
            if newest is not None and pages.wanting(newest.seq):
                if picture is None or picture.seq != newest.seq:
                    picture = picture_of(
                        newest, self.settings.picture_width_px, self.settings.jpeg_quality
                    )
                pages.offer(picture)
            await asyncio.sleep(max(0.005, period_s - (time.monotonic() - began_s)))

    def _refusal(self, error: OSError) -> ReidEdgeError:
        where = "%s:%d" % (self.settings.host, self.settings.port)
        if error.errno == errno.EADDRINUSE:
            return ReidEdgeError(
                "The dashboard cannot listen on %s, because the port is in use; end the other "
                "program or choose another port." % where
            )
        if isinstance(error, PermissionError):
            return ReidEdgeError(
                "The dashboard may not listen on %s; choose a port from 1024 up." % where
            )
        return ReidEdgeError(
            "The dashboard cannot listen on %s (%s); choose an address of this machine, such as "
            "127.0.0.1 or 0.0.0.0." % (where, error.strerror or error)
        )


def _own_address() -> str:
    """The address under which the network most likely knows this machine; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, RFC 5737
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
