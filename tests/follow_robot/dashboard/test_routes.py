"""What the server answers to a stranger's page, to a broken program, and to who lacks the token."""

import asyncio
import json
import logging
import re
import socket
from html.parser import HTMLParser

import aiohttp
import pytest

from follow_robot.dashboard.hub import Hub, Parameter
from follow_robot.dashboard.routes import STATIC
from follow_robot.dashboard.server import DashboardServer
from follow_robot.dashboard.settings import DashboardSettings
from tests.follow_robot.dashboard.client import OTHER, PAGE, ask, base, do, in_session, live, until

TOKEN = "a token of the test's own"


@pytest.fixture
def told():
    return []


@pytest.fixture
def hub(told):
    parameters = (Parameter("distance_m", "Distance", "m", 0.8, 4.0, 0.1, 1.5),)
    return Hub(parameters, on_stop=told.append)


@pytest.fixture
def server(hub):
    with DashboardServer(hub, DashboardSettings(port=0)) as server:
        yield server


@pytest.fixture
def guarded(hub):
    """A server that needs the token, on an address that needs none by itself."""
    with DashboardServer(hub, DashboardSettings(port=0, token=TOKEN)) as server:
        yield server


# -- a stranger's page ---------------------------------------------------------------------------

ACTIONS = [("POST", "/api/stop"), ("POST", "/api/login"), ("GET", "/api/live?page=" + PAGE)]
FOREIGN = ["http://evil.example", "null", "https://127.0.0.1:1", "http://127.0.0.1:1", None]


@pytest.mark.parametrize("method, path", ACTIONS)
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin_changes_nothing(server, told, hub, method, path, origin):
    headers = {"Origin": origin} if origin else {}
    if method == "GET":
        headers.update(
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
        )
    body = {"json": {}} if method == "POST" else {}
    status, _, text = ask(server, method, path, headers, **body)
    assert status == 403 and "own page" in json.loads(text)["error"]
    assert told == [] and hub.intents() == [] and hub.watchers == 0


@pytest.mark.parametrize(
    "path", ["/", "/static/app.js", "/api/session", "/api/live?page=" + PAGE, "/nothing"]
)
def test_a_foreign_host_gets_nothing_at_all(server, path):
    # As after DNS rebinding: the name is the stranger's, and so is the matching Origin.
    headers = {"Host": "evil.example:80", "Origin": "http://evil.example:80"}
    status, sent, text = ask(server, "GET", path, headers)
    assert status == 403 and "name" in text
    assert "evil" not in sent["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/api/stop", "/api/login"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_changes_by_another_method(server, told, method, path):
    status, headers, _ = ask(server, method, path, {"Origin": base(server)})
    assert status == 405 and headers["Allow"] == "POST"
    assert told == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_foreign_form_can_send_is_refused(server, told, content_type):
    headers = {"Origin": base(server), "Content-Type": content_type}
    status, _, _ = ask(server, "POST", "/api/stop", headers, data=b"{}")
    assert status == 415 and told == []


# -- broken programs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, status, says",
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"[]", 400, "object"),
        (b'{"a": NaN}', 400, "NaN"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b"[" * 4000, 400, "JSON"),
        (b'{"a": "' + b"x" * 5000 + b'"}', 413, "Too Large"),
    ],
)
def test_malformed_posts(server, told, body, status, says):
    headers = {"Origin": base(server), "Content-Type": "application/json"}
    got, _, text = ask(server, "POST", "/api/stop", headers, data=body)
    assert got == status and re.search(says, json.loads(text)["error"], re.I)
    assert told == []


def test_malformed_messages_are_answered_and_the_connection_stays(server, hub, caplog):
    bad = ["", "{", "[]", "[" * 3000, '{"type":"act","id":3,"kind":"fly"}', '{"a":1e999}', "\x00"]

    async def talk(session):
        async with live(session) as socket:
            for text in bad:
                await socket.send_str(text)
                reply, _ = await until(socket, lambda data: data["type"] == "reply")
                assert not reply["ok"] and reply["error"]
            await socket.send_bytes(b"\x00\x01")
            reply, _ = await until(socket, lambda data: data["type"] == "reply")
            assert "binary" in reply["error"]
            assert (await do(socket, 5, "hold"))["ok"]

    with caplog.at_level(logging.WARNING):
        in_session(talk, server)
    assert caplog.records == []


def test_a_message_too_large_ends_its_connection_only(server, told):
    async def talk(session):
        async with live(session) as socket, live(session, OTHER) as other:
            await socket.send_str("x" * 5000)
            while not socket.closed:
                await asyncio.wait_for(socket.receive(), 20)
            # "Too big"; or no code, where the connection is reset because data was still on its way.
            assert socket.close_code in (1009, 1006)
            assert (await do(other, 1, "stop"))["ok"]

    in_session(talk, server)
    assert told == ["STOP pressed by page 2"]


def test_garbage_instead_of_http_does_no_harm(server, hub):
    for garbage in (
        b"\x00" * 200,
        b"GET / HTTP/9.9\r\n\r\n",
        b"STOP\r\n\r\n",
        b"GET " + b"a" * 9000,
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(garbage + b"\r\n\r\n")
            raw.settimeout(10)
            answer = raw.recv(4096)
            assert b"Traceback" not in answer and b" 200 " not in answer
    assert ask(server, "GET", "/api/session")[0] == 200 and server.alive


@pytest.mark.parametrize("page", ["", "x", PAGE[:-1], PAGE.upper().replace("0", "G"), PAGE + "0"])
def test_a_page_needs_a_number(server, page):
    headers = {"Origin": base(server)}
    status, _, text = ask(server, "GET", "/api/live?page=" + page, headers)
    assert status == 400 and "32 hexadecimal digits" in text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/",
        "/static/app.js%00.html",
        "/../../../etc/passwd",
        "/static/.",
    ],
)
def test_no_path_leads_out_of_the_pages_files(server, path):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        # By hand: clients tidy such paths up before they send them.
        host = "127.0.0.1:%d" % server.port
        raw.sendall(
            ("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, host)).encode()
        )
        raw.settimeout(10)
        answer = b""
        while True:
            part = raw.recv(65536)
            if not part:
                break
            answer += part
    assert re.match(rb"HTTP/1.1 (400|404) ", answer), answer[:200]
    assert b"root:" not in answer and b"import" not in answer


# -- the token -----------------------------------------------------------------------------------


def test_without_the_token_there_is_a_page_but_no_car(guarded, told):
    async def talk(session):
        for path in ("/", "/static/app.js"):
            async with session.get(path) as reply:
                assert reply.status == 200
                assert TOKEN not in await reply.text()
        async with session.get("/api/session") as reply:
            assert await reply.json() == {"admitted": False}
        async with session.post("/api/stop", json={}) as reply:
            assert reply.status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await live(session)
        assert error.value.status == 401

    in_session(talk, guarded)
    assert told == []


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": TOKEN + "x"}, {"token": 5}, {"token": "\ud800"}]
)
def test_a_wrong_token_opens_nothing(guarded, body):
    async def talk(session):
        async with session.post("/api/login", json=body) as reply:
            assert reply.status == 403 and "Set-Cookie" not in reply.headers
        async with session.get("/api/session") as reply:
            assert await reply.json() == {"admitted": False}

    in_session(talk, guarded)


def test_the_token_is_traded_for_a_cookie_no_script_and_no_other_site_can_use(guarded, told):
    async def talk(session):
        async with session.post("/api/login", json={"token": TOKEN}) as reply:
            assert reply.status == 200
            cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
        assert cookie.startswith("follow_robot_%d=" % guarded.port)
        async with session.get("/api/session") as reply:
            assert await reply.json() == {"admitted": True}
        async with live(session) as socket:
            assert (await do(socket, 1, "stop"))["ok"]
        # With the cookie, but from a stranger's page (a browser older than SameSite).
        headers = {"Origin": "http://evil.example"}
        async with session.post("/api/stop", json={}, headers=headers) as reply:
            assert reply.status == 403

    in_session(talk, guarded)
    assert told == ["STOP pressed by page 1"]


def test_the_token_stands_behind_the_hash_which_is_never_sent(guarded):
    address, _, fragment = guarded.url.partition("#")
    assert TOKEN.split()[0] not in address and fragment.startswith("token=")


# -- what the page may load ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/session", "/nothing", "/api/stop"])
def test_every_answer_has_the_strict_headers(server, path):
    _, headers, _ = ask(server, "GET", path)
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy.pop("connect-src") == "'self' ws://127.0.0.1:%d" % server.port
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


class Loads(HTMLParser):
    """Collects what a page loads, and what is written into it as code or style."""

    def __init__(self):
        super().__init__()
        self.urls, self.inline = [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            if name in values:
                self.urls.append(values[name])
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        self.inline += [name for name in values if name == "style" or name.startswith("on")]


def test_the_page_loads_its_own_files_only_and_holds_no_inline_code(server):
    loads = Loads()
    loads.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    assert loads.inline == []
    for url in loads.urls:
        assert url.startswith(("/static/", "#")), url
        if url.startswith("/"):
            assert ask(server, "GET", url)[0] == 200
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"(?i)\b(https?:)?//[a-z0-9]|@import|url\(|\beval\b|innerHTML", text
        ), path
        for module in re.findall(r'from "(.+?)"', text):
            assert (STATIC / module).is_file()
