"""The open pages: one WebSocket each, with what was sent and what is still to be sent."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from typing import Any, Deque, Dict, Optional

from aiohttp import WSMsgType, web

from follow_robot.dashboard.hub import Hub
from follow_robot.dashboard.messages import (
    MAX_MESSAGE_BYTES,
    Act,
    BadMessage,
    Got,
    Watch,
    pack,
    parse,
    to_json,
)
from follow_robot.dashboard.stream import Flow, Picture
from runtime.errors import ReidEdgeError

MOST_PAGES = 8
_PULSE_S = 0.5  # a page hears something at least this often
_PING_S = 10.0  # a page that does not answer for this and half of it is gone
_CLOSE_S = 1.0
_REPLIES = 32
_NAMES = 256

_log = logging.getLogger(__name__)


class Page:
    """One page's connection.

    Attributes:
        name: ``"page 1"`` and so on.
        watching: Whether it shows pictures now.
    """

    def __init__(self, socket: web.WebSocketResponse, name: str, hub: Hub, pages: Pages):
        self.name = name
        self.watching = True
        self._socket, self._hub, self._pages = socket, hub, pages
        self._flow = Flow()
        self._wake = asyncio.Event()
        self._picture: Optional[Picture] = None
        # Bounded: who asks without reading the answers loses the oldest.
        self._replies: Deque[Dict[str, Any]] = deque(maxlen=_REPLIES)
        self._row_seq = self._event_number = 0

    def wants(self, seq: int) -> bool:
        """Whether frame ``seq`` would be sent now."""
        return self.watching and self._flow.wants(seq)

    def offer(self, picture: Picture) -> None:
        """The newest picture; sent unless a newer one comes first or the page is busy."""
        self._picture = picture
        self._wake.set()

    async def close(self, code: int = 1001) -> None:
        """End the connection; 1001 says that the server goes away."""
        await self._socket.close(code=code)

    async def run(self) -> None:
        """Serve until the page is gone. Reading never waits for sending: STOP overtakes all."""
        sender = asyncio.ensure_future(self._send())
        try:
            async for message in self._socket:
                if message.type == WSMsgType.TEXT:
                    self._read(message.data)
                elif message.type == WSMsgType.BINARY:
                    self._reply(None, error="Expected text, got a binary message.")
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    # -- from the page ---------------------------------------------------------------------------

    def _read(self, text: str) -> None:
        try:
            message = parse(text)
        except BadMessage as error:
            self._reply(error.id, error=str(error))
            return
        self._hub.heard(self.name)
        if isinstance(message, Got):
            if message.seq:
                self._flow.got()
        elif isinstance(message, Watch):
            self.watching = message.on
            self._pages.count()
        else:
            self._act(message)

    def _act(self, act: Act) -> None:
        try:
            code = self._hub.act(self.name, act)
        except ReidEdgeError as error:
            self._reply(act.id, error=str(error))
        else:
            self._reply(act.id, code=code)
        if act.kind in ("stop", "take"):
            self._pages.wake()  # the others must see it at once

    def _reply(
        self, number: Optional[int], error: Optional[str] = None, code: Optional[str] = None
    ) -> None:
        self._replies.append(
            {"type": "reply", "id": number, "ok": error is None, "error": error, "code": code}
        )
        self.wake()

    # -- to the page -----------------------------------------------------------------------------

    def wake(self) -> None:
        """Send what there is, now."""
        self._wake.set()

    async def _send(self) -> None:
        try:
            await self._socket.send_str(self._welcome())
            while True:
                try:
                    await asyncio.wait_for(self._wake.wait(), _PULSE_S)
                except asyncio.TimeoutError:
                    pass
                self._wake.clear()
                await self._send_news()
        except ConnectionError:
            pass  # the reader sees the end too
        except Exception:
            _log.exception("a page's connection failed")
            await self.close(1011)

    async def _send_news(self) -> None:
        while self._replies:
            await self._socket.send_str(json.dumps(self._replies.popleft()))
        picture, self._picture = self._picture, None
        if picture is None or not self.wants(picture.seq):
            await self._socket.send_str(to_json({"type": "pulse", **self._news()}))
            return
        self._flow.sent(picture.seq)
        news = to_json(
            {
                "type": "picture",
                "shown": picture.seq,
                "frame_s": picture.frame_time_s,
                "problem": picture.problem,
                **self._news(),
            }
        )
        # The status was written once for all pages; it is put in as it is.
        header = '%s,"status":%s}' % (news[:-1], picture.status)
        await self._socket.send_bytes(pack(header, picture.jpeg))

    def _welcome(self) -> str:
        parameters = [p._asdict() for p in self._hub.parameters]
        return to_json({"type": "welcome", "parameters": parameters, **self._news()})

    def _news(self) -> Dict[str, Any]:
        """What every message carries; rows and events are sent once.

        ``now_s`` lets the page tell how old a picture is that was long on its way: the clocks' least
        difference is that of the fastest message.
        """
        now_s = time.monotonic()
        rows = self._hub.rows_since(self._row_seq)
        events = self._hub.events_since(self._event_number)
        if rows:
            self._row_seq = rows[-1][0]
        if events:
            self._event_number = events[-1].number
        newest = self._hub.newest()
        status = newest.status if newest is not None else {}
        return {
            "now_s": now_s,
            # Not left to the pictures: on a slow line they come late.
            "stop": status.get("stop"),
            "mode": status.get("mode"),
            "you": self.name,
            "controller": self._hub.controller,
            "pages": len(self._pages),
            "stop_sent": self._hub.stop_sent,
            "rows": [list(row) for _, row in rows],
            "events": [{"text": e.text, "age_s": now_s - e.time_s} for e in events],
        }


class Pages:
    """All open pages, by name."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self._open: Dict[str, Page] = {}
        self._names: Dict[str, str] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._open)

    def full(self, page_id: str) -> bool:
        """Whether there is no room for one more."""
        return self._names.get(page_id) not in self._open and len(self._open) >= MOST_PAGES

    def count(self) -> None:
        """Tell the hub how many pages show pictures."""
        self._hub.watchers = sum(page.watching for page in self._open.values())

    def wanting(self, seq: int) -> bool:
        """Whether any page would be sent frame ``seq`` now."""
        return any(page.wants(seq) for page in self._open.values())

    def offer(self, picture: Picture) -> None:
        """Offer a picture to all."""
        for page in self._open.values():
            page.offer(picture)

    def wake(self) -> None:
        """Let all pages hear the news now."""
        for page in self._open.values():
            page.wake()

    async def close(self) -> None:
        """End all connections; one that is stuck is left to be cut."""
        closing = [asyncio.ensure_future(page.close()) for page in self._open.values()]
        if closing:
            _, stuck = await asyncio.wait(closing, timeout=2 * _CLOSE_S)
            for task in stuck:
                task.cancel()

    async def serve(self, request: web.Request, page_id: str) -> web.WebSocketResponse:
        """One page's WebSocket, from the handshake to its end.

        A page that comes back before its old connection was found dead replaces it and goes on
        under its name, in control if it was.
        """
        socket = web.WebSocketResponse(
            heartbeat=_PING_S, timeout=_CLOSE_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False
        )
        await socket.prepare(request)
        name = self._name(page_id)
        page = Page(socket, name, self._hub, self)
        older, self._open[name] = self._open.get(name), page
        self.count()
        goodbye = asyncio.ensure_future(older.close(1000)) if older is not None else None
        try:
            await page.run()
        finally:
            if goodbye is not None:
                goodbye.cancel()
            if self._open.get(name) is page:
                del self._open[name]
                self._hub.leave(name)
                self.count()
                self.wake()
        return socket

    def _name(self, page_id: str) -> str:
        if page_id not in self._names:
            if len(self._names) >= _NAMES:
                self._names = {i: n for i, n in self._names.items() if n in self._open}
            self._count += 1
            self._names[page_id] = "page %d" % self._count
        return self._names[page_id]
