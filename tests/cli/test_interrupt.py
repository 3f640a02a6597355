"""Ctrl-C: work in another thread, its result and errors, and an exit that does not wait for it."""

import threading
import time

import pytest

from fastrnn.cli.interrupt import interruptible
from tests.support.commands import interrupt, start

BLOCKED = """
import atexit, signal, threading
from fastrnn.cli.interrupt import ended_by_ctrl_c, interruptible

signal.signal(signal.SIGINT, signal.default_int_handler)
lock = threading.Lock()
lock.acquire()
atexit.register(lock.acquire)  # so an orderly exit would wait for ever

def work():
    print("working", flush=True)
    lock.acquire()  # nothing ever releases it, as a compiler that cannot be stopped

with ended_by_ctrl_c():
    interruptible(work)
"""


def test_the_work_is_done_in_another_thread():
    assert interruptible(threading.current_thread) is not threading.current_thread()
    assert interruptible(lambda: 3 * 4) == 12


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), KeyboardInterrupt()])
def test_its_errors_are_raised_here(error):
    def work():
        raise error

    with pytest.raises(type(error)) as caught:
        interruptible(work)
    assert caught.value is error


def test_work_that_cannot_be_stopped_is_left():
    process = start(program=BLOCKED)
    assert process.stdout.readline() == "working\n"
    time.sleep(0.1)
    assert process.poll() is None
    assert interrupt(process) == ("", "")
