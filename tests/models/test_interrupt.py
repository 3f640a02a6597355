"""Ctrl-C that waits: delivered once, when the block is over, to whoever would have had it."""

import signal
import threading

import pytest

from fastrnn.models.interrupt import Deferral


@pytest.fixture(autouse=True)
def usual():
    """What Python does with Ctrl-C, also where a test runner in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_waits_for_the_end():
    done, deferral = [], Deferral(threading.RLock())
    with pytest.raises(KeyboardInterrupt), deferral.installed():  # noqa: PT012, the place matters
        with deferral:
            signal.raise_signal(signal.SIGINT)
            with deferral:
                signal.raise_signal(signal.SIGINT)
            done.append("inside")
        done.append("after")
    assert done == ["inside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_does_not_wait_outside_a_block():
    deferral = Deferral(threading.RLock())
    with pytest.raises(KeyboardInterrupt), deferral.installed():  # noqa: PT012
        with deferral:
            pass
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it was held back")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_comes_with_it():
    deferral = Deferral(threading.RLock())
    with pytest.raises(KeyboardInterrupt) as raised, deferral.installed(), deferral:  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("wrong")
    assert isinstance(raised.value.__context__, ValueError)


def test_nothing_happens_without():
    deferral = Deferral(threading.RLock())
    with deferral.installed(), deferral:
        pass
    with pytest.raises(ValueError, match="wrong"), deferral.installed(), deferral:
        raise ValueError("wrong")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_is_called():
    called, deferral = [], Deferral(threading.RLock())
    signal.signal(signal.SIGINT, lambda *call: called.append(call))
    with deferral.installed():
        with deferral:
            signal.raise_signal(signal.SIGINT)
            assert called == []
        assert len(called) == 1
        signal.raise_signal(signal.SIGINT)
    assert [call[0] for call in called] == [signal.SIGINT] * 2


def test_a_handler_set_meanwhile_stays():
    deferral = Deferral(threading.RLock())
    with deferral.installed():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_is_left(handler):
    signal.signal(signal.SIGINT, handler)
    deferral = Deferral(threading.RLock())
    with deferral.installed(), deferral:
        assert signal.getsignal(signal.SIGINT) is handler


def test_in_another_thread_only_the_lock_is_held():
    found, lock = [], threading.RLock()
    deferral = Deferral(lock)

    def run():
        with deferral.installed(), deferral:
            found.append(signal.getsignal(signal.SIGINT))
            started.set()
            go_on.wait(60)

    started, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    assert not lock.acquire(blocking=False)
    go_on.set()
    thread.join()
    assert lock.acquire(blocking=False)
    assert found == [signal.default_int_handler]
