"""Progress on a terminal with tqdm, without it, and nowhere else."""

import io
import sys

import pytest

from benchmarks.progress import NoBar, PlainBar, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_come_every_ten_seconds_and_at_the_end():
    now = [0.0]
    stream = io.StringIO()
    with PlainBar(100, "embedding", "img", stream, lambda: now[0]) as bar:
        for time_s, step in ((1, 10), (9.9, 10), (10.1, 10), (15, 10), (20.2, 10), (20.3, 50)):
            now[0] = time_s
            bar.update(step)
    assert stream.getvalue().splitlines() == [
        "embedding: 30/100 img", "embedding: 50/100 img", "embedding: 100/100 img",
    ]  # fmt: skip


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("show", [False, True])
def test_only_a_terminal_that_wants_it_sees_anything(monkeypatch, terminal, show):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as on a board
    with progress_bar(2, "timing", show=show) as bar:
        bar.update(2)
    assert bar.n == 2
    assert (stream.getvalue() == "timing: 2/2 it\n") == (terminal and show)
    assert isinstance(bar, NoBar) != (terminal and show)


def test_tqdm_is_used_where_it_is(monkeypatch):
    tqdm = pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = progress_bar(2, "timing")
    assert isinstance(bar, tqdm.tqdm)
    bar.close()
