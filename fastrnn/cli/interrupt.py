"""Ctrl-C at once, even while a kernel is compiled or a pipe is full; used by all commands."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from fastrnn.cli.ending import CTRL_C

T = TypeVar("T")


def interruptible(work: Callable[[], T]) -> T:
    """Run `work` in another thread, and wait for it here.

    Python handles Ctrl-C between two bytecodes of the main thread, which may be seconds apart
    while a kernel is compiled. Here the main thread only waits, so it can be interrupted at any
    time. The process must then end by `os._exit`, because the compiler, or a write to a full
    pipe, cannot be stopped; so everything printed must be flushed at once.

    Args:
        work: a function without arguments.

    Returns:
        What it returns; its exceptions are raised here.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.1)  # on Windows only a wait with a timeout can be interrupted
    return future.result()


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """End the process with status 130 at Ctrl-C, as `interruptible` requires.

    Inside, Ctrl-C raises KeyboardInterrupt, so that a progress bar is cleared away or a model
    saved; outside, `__main__` ends the process at once. Nothing may be compiled inside but in
    `interruptible`: the compiler calls Python back, and would swallow the exception.
    """
    before = signal.getsignal(signal.SIGINT)
    answered = callable(before) and threading.current_thread() is threading.main_thread()
    try:
        try:
            if answered:  # not where Ctrl-C is ignored, as in the background
                signal.signal(signal.SIGINT, signal.default_int_handler)
            yield
        finally:
            if answered:
                signal.signal(signal.SIGINT, before)
    except KeyboardInterrupt:
        os._exit(CTRL_C)
