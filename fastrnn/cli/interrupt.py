"""Ctrl-C while a kernel is compiled, or a pipe is full: how the commands answer it at once."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptible(work: Callable[[], T]) -> T:
    """Do `work` in a thread of its own, and wait for it here.

    Python acts on Ctrl-C between two bytecodes of the main thread, and while a kernel is compiled
    there may be seconds from one to the next. Here the main thread has nothing to do but to be
    interrupted. It then has to end with `os._exit`: the compiler, or a write to a full pipe, cannot
    be told to stop. So whatever is printed has to be flushed at once.

    Args:
        work: what to do.
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
        thread.join(timeout=0.1)  # without a timeout, Windows would not interrupt it
    return future.result()


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """End the process with status 130 at Ctrl-C, as `interruptible` needs it."""
    try:
        yield
    except KeyboardInterrupt:
        os._exit(130)
