"""What talks to the dashboard's server in the tests: a page's side of HTTP and of the WebSocket."""

import asyncio
import json

import aiohttp

from follow_robot.dashboard.messages import unpack

PAGE = "0123456789abcdef" * 2
OTHER = "f" * 32


def base(server):
    return "http://127.0.0.1:%d" % server.port


def in_session(talk, server, **options):
    """Run ``talk(session)`` with a client that sends our own page's Origin."""

    async def run():
        headers = {"Origin": base(server)}
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of addresses
        async with aiohttp.ClientSession(
            base(server), headers=headers, cookie_jar=jar, **options
        ) as session:
            return await asyncio.wait_for(talk(session), 30)

    return asyncio.run(run())


def ask(server, method, path, headers=None, **options):
    """One request: (status, headers, text)."""

    async def run():
        async with aiohttp.ClientSession() as session:
            url = base(server) + path
            async with session.request(method, url, headers=headers or {}, **options) as reply:
                return reply.status, reply.headers, await reply.text()

    return asyncio.run(run())


async def until(socket, wanted):
    """The next message of the page's socket for which ``wanted`` is true, as (data, jpeg)."""
    while True:
        message = await asyncio.wait_for(socket.receive(), 20)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type == aiohttp.WSMsgType.TEXT:
            data, jpeg = json.loads(message.data), b""
        else:
            data, jpeg = unpack(message.data)
            await socket.send_json({"type": "got", "seq": data["shown"]})
        if wanted(data):
            return data, jpeg


def replies(number):
    return lambda data: data["type"] == "reply" and data["id"] == number


async def do(socket, number, kind, **fields):
    await socket.send_json({"type": "act", "id": number, "kind": kind, **fields})
    return (await until(socket, replies(number)))[0]


async def left(hub):
    """Until the server has noticed that every page is gone."""
    for _ in range(2000):
        if hub.controller is None and hub.watchers == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a page is still there")


def live(session, page=PAGE, **options):
    return session.ws_connect("/api/live?page=" + page, **options)
