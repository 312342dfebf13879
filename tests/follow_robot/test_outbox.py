"""What waits for the driver process: never old commands, every order."""

import os
import threading

import pytest

from follow_robot.outbox import FULL, Outbox


@pytest.fixture
def pipe():
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    yield read, write
    for file in (read, write):
        try:
            os.close(file)
        except OSError:
            pass


def fill(write):
    """Leave no room in the pipe; how much went in."""
    count = 0
    for size in (4096, 1):
        while True:
            try:
                count += os.write(write, b"." * size)
            except BlockingIOError:
                break
    return count


def test_lines_go_out_in_order(pipe):
    outbox = Outbox()
    assert not outbox.command(b"too early\n")
    outbox.open(pipe[1], b"first\n")
    assert outbox.order(b"press\n")
    assert outbox.obstacle(b"near\n")
    assert outbox.command(b"go\n")
    assert os.read(pipe[0], 999) == b"first\npress\ntoo early\nnear\ngo\n"


def test_a_full_pipe_keeps_the_newest_command_and_every_order(pipe, caplog):
    outbox = Outbox()
    outbox.open(pipe[1], b"")
    count = fill(pipe[1])
    for i in range(100):
        assert not outbox.command(b"command %d\n" % i)
        assert not outbox.obstacle(b"obstacle %d\n" % i)
    for i in range(3):
        assert not outbox.order(b"order %d\n" % i)
    assert outbox.fault == FULL
    assert [r.message for r in caplog.records] == [
        "The driver process takes no commands: its pipe is full."
    ]
    assert len(os.read(pipe[0], count)) == count
    assert outbox.flush()
    assert os.read(pipe[0], 999) == b"order 0\norder 1\norder 2\nobstacle 99\ncommand 99\n"
    assert outbox.fault is None
    assert outbox.flush()  # nothing is sent twice
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 999)


def test_a_reader_that_is_gone_is_no_exception(pipe):
    outbox = Outbox()
    outbox.open(pipe[1], b"")
    os.close(pipe[0])
    assert not outbox.command(b"go\n")
    outbox.close()
    assert not outbox.order(b"press\n")


def test_a_signal_handler_in_the_middle_of_a_write_neither_waits_nor_is_lost(pipe):
    outbox = Outbox()
    outbox.open(pipe[1], b"")
    write = outbox._write

    def interrupted(line):
        outbox._write = write
        assert not outbox.order(b"press\n")  # as from a handler in this thread
        return write(line)

    outbox._write = interrupted
    assert outbox.command(b"go\n")
    assert outbox.flush()
    assert os.read(pipe[0], 999) == b"go\npress\n"


def test_many_threads_lose_no_order_and_mix_no_lines(pipe):
    outbox = Outbox()
    outbox.open(pipe[1], b"")

    def work(name):
        for i in range(100):
            outbox.order(b"%d %d\n" % (name, i))
            outbox.command(b"command\n")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.flush()
    lines = os.read(pipe[0], 1 << 20).split(b"\n")[:-1]
    orders = [tuple(map(int, line.split())) for line in lines if line != b"command"]
    assert sorted(orders) == [(name, i) for name in range(4) for i in range(100)]
    for name in range(4):
        assert [i for n, i in orders if n == name] == list(range(100))
