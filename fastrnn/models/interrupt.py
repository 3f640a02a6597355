"""Ctrl-C held back for the moment in which state is written, so that no half of it is ever seen.

How the commands answer Ctrl-C is in cli/interrupt.py.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Deliver a Ctrl-C that arrives inside when the block has ended.

    Python raises KeyboardInterrupt in the main thread only, between any two bytecodes. In another
    thread, or where Ctrl-C is not handled in Python, this does nothing.
    """
    usual = None
    if threading.current_thread() is threading.main_thread():
        usual = signal.getsignal(signal.SIGINT)
    if not callable(usual):
        yield
        return
    arrived = []
    signal.signal(signal.SIGINT, lambda *call: arrived.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if arrived:
            usual(*arrived[0])
