"""The first signal asks, the second one acts."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from training.signals import stopped_by_signals


@pytest.fixture
def outer():
    """What the process does on SIGTERM otherwise: it is counted."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *given: seen.append(1))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_first_asks_and_second_acts_as_before(outer, capfd):
    asked = []
    with stopped_by_signals(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert (asked, outer) == ([1], [])
        assert "stopping behind this step" in capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGTERM)
        assert (asked, outer) == ([1], [1])
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == [1, 1]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert outer == [1, 1], "the handlers are put back"


def test_another_thread_leaves_the_signals_to_the_caller():
    done = []

    def work():
        with stopped_by_signals(lambda: None):
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]
