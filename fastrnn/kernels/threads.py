"""The pool of threads that help with kernels: how many, when they wake and when they sleep.

Workers are Python threads inside a compiled loop that holds no GIL (parallel.serve): after a job
they look for the next one for less than a tenth of a millisecond, then sleep in Python until they
are called. Nothing spins for longer, a forked child makes threads of its own, and any number of
Python threads may call at once: one has the workers, the others work alone. No Numba threading
layer and no OpenMP is used; only where another library has brought one whose threads would be in
the way, these help instead (team.py). How a job is shared is in parallel.py, the kernels decide
what is shared.
"""

import contextlib
import ctypes
import operator
import os
import queue
import threading
import time

import numpy as np

from fastrnn.kernels import parallel
from fastrnn.kernels.team import Team, current_cpu

_SERVES = 85e-6  # seconds a worker looks for another job before it sleeps
MOST = 1024  # threads, more than any machine has use for: each takes memory, and time to wake


def _yield_address() -> int:
    """Return the address of sched_yield, or 0 where there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (OSError, AttributeError, TypeError):
        return 0


class _Pool:
    """Worker threads, made when they are first needed, that live as long as the process."""

    def __init__(self, threads: int):
        self.threads = threads
        self.chosen = False  # by somebody: else another library may be followed
        self._patience = 0
        self.forget_workers()

    def forget_workers(self):
        """Start afresh: a forked child has none of its parent's threads."""
        self.team: Team | None = None
        self.team_size = 0
        self.words = np.zeros(parallel.WORDS + 8, np.int64)
        self.words = self.words[-self.words.ctypes.data // 8 % 8 :][: parallel.WORDS]  # on a line
        self.words[parallel.YIELD] = _yield_address()
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._growing = threading.Lock()

    def _work(self, words, calls):
        while True:
            calls.get()
            parallel.serve(words, self._patience)

    def _grow(self, workers: int):
        with self._growing:
            if not self._patience:
                self._patience = _pauses_in(_SERVES, self.words)
            while len(self._workers) < workers:
                name = f"fastrnn-{len(self._workers)}"
                worker = threading.Thread(
                    target=self._work, args=(self.words, self._calls), name=name, daemon=True
                )
                try:
                    worker.start()
                except RuntimeError:  # the system has no more: those there are do all the work
                    return
                self._workers.append(worker)

    def _keep_away(self):
        """Have workers wake on other CPUs than the caller's.

        Where a thread is woken on the CPU of the thread that wakes it, both share it for
        milliseconds, until the system notices: longer than most calls take.
        """
        cpu = current_cpu()
        if cpu >= 0 and hasattr(os, "sched_setaffinity"):
            others = os.sched_getaffinity(0) - {cpu}
            for worker in self._workers:
                if others and worker.native_id:
                    with contextlib.suppress(OSError):
                        os.sched_setaffinity(worker.native_id, others)

    def call(self, threads: int) -> np.ndarray:
        words = self.words
        if self.team is not None:
            if self.team_size == self.threads and self.team.joins(words, self.team_size):
                return words
            words[parallel.TEAM] = 0
        words[parallel.CALLED] += 1  # a serving worker does not leave now
        # A worker that has been called but has not woken yet counts: else unanswered calls would
        # pile up, and each would have a worker look for jobs that are long done.
        asleep = threads - 1 - words[parallel.SERVING] - self._calls.qsize()
        if asleep > 0:
            if len(self._workers) < threads - 1:
                self._grow(threads - 1)
            self._keep_away()
            for _ in range(asleep):
                self._calls.put(None)
        return words


def _pauses_in(seconds: float, words: np.ndarray) -> int:
    """Return how many times a waiting worker looks for a job in this many seconds."""
    count, best = 1000, float("inf")
    parallel.serve(words, 1)
    for _ in range(10):
        start = time.perf_counter()
        parallel.serve(words, count)
        best = min(best, time.perf_counter() - start)
    return max(1, int(count * seconds / best))


def _from_environment() -> int:
    text = os.environ.get("FASTRNN_NUM_THREADS", "")
    if not text:
        allowed = getattr(os, "sched_getaffinity", None)
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    n = int(text) if text.isdecimal() and len(text) <= len(str(MOST)) else 0
    if not 1 <= n <= MOST:
        raise ValueError(
            f"FASTRNN_NUM_THREADS is {text[:30]!r}; expected a whole number from 1 to {MOST}: "
            "unset it to use every core."
        )
    return n


_pool = _Pool(_from_environment())
_pool.chosen = bool(os.environ.get("FASTRNN_NUM_THREADS"))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget_workers)


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, the caller's included; results do not depend on it.

    Args:
        n: from 1 to 1024. Small calls use fewer.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is out of this range.

    Example:
        >>> import fastrnn
        >>> fastrnn.set_num_threads(2)
        >>> fastrnn.get_num_threads()
        2
    """
    try:
        n = operator.index(None if isinstance(n, bool | np.bool_) else n)
    except TypeError:
        wanted = f"an integer from 1 to {MOST}"
        raise TypeError(f"set_num_threads: n is {n!r}; expected {wanted}.") from None
    if not 1 <= n <= MOST:
        raise ValueError(
            f"set_num_threads: n is {n}; expected at least 1 and at most {MOST} (1 = no extra "
            "thread)."
        )
    _pool.threads, _pool.chosen = n, True


def share_with(team: Team | None) -> None:
    """Have another library's threads help, while we use as many as it does; None: no longer."""
    _pool.team = team
    _pool.words[parallel.TEAM] = 0


def follow(n: int) -> None:
    """Use as many threads as another library, as long as nobody said how many."""
    _pool.team_size = n
    if not _pool.chosen:
        _pool.threads = max(1, min(n, MOST))


def get_num_threads() -> int:
    """Return how many threads a call may use (at first FASTRNN_NUM_THREADS, else all cores)."""
    return _pool.threads


def call(threads: int) -> np.ndarray:
    """Return the words of the pool for a kernel that will share its work among `threads`.

    Wakes as many workers as are missing. With 1 nothing is woken.
    """
    return _pool.call(threads) if threads > 1 else _pool.words
