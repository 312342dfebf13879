"""Reconnecting, with a port and a clock that do what the test says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follow_robot.chassis import LOST, RECONNECTED, Port, PortError, ReconnectingPort
from runtime.errors import ReidEdgeError


class FakePort(Port):
    """Fails when told to, and notes what is done with it.

    Attributes:
        plugged: Whether it can be opened, written and read.
        chokes: Whether writing fails though it can be opened.
    """

    def __init__(self):
        self.plugged, self.chokes = True, False
        self.log, self.inbox, self._open = [], b"", False

    @property
    def is_open(self):
        return self._open

    def open(self):
        self.log.append("open")
        if not self.plugged:
            raise PortError("not there")
        self._open = True

    def write(self, data):
        assert self._open
        if self.chokes or not self.plugged:
            raise PortError("write failed")
        self.log.append(data)

    def read(self):
        assert self._open
        if not self.plugged:
            raise PortError("read failed")
        data, self.inbox = self.inbox, b""
        return data

    def close(self):
        if self._open:
            self.log.append("close")
        self._open = False

    def describe(self):
        return "fake"


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def connected():
    fake, clock = FakePort(), Clock()
    port = ReconnectingPort(fake, lambda: [b"a", b"b"], clock=clock)
    port.open()
    fake.log.clear()
    return port, fake, clock


def attempts(port, fake, clock, seconds):
    """Times since now at which ``open`` was tried, polling every 10 ms."""
    begin_s, tried = clock.now_s, []
    for _ in range(round(seconds * 100)):
        clock.now_s += 0.01
        before = fake.log.count("open")
        port.poll()
        if fake.log.count("open") > before:
            tried.append(round(clock.now_s - begin_s, 2))
    return tried


def test_the_first_opening_sends_the_start_frames_and_fails_aloud():
    fake = FakePort()
    port = ReconnectingPort(fake, lambda: [b"a", b"b"], clock=Clock())
    fake.plugged = False
    with pytest.raises(PortError, match="not there"):
        port.open()
    assert port.poll() is None and not port.is_open
    fake.plugged = True
    port.open()
    assert fake.log == ["open", "open", b"a", b"b"]
    assert port.poll() is None
    assert port.describe() == "fake"


def test_start_frames_that_are_not_taken_are_a_failed_opening():
    fake = FakePort()
    fake.chokes = True
    port = ReconnectingPort(fake, lambda: [b"a"], clock=Clock())
    with pytest.raises(PortError, match="write failed"):
        port.open()
    assert not fake.is_open


@pytest.mark.parametrize("by", ["write", "read"])
def test_a_loss_is_closed_said_once_and_mended(by, caplog):
    port, fake, clock = connected()
    fake.plugged = False
    if by == "write":
        assert port.write(b"x") is False
    else:
        assert port.read() == b""
    assert not port.is_open and fake.log == ["close"]
    assert port.last_error == by + " failed"
    assert port.poll() == LOST
    assert port.poll() is None
    assert port.write(b"y") is False and port.read() == b""
    fake.plugged = True
    clock.now_s += 0.19
    assert port.poll() is None
    clock.now_s += 0.02
    assert port.poll() == RECONNECTED
    assert fake.log == ["close", "open", b"a", b"b"]
    assert port.write(b"z") is True and port.poll() is None
    assert port.reconnects == 1
    assert [record.getMessage() for record in caplog.records] == [
        by + " failed",
        "The chassis is back on fake.",
    ]


def test_waits_double_up_to_the_longest():
    port, fake, clock = connected()
    clock.now_s += 60
    fake.plugged = False
    port.write(b"x")
    assert port.poll() == LOST
    tried = attempts(port, fake, clock, 10)
    gaps = [b - a for a, b in zip([0] + tried, tried)]
    assert gaps == pytest.approx([0.2, 0.4, 0.8, 1.6, 2, 2, 2], abs=0.021)


def test_waits_start_anew_once_it_was_back():
    port, fake, clock = connected()
    for _ in range(2):
        fake.plugged = False
        port.write(b"x")
        assert port.poll() == LOST
        assert attempts(port, fake, clock, 1.3) == pytest.approx([0.2, 0.6, 1.4][:2], abs=0.03)
        fake.plugged = True
        assert len(attempts(port, fake, clock, 1)) == 1
        assert port.is_open


def test_a_reopened_port_that_takes_nothing_is_not_back():
    port, fake, clock = connected()
    fake.chokes = True
    port.write(b"x")
    assert port.poll() == LOST
    for _ in range(300):
        clock.now_s += 0.05
        assert port.poll() is None and not port.is_open
    fake.chokes = False
    clock.now_s += 2
    assert port.poll() == RECONNECTED


def test_closing_ends_it():
    port, fake, clock = connected()
    fake.plugged = False
    port.write(b"x")
    port.close()
    fake.plugged = True
    clock.now_s += 10
    assert port.poll() is None and not port.is_open
    assert "open" not in fake.log


def test_reading():
    port, fake, _ = connected()
    fake.inbox = b"abc"
    assert (port.read(), port.read()) == (b"abc", b"")


@given(st.lists(st.sampled_from(["plug", "unplug", "choke", "unchoke", "write", "read", "poll"])))
def test_events_alternate_and_start_frames_come_first(actions):
    port, fake, clock = connected()
    events = []
    for action in actions:
        clock.now_s += 0.15
        if action in ("plug", "unplug"):
            fake.plugged = action == "plug"
        elif action in ("choke", "unchoke"):
            fake.chokes = action == "choke"
        elif action == "poll":
            events.append(port.poll())
        else:
            port.write(b"x") if action == "write" else port.read()
    events = [event for event in events if event]
    assert events == [LOST, RECONNECTED] * (len(events) // 2) + [LOST] * (len(events) % 2)
    assert port.reconnects == events.count(RECONNECTED)
    log = [entry for entry in fake.log if entry != "close"]
    for i, entry in enumerate(log):  # nothing is written to a reopened port before the start frames
        if entry == b"x" and i and log[i - 1] != b"x":
            assert log[i - 2 : i] == [b"a", b"b"]


@pytest.mark.parametrize("first_s, longest_s", [(0, 1), (2, 1), (float("nan"), 1)])
def test_waits_out_of_order(first_s, longest_s):
    with pytest.raises(ReidEdgeError, match="0 < first_s <= longest_s"):
        ReconnectingPort(FakePort(), first_s=first_s, longest_s=longest_s)
