"""How work is shared among threads: a small pool of Python threads that run compiled kernels.

Kernels release the GIL, so plain threads run them side by side. No Numba threading layer and no
OpenMP is used: nothing spins after a call returns, a forked child makes threads of its own, and
any number of Python threads may call at once. The caller takes part: what no worker has begun
when it is done with its own share, it does itself, so a busy pool delays nobody and nothing can
deadlock. What is split, and that the split cannot change a result, is the callers' business.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence


class _Task:
    """One call of a kernel, run by whoever claims it first."""

    def __init__(self, kernel: Callable, arguments: tuple):
        self.kernel, self.arguments = kernel, arguments
        self.claim = threading.Lock()
        self.unfinished = threading.Lock()
        self.unfinished.acquire()
        self.error: BaseException | None = None

    def run_unless_claimed(self):
        if self.claim.acquire(blocking=False):
            try:
                self.kernel(*self.arguments)
            except BaseException as error:  # it belongs to the thread that waits
                self.error = error
            finally:
                self.unfinished.release()

    def settle(self) -> KeyboardInterrupt | None:
        """Wait until nobody runs this any more (Ctrl-C waits too: the buffers are in use)."""
        interrupt = None
        if self.claim.acquire(blocking=False):  # an error elsewhere: do not begin it
            return None
        while True:
            try:
                self.unfinished.acquire()
                return interrupt
            except KeyboardInterrupt as caught:
                interrupt = caught


class _Pool:
    """Worker threads, made when they are first needed, that live as long as the process."""

    def __init__(self, threads: int):
        self.threads = threads
        self.forget_workers()

    def forget_workers(self):
        """Begin anew: a forked child has none of its parent's threads."""
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._workers = 0
        self._growing = threading.Lock()

    def _work(self):
        while True:
            task = self._tasks.get()
            task.run_unless_claimed()
            del task  # or the arrays of the last call stay alive while this thread sleeps

    def run(self, kernel: Callable, calls: Sequence[tuple]):
        with self._growing:
            while self._workers < len(calls) - 1:
                name = f"fastrnn-{self._workers}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._workers += 1
        tasks = [_Task(kernel, arguments) for arguments in calls]
        interrupts = []
        try:
            for task in tasks[1:]:
                self._tasks.put(task)
            for task in tasks:
                task.run_unless_claimed()
        finally:
            interrupts += [i for i in map(_Task.settle, tasks) if i]
        for error in [task.error for task in tasks if task.error] + interrupts:
            raise error


def _from_environment() -> int:
    text = os.environ.get("FASTRNN_NUM_THREADS", "")
    if not text:
        allowed = getattr(os, "sched_getaffinity", None)
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"FASTRNN_NUM_THREADS is {text!r}; expected a whole number of at least 1: "
            "unset it to use every core."
        )
    return int(text)


_pool = _Pool(_from_environment())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget_workers)


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, the caller's included; results do not depend on it.

    Args:
        n: at least 1. Small calls use fewer.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is below 1.

    Example:
        >>> import fastrnn
        >>> fastrnn.set_num_threads(2)
        >>> fastrnn.get_num_threads()
        2
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is {n!r}; expected an integer of at least 1.")
    if n.__index__() < 1:
        raise ValueError(f"set_num_threads: n is {n}; expected at least 1 (1 = no extra thread).")
    _pool.threads = n.__index__()


def get_num_threads() -> int:
    """Return how many threads a call may use (at first FASTRNN_NUM_THREADS, else all cores)."""
    return _pool.threads


def run(kernel: Callable, calls: Sequence[tuple]) -> None:
    """Run kernel(*arguments) for each tuple of arguments, at the same time where threads allow."""
    if len(calls) == 1:
        kernel(*calls[0])
    else:
        _pool.run(kernel, calls)
