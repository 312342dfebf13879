"""Serial ports over real pseudo-terminals."""

import os
import threading
import time

import pytest
import serial

from follow_robot.chassis import (
    LOST,
    RECONNECTED,
    PortError,
    ReconnectingPort,
    Rosmaster,
    SerialPort,
    Waveshare,
    Wheeltec,
    open_chassis,
    serial_port,
)
from follow_robot.velocity import STOP, Velocity
from tests.follow_robot.chassis import test_rosmaster, test_waveshare, test_wheeltec
from tests.follow_robot.chassis.pty_car import PATIENCE_S


def read(port, count):
    """``count`` bytes from a port that never waits."""
    data, deadline_s = b"", time.monotonic() + PATIENCE_S
    while len(data) < count:
        assert time.monotonic() < deadline_s
        data += port.read()
    return data


@pytest.mark.parametrize(
    "name, vectors", [("wheeltec", test_wheeltec.VECTORS), ("rosmaster", test_rosmaster.VECTORS)]
)
def test_the_far_end_gets_the_vectors(cable, name, vectors):
    chassis, port = open_chassis("%s:%s" % (name, cable.link))
    with port:
        for velocity, frame in vectors:
            port.write(chassis.encode(velocity))
            assert cable.receive(len(bytes.fromhex(frame))) == bytes.fromhex(frame)


def test_every_byte_arrives_unchanged_in_both_directions(cable, port):
    every = bytes(range(256))  # XON, XOFF, end of file, line ends, interrupt and all others
    port.write(every)
    assert cable.receive(256) == every
    cable.send(every)
    assert read(port, 256) == every
    assert port.read() == b""


@pytest.mark.parametrize(
    "chassis, report",
    [
        (Wheeltec(), test_wheeltec.FRAMES[0]),
        (Rosmaster(), test_rosmaster.FRAMES[0]),
        (Waveshare(), test_waveshare.FRAMES[0]),
    ],
)
def test_reports_come_back(cable, port, chassis, report):
    cable.send(report[7:] + report)
    found = chassis.feed(read(port, 2 * len(report) - 7))
    assert found == type(chassis)().feed(report) != []


def test_opening_and_closing_twice_does_nothing(cable):
    port = SerialPort(cable.link, lower_lines=True)
    port.open()
    port.open()
    port.write(b"x")
    port.close()
    port.close()
    assert not port.is_open
    with pytest.raises(PortError, match="used before it was opened"):
        port.write(b"x")
    with pytest.raises(PortError, match="used before it was opened"):
        port.read()
    port.open()
    port.close()


def test_old_input_is_not_read(cable):
    cable.send(b"old")
    with SerialPort(cable.link) as port:
        cable.send(b"new")
        assert read(port, 3) == b"new"


def test_a_far_end_that_reads_slowly_gets_everything(cable):
    """The buffer fills up again and again, so frames are split over several writes."""
    frame, count = bytes(range(1, 100)) + b"\n", 1000
    got = []
    reader = threading.Thread(target=lambda: got.append(cable.receive(count * len(frame))))
    with SerialPort(cable.link, write_timeout_s=PATIENCE_S) as port:
        reader.start()
        for _ in range(count):
            port.write(frame)
        reader.join(PATIENCE_S)
        assert port.backlogs == 0
    assert got == [frame * count]


def test_a_frame_that_is_taken_in_parts_arrives_whole(cable, port, monkeypatch):
    written = os.write

    def at_most_four(fd, data):
        return written(fd, bytes(data[:4]))

    monkeypatch.setattr(serial_port.os, "write", at_most_four)
    port.write(b"0123456789")
    assert cable.receive(10) == b"0123456789"


def fill(port, frame):
    """Write until nothing more is taken; (number of whole frames, seconds of the last write)."""
    for count in range(100_000):
        begin_s = time.monotonic()
        try:
            port.write(frame)
        except PortError as error:
            assert "took no more bytes for 0.05 s; check the chassis" in str(error)
            return count, time.monotonic() - begin_s
    raise AssertionError("the buffer has no end")


def test_a_far_end_that_reads_nothing_does_not_block(cable, port, monkeypatch):
    cleared = []
    monkeypatch.setattr(serial.Serial, "reset_output_buffer", lambda self: cleared.append(1))
    frame = Wheeltec().encode(Velocity(0.5))
    _, took_s = fill(port, frame)
    assert cleared == [1]
    assert 0.04 < took_s < 0.05 + 2.0  # seconds for other processes
    assert port.backlogs == 1
    begin_s = time.monotonic()
    port.close()
    assert time.monotonic() - begin_s < 1.0


def test_after_a_full_buffer_and_half_a_frame_a_stop_is_heard(cable):
    chassis, firmware = Wheeltec(), test_wheeltec.CountingFirmware()
    port = SerialPort(cable.link)
    port.open()
    fill(port, chassis.encode(Velocity(0.5)))
    firmware.receive(cable.receive_all())
    assert firmware.velocity == (500, 0, 0)
    port.write(chassis.stop())
    firmware.receive(cable.receive_all())
    assert firmware.velocity == (0, 0, 0)
    port.close()


def test_bytes_that_a_device_does_not_take_are_discarded_before_new_ones(port, monkeypatch):
    """A pseudo-terminal has no such queue, so its length is made up."""
    cleared, waiting = [], [10, 256, 300]
    monkeypatch.setattr(serial.Serial, "out_waiting", property(lambda self: waiting.pop(0)))
    monkeypatch.setattr(serial.Serial, "reset_output_buffer", lambda self: cleared.append(1))
    for _ in range(3):
        port.write(b"x")
    assert len(cleared) == port.backlogs == 1
    waiting[:] = [0, 0]


def test_closing_waits_for_the_last_bytes_but_not_for_ever(cable, monkeypatch):
    cleared, waiting = [], [0, 33, 22, 11, 0, 0]
    queue = property(lambda self: waiting.pop(0) if waiting else 5)
    monkeypatch.setattr(serial.Serial, "out_waiting", queue)
    monkeypatch.setattr(serial.Serial, "reset_output_buffer", lambda self: cleared.append(1))
    port = SerialPort(cable.link)
    port.open()
    port.write(b"stop")
    port.close()
    assert waiting == [] and cleared == []
    port.open()
    begin_s = time.monotonic()
    port.close()
    assert cleared == [1]
    assert 0.15 < time.monotonic() - begin_s < 5.0


def test_writes_keep_their_distance(cable):
    with SerialPort(cable.link, gap_s=0.03) as port:
        begin_s = time.monotonic()
        for _ in range(4):
            port.write(b"x")
        assert time.monotonic() - begin_s >= 0.09


def test_reset_lines_are_lowered_in_the_order_that_resets_nothing(cable, monkeypatch):
    calls = []
    for name in ("rts", "dtr"):
        note = property(lambda self: True, lambda self, on, name=name: calls.append((name, on)))
        monkeypatch.setattr(serial.Serial, name, note)
    port = open_chassis("waveshare:%s" % cable.link)[1]
    port.open()
    port.close()
    assert calls[-2:] == [("rts", False), ("dtr", False)]


@pytest.mark.parametrize("by", ["write", "read"])
def test_unplugging_is_noticed(cable, port, by):
    port.write(b"x")
    cable.unplug()
    with pytest.raises(PortError, match=r"Serial port .*car was lost \(.+\); plug it in again"):
        if by == "write":
            port.write(b"x")
        else:
            port.read()
    port.close()
    assert not port.is_open


def test_plugging_in_again(cable, caplog):
    now_s = [0.0]
    chassis, wire = open_chassis("waveshare:%s" % cable.link)
    port = ReconnectingPort(wire, chassis.start, clock=lambda: now_s[0])
    port.open()
    start = b"".join(chassis.start())
    assert cable.receive(len(start)) == start
    cable.unplug()
    assert port.write(chassis.encode(Velocity(0.3))) is False
    assert port.poll() == LOST
    now_s[0] += 0.25
    assert port.poll() is None and "does not exist" in port.last_error
    cable.plug_in()
    now_s[0] += 0.45
    assert port.poll() == RECONNECTED
    assert port.write(chassis.encode(STOP)) is True
    expected = start + chassis.encode(STOP)
    assert cable.receive(len(expected)) == expected
    cable.send(test_waveshare.FRAMES[0])
    data = b""
    while not data.endswith(b"}"):
        data += port.read()
    assert len(chassis.feed(data)) == 1
    port.close()
