"""Ctrl-C that waits: delivered once, when the block is over, to whoever would have had it."""

import signal
import threading

import pytest

from fastrnn.models import interrupt


@pytest.fixture(autouse=True)
def usual():
    """What Python does with Ctrl-C, also where a test runner in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_waits_for_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, as the place is the point
        with interrupt.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("inside")
        done.append("after")
    assert done == ["inside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_comes_with_it():
    with pytest.raises(KeyboardInterrupt) as raised, interrupt.deferred():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("wrong")
    assert isinstance(raised.value.__context__, ValueError)


def test_nothing_happens_without():
    with interrupt.deferred():
        pass
    with pytest.raises(ValueError, match="wrong"), interrupt.deferred():
        raise ValueError("wrong")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_is_called():
    called = []
    signal.signal(signal.SIGINT, lambda *call: called.append(call))
    with interrupt.deferred():
        signal.raise_signal(signal.SIGINT)
        assert called == []
    assert len(called) == 1
    assert called[0][0] == signal.SIGINT


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_is_left(handler):
    signal.signal(signal.SIGINT, handler)
    with interrupt.deferred():
        assert signal.getsignal(signal.SIGINT) is handler


def test_other_threads_are_left():
    found = []

    def run():
        with interrupt.deferred():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
