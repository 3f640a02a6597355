"""Ctrl-C held back for the moment in which state is written, so that no half of it is ever seen.

How the commands answer Ctrl-C is in cli/interrupt.py.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Deferral:
    """Inside `with deferral:`, a Ctrl-C waits for the end of the block.

    For that, the work that has such blocks has to be done inside `with deferral.installed():`.
    Python raises KeyboardInterrupt in the main thread only, between any two bytecodes; in another
    thread, or where Python does not handle Ctrl-C, nothing is changed.

    Args:
        lock: held inside a block, for other threads.
    """

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._depth = 0
        self._waiting: list[tuple] = []  # the calls of the usual handler that are due

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Answer Ctrl-C in place of the usual handler, which is called when it may be."""
        usual = None
        if threading.current_thread() is threading.main_thread():
            usual = signal.getsignal(signal.SIGINT)
        if not callable(usual):
            yield
            return

        def handler(*call) -> None:
            if self._depth:
                self._waiting.append((usual, call))
            else:
                usual(*call)

        signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is handler:
                signal.signal(signal.SIGINT, usual)

    def __enter__(self) -> None:
        self._depth += 1
        self._lock.acquire()

    def __exit__(self, *error) -> None:
        self._lock.release()
        self._depth -= 1
        if self._waiting and not self._depth:
            usual, call = self._waiting[0]
            self._waiting.clear()
            usual(*call)
