"""Pages at the server: pictures, wishes, several at once, and its start and end."""

import asyncio
import re
import threading
import time

import aiohttp
import numpy as np
import pytest

from follow_robot.dashboard.hub import Hub, Parameter
from follow_robot.dashboard.messages import unpack
from follow_robot.dashboard.server import DashboardServer
from follow_robot.dashboard.settings import DashboardSettings
from follow_robot.dashboard.stream import picture_of
from runtime.errors import ReidEdgeError
from tests.follow_robot.dashboard.client import OTHER, ask, do, in_session, left, live, until

IMAGE = np.full((480, 640, 3), 90, np.uint8)


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


# -- a page --------------------------------------------------------------------------------------


def test_a_page_sees_frames_and_its_wishes_arrive(server, hub):
    hub.publish(IMAGE, {"fps": 7.5, "time_s": time.monotonic(), "lock": {"similarity": 0.5}})

    async def talk(session):
        async with live(session) as socket:
            welcome, _ = await until(socket, lambda data: True)
            assert welcome["type"] == "welcome" and welcome["you"] == "page 1"
            assert welcome["parameters"][0]["name"] == "distance_m"
            assert [row[1] for row in welcome["rows"]] == [0.5]
            picture, jpeg = await until(socket, lambda data: data["type"] == "picture")
            assert picture["status"]["fps"] == 7.5 and jpeg[:2] == b"\xff\xd8"
            assert 0 <= picture["now_s"] - picture["frame_s"] < 30 and picture["rows"] == []
            assert hub.watchers == 1
            box = [1.5, 2, 30, 40]
            reply = await do(socket, 1, "choose", box=box, point=[3, 4], track=6)
            assert reply["ok"] and reply["error"] is None
            reply = await do(socket, 2, "set", values={"distance_m": 9})
            assert not reply["ok"] and "0.8 to 4 m" in reply["error"]

    in_session(talk, server)


def test_wishes_reach_the_application_only_while_their_page_is_there(server, hub):
    async def talk(session):
        hub.publish(IMAGE, {})
        async with live(session) as socket:
            assert (await do(socket, 1, "choose", box=[1, 2, 30, 40], track=6))["ok"]
            (intent,) = hub.intents()
            assert intent[:2] == ("choose", "page 1")
            assert intent.box == (1.0, 2.0, 30.0, 40.0) and intent.track == 6
            assert (await do(socket, 2, "go"))["ok"]
        await left(hub)
        assert hub.intents() == []

    in_session(talk, server)


def test_stop_is_called_from_the_servers_thread_before_the_answer(server, hub, told):
    threads = []
    hub.on_stop = lambda why: threads.append((threading.current_thread().name, why))

    async def talk(session):
        async with live(session) as socket:
            assert (await do(socket, 1, "stop"))["ok"]
            assert threads == [("dashboard", "STOP pressed by page 1")]
            data, _ = await until(socket, lambda data: data["type"] != "reply")
            assert data["stop_sent"]

    in_session(talk, server)


def test_stop_comes_through_a_page_that_reads_nothing(hub, told):
    """The way to the page is stuck full of pictures; its STOP must not wait behind them."""
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3)).astype(np.uint8)
    large = DashboardSettings(port=0, picture_width_px=1920, picture_rate_hz=30, jpeg_quality=100)

    async def talk(session):
        async with live(session) as socket:
            for number in range(1, 25):  # says that all arrived, and reads nothing
                hub.publish(noise, {})
                await socket.send_json({"type": "got", "seq": 1})
                await socket.send_json({"type": "act", "id": number, "kind": "hold"})
                await asyncio.sleep(0.05)
            await socket.send_json({"type": "act", "id": 100, "kind": "stop"})
            for _ in range(1000):
                if told:
                    break
                await asyncio.sleep(0.01)
            assert told == ["STOP pressed by page 1"]

    with DashboardServer(hub, large) as server:
        in_session(talk, server)


def test_stop_by_post_when_there_is_no_socket(server, told):
    async def talk(session):
        async with session.post("/api/stop", json={}) as reply:
            assert reply.status == 200

    in_session(talk, server)
    assert told == ["STOP pressed by a page at 127.0.0.1"]


def test_stop_that_fails_is_told_to_the_page(server, hub):
    def broken(_):
        raise OSError("pipe closed")

    hub.on_stop = broken

    async def talk(session):
        async with live(session) as socket:
            reply = await do(socket, 1, "stop")
            assert not reply["ok"] and "pipe closed" in reply["error"]
        async with session.post("/api/stop", json={}) as post:
            assert post.status == 500 and "pipe closed" in (await post.json())["error"]

    in_session(talk, server)


def test_two_pages_one_controls_both_can_stop(server, hub, told):
    async def talk(session):
        async with live(session) as first, live(session, OTHER) as second:
            assert (await do(first, 1, "hold"))["ok"]
            reply = await do(second, 1, "go")
            assert not reply["ok"] and "Page 1 controls" in reply["error"]
            data, _ = await until(second, lambda data: data["type"] == "pulse")
            assert (data["you"], data["controller"], data["pages"]) == ("page 2", "page 1", 2)
            assert (await do(second, 2, "stop"))["ok"]
            assert told == ["STOP pressed by page 2"]
            # The page that controls sees it, and can re-arm in two steps.
            await until(first, lambda data: data.get("stop_sent"))
            code = (await do(first, 2, "rearm"))["code"]
            assert (await do(first, 3, "rearm", code=code))["ok"]
            assert (await do(second, 3, "take"))["ok"]
            assert not (await do(first, 4, "hold"))["ok"]
        await left(hub)

    in_session(talk, server)
    assert [i.kind for i in hub.intents()] == ["hold", "stop"], "the re-arm left with its page"


def test_a_page_that_comes_back_replaces_its_dead_connection_and_keeps_control(server, hub):
    async def talk(session):
        first = await live(session)
        assert (await do(first, 1, "hold"))["ok"]
        async with live(session) as again:
            data, _ = await until(again, lambda data: True)
            assert data["you"] == "page 1" and data["controller"] == "page 1"
            assert (await do(again, 2, "hold"))["ok"]
            while not first.closed:
                await asyncio.wait_for(first.receive(), 20)
            data, _ = await until(again, lambda data: data["type"] == "pulse")
            assert data["controller"] == "page 1" and data["pages"] == 1
        await first.close()

    in_session(talk, server)


def test_a_slow_page_gets_two_pictures_and_then_the_newest_only(server, hub):
    async def talk(session):
        async with live(session) as socket:
            seen = []
            hub.publish(IMAGE, {})
            began_s = time.monotonic()
            while time.monotonic() - began_s < 1.5:  # acknowledges nothing
                hub.publish(IMAGE, {})
                try:
                    message = await asyncio.wait_for(socket.receive(), 0.02)
                except asyncio.TimeoutError:
                    continue
                if message.type == aiohttp.WSMsgType.BINARY:
                    seen.append(unpack(message.data)[0]["shown"])
            assert len(seen) == 2
            newest = hub.newest().seq
            assert newest > 10
            # What matters for safety does not wait for pictures.
            hub.publish(IMAGE, {"mode": "hold", "stop": {"pressed": True, "reasons": ["joystick"]}})
            pulse, _ = await until(socket, lambda data: data.get("stop"))
            assert pulse["type"] == "pulse" and pulse["mode"] == "hold"
            assert pulse["stop"] == {"pressed": True, "reasons": ["joystick"]}
            await socket.send_json({"type": "got", "seq": seen[0]})
            picture, _ = await until(socket, lambda data: data["type"] == "picture")
            assert picture["shown"] >= newest

    in_session(talk, server)


def test_nothing_is_encoded_while_nobody_watches(server, hub, monkeypatch):
    encoded = []

    def counted(*args):
        encoded.append(args)
        return picture_of(*args)

    monkeypatch.setattr("follow_robot.dashboard.server.picture_of", counted)
    hub.publish(IMAGE, {})
    time.sleep(0.3)
    assert encoded == [], "no page"

    async def talk(session):
        async with live(session) as socket:
            await until(socket, lambda data: data["type"] == "picture")
            await socket.send_json({"type": "watch", "on": False})
            assert (await do(socket, 1, "hold"))["ok"]  # so the message before it was read
            before = len(encoded)
            assert before >= 1
            hub.publish(IMAGE, {})
            await asyncio.sleep(0.3)
            assert len(encoded) == before, "the page is hidden"

    in_session(talk, server)


def test_a_hidden_page_gets_pulses_only(server, hub):
    hub.publish(IMAGE, {})

    async def talk(session):
        async with live(session) as socket:
            await socket.send_json({"type": "watch", "on": False})
            reply = await do(socket, 1, "hold")  # so the message before it was read
            assert reply["ok"] and hub.watchers == 0
            for _ in range(3):
                data, _ = await until(socket, lambda data: True)
                assert data["type"] == "pulse" and data["now_s"] > 0
            await socket.send_json({"type": "watch", "on": True})
            await until(socket, lambda data: data["type"] == "picture")
            assert hub.watchers == 1

    in_session(talk, server)


def test_at_most_eight_pages(server):
    async def talk(session):
        sockets = [await live(session, "%032x" % number) for number in range(8)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await live(session, OTHER)
        assert error.value.status == 503
        again = await live(session, "%032x" % 0)  # one that comes back is none more
        for opened in [*sockets, again]:
            await opened.close()

    in_session(talk, server)


# -- start and end -------------------------------------------------------------------------------


def test_a_port_in_use_is_one_sentence(server):
    with pytest.raises(ReidEdgeError, match="port is in use; end the other program") as error:
        DashboardServer(Hub(), DashboardSettings(port=server.port)).start()
    assert "\n" not in str(error.value) and str(server.port) in str(error.value)


def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(ReidEdgeError, match="choose an address of this machine"):
        DashboardServer(Hub(), DashboardSettings(host="192.0.2.7", port=0)).start()


def test_the_end_closes_pages_frees_the_port_and_a_new_server_takes_it(server, hub):
    async def talk(session):
        socket = await live(session)
        await until(socket, lambda data: True)
        closing = threading.Thread(target=server.close)
        closing.start()
        while not socket.closed:
            await asyncio.wait_for(socket.receive(), 20)
        assert socket.close_code == 1001
        await asyncio.get_event_loop().run_in_executor(None, closing.join)

    in_session(talk, server)
    assert not server.alive and hub.watchers == 0
    server.close()  # twice does no harm
    with DashboardServer(hub, DashboardSettings(port=server.port)) as again:
        assert ask(again, "GET", "/api/session")[0] == 200


def test_a_server_on_the_network_prints_an_address_with_a_token():
    server = DashboardServer(Hub(), DashboardSettings(host="0.0.0.0", port=8080))
    assert re.fullmatch(r"http://[^/#]+:8080/#token=[\w-]{43}", server.url)
    assert "0.0.0.0" not in server.url


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"port": 70000}, "port must be 0 to 65535"),
        ({"token": "short"}, "at least 16 characters, got 5"),
        ({"picture_width_px": 10}, "picture_width_px"),
        ({"picture_rate_hz": float("nan")}, "picture_rate_hz"),
        ({"jpeg_quality": 0}, "jpeg_quality"),
    ],
)
def test_settings_are_checked(fields, says):
    with pytest.raises(ReidEdgeError, match=says):
        DashboardSettings(**fields)
