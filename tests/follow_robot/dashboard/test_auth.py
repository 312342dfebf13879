"""Names, origins, token and sessions."""

import pytest

from follow_robot.dashboard.auth import Guard, is_loopback
from runtime.errors import ReidEdgeError

TOKEN = "correct horse battery staple"


@pytest.mark.parametrize(
    "host, local",
    [("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1), ("localhost", 1)]
    + [("0.0.0.0", 0), ("192.168.1.5", 0), ("::", 0), ("robot", 0)],
)
def test_loopback(host, local):
    assert is_loopback(host) == bool(local)


@pytest.mark.parametrize(
    "header, local, network",
    [
        ("127.0.0.1:8080", True, True),
        ("localhost:8080", True, True),
        ("LOCALHOST", True, True),
        ("localhost:9000", True, True),  # through a tunnel
        ("[::1]:8080", True, True),
        ("192.168.1.5:8080", False, True),
        ("[fe80::1]:8080", False, True),
        ("my-robot:8080", False, True),
        ("0.0.0.0:8080", False, False),
        ("evil.example:8080", False, False),  # a name that was re-bound to our address
        ("localhost.evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("localhost:8080@evil.example", False, False),
        ("evil.example/localhost", False, False),
        ("localhost:8080\r\nX: y", False, False),
        ("localhost;script-src", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_only_names_of_this_machine_are_answered(header, local, network):
    assert Guard("127.0.0.1").host_allowed(header) is local
    assert Guard("0.0.0.0", TOKEN, ["my-robot"]).host_allowed(header) is network


@pytest.mark.parametrize(
    "origin, host, allowed",
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("http://localhost:8080", "LOCALHOST:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:8081", "localhost:8080", False),  # another program of this machine
        ("http://127.0.0.1:8080", "localhost:8080", False),
        ("https://localhost:8080", "localhost:8080", False),
        ("http://evil.example", "localhost:8080", False),
        ("http://evil.example", "evil.example", False),  # re-bound name
        ("null", "localhost:8080", False),  # a sandboxed frame
        ("", "localhost:8080", False),
        (None, "localhost:8080", False),
    ],
)
def test_only_our_own_page_may_change_something(origin, host, allowed):
    assert Guard("127.0.0.1").origin_allowed(origin, host) is allowed


def test_this_machine_needs_no_token_and_the_network_gets_a_new_one_each_time():
    local = Guard("127.0.0.1")
    assert local.token is None and local.session_valid(None)
    assert local.url("127.0.0.1", 8080) == "http://127.0.0.1:8080/"
    first, second = Guard("0.0.0.0"), Guard("0.0.0.0")
    assert first.token != second.token and len(first.token) >= 43  # 256 bits
    assert not first.session_valid(None) and not first.session_valid("")
    assert first.url("192.168.1.5", 80) == "http://192.168.1.5:80/#token=" + first.token
    assert first.url("fe80::1", 80).startswith("http://[fe80::1]:80/#")


def test_the_token_opens_a_session_and_nothing_else_does():
    guard = Guard("0.0.0.0", TOKEN)
    for wrong in ("", "x", TOKEN + " ", TOKEN.upper(), "\ud800", "é" * 30):
        assert guard.login(wrong) is None
        assert not guard.session_valid(wrong)
    session = guard.login(TOKEN)
    assert session and session != TOKEN and guard.session_valid(session)
    assert not guard.session_valid(TOKEN), "the cookie is not the token"
    assert not guard.session_valid(session[:-1]) and not guard.session_valid("\udc80")
    assert guard.login(TOKEN) != session


def test_sessions_are_bounded_and_the_oldest_goes():
    guard = Guard("0.0.0.0", TOKEN)
    sessions = [guard.login(TOKEN) for _ in range(17)]
    assert [guard.session_valid(s) for s in sessions] == [False] + [True] * 16


def test_a_token_can_be_wanted_on_this_machine_too():
    assert not Guard("127.0.0.1", TOKEN).session_valid(None)


def test_a_short_token_is_refused():
    with pytest.raises(ReidEdgeError, match="at least 16 characters, got 4"):
        Guard("0.0.0.0", "1234")
