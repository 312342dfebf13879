"""The pseudo-terminal between application and board, opened as the application opens a port."""

import os

import pytest

from follow_robot.chassis import PortError, SerialPort
from follow_robot.simulator.serial_line import SerialLine
from runtime.errors import ReidEdgeError


@pytest.fixture
def line(tmp_path):
    with SerialLine(tmp_path / "ttyUSB0") as line:
        yield line


def test_bytes_pass_both_ways_unchanged(line):
    everything = bytes(range(256))
    with SerialPort(str(line.link)) as port:
        port.write(everything)
        assert line.read_exactly(256) == everything
        line.write(everything, await_s=2.0)
        assert port.read() == everything


def test_what_was_written_is_waited_for_and_no_more(line):
    with SerialPort(str(line.link)) as port:
        port.write(b"abcdef")
        assert line.read_exactly(6) == b"abcdef"
        assert line.read() == b""


def test_bytes_that_never_come_are_an_error_in_one_sentence(line, monkeypatch):
    monkeypatch.setattr("follow_robot.simulator.serial_line._PATIENCE_S", 0.05)
    with pytest.raises(ReidEdgeError, match="gave 0 of 3 bytes"):
        line.read_exactly(3)


def test_a_program_that_closes_its_end_does_not_hang_up_the_line(line):
    for word in (b"one", b"two"):
        with SerialPort(str(line.link)) as port:
            port.write(word)
            assert line.read_exactly(3) == word


def test_unplugging_shows_at_the_application_and_plugging_in_mends_it(line):
    port = SerialPort(str(line.link))
    port.open()
    line.unplug()
    assert not line.plugged and not line.link.exists()
    with pytest.raises(PortError):
        for _ in range(3):
            port.write(b"x")
    port.close()
    with pytest.raises(PortError):
        port.open()
    assert line.read() == b"" and line.read_exactly(5) == b""
    line.write(b"nobody hears this")
    line.plug()
    with port:
        port.write(b"back")
        assert line.read_exactly(4) == b"back"


def test_plugging_twice_and_unplugging_twice_are_harmless(line):
    before = os.readlink(str(line.link))
    line.plug()
    assert os.readlink(str(line.link)) == before
    line.unplug()
    line.unplug()
    line.plug()
    assert line.plugged


def test_what_nobody_reads_is_dropped_and_counted(line):
    for _ in range(100):
        line.write(bytes(1000))
    assert line.dropped > 50000
    with SerialPort(str(line.link)) as port:  # opening flushes what waited
        line.write(b"now", await_s=2.0)
        assert port.read().endswith(b"now")
