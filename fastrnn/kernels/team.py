"""A team: the threads of another library's OpenMP, which help with kernels in place of workers.

After each of its operations such a library leaves its threads spinning for milliseconds, each on a
core of its own: workers of ours would have to share those cores, and the library's threads, once
asleep, would have to share them with ours. So its threads are given our parts. Where they sleep,
they are kept away from the caller's CPU for as long as they wake: else they may wait for it, and
the caller for them, until the system notices. Whether one sleeps, its clock tells: that of its CPU
time stands. Each thread that calls has a team of its own, as OpenMP has it. Linux and GCC's OpenMP
only; fastrnn.torch asks for it, where torch has loaded it. How a team takes parts: parallel.py.
"""

import contextlib
import ctypes
import os
import sys
import threading
import time

import numpy as np

from fastrnn.kernels import parallel

_MASK = 8192  # CPUs in a mask: as many as Linux can have


class Team:
    """The team of each thread that calls.

    Args:
        start: address of GOMP_parallel.
        tell: address of gettid.
        move: address of sched_setaffinity.
    """

    def __init__(self, start: int, tell: int, move: int):
        self._functions = start, tell, move
        self._mask = np.zeros(_MASK // 8, np.uint8)  # kernels have its address
        self._known = _Known()

    def joins(self, words: np.ndarray, size: int) -> bool:
        """Have the caller's team help with the caller's next jobs; return whether it does.

        Not at a thread's first call, which may be its last: OpenMP makes threads where it has none.

        Args:
            words: of the pool.
            size: threads of a team, as the library makes them, the caller's included.
        """
        known = self._known
        if not known.has_called:
            known.has_called = True
            return False
        words[parallel.SIZE] = size
        if words[parallel.TEAM] != known.thread:
            self._introduce(words, known.thread)
        elif met := min(int(words[parallel.MET]), parallel.MOST_MATES):
            known.mates = words[parallel.MATES : parallel.MATES + met].tolist()
        if known.mates and not _runs(known.mates[0]):
            self._keep_away(words, known)
        return True

    def _introduce(self, words, thread: int):
        words[parallel.MET] = 0
        words[parallel.START], words[parallel.GETTID], words[parallel.MOVE] = self._functions
        words[parallel.CPUS], words[parallel.CPUS_SIZE] = self._mask.ctypes.data, self._mask.size
        words[parallel.TEAM] = thread

    def _keep_away(self, words, known):
        """Have the team wake on other CPUs; once awake, its threads may use all they might."""
        with contextlib.suppress(OSError):  # one of them has ended
            allowed = os.sched_getaffinity(known.mates[0])
            if allowed != known.others:  # else they have not woken since
                known.allowed = allowed
            known.others = known.allowed - {current_cpu()}
            if known.others and known.others != known.allowed:
                bits = np.zeros(_MASK, bool)
                bits[list(known.allowed)] = True
                self._mask[:] = np.packbits(bits, bitorder="little")
                words[parallel.MOVED] = 1
                for mate in known.mates:
                    os.sched_setaffinity(mate, known.others)


class _Known(threading.local):
    """What is known of the calling thread and its team.

    Attributes:
        thread: the system's number of the calling thread.
        mates: of the other threads of the team, as they were met.
        allowed: the CPUs they may use.
        others: those they were left to wake on.
    """

    def __init__(self):
        self.thread, self.has_called = threading.get_native_id(), False
        self.mates: list[int] = []
        self.allowed: set[int] = set()
        self.others: set[int] = set()


def _runs(thread: int) -> bool:
    """Return whether a thread runs at this moment."""
    clock = (~thread << 3) | 6  # of one thread's CPU time, as Linux numbers clocks
    try:
        return time.clock_gettime_ns(clock) != time.clock_gettime_ns(clock)
    except OSError:  # it has ended
        return False


try:
    _PROCESS = ctypes.PyDLL(None)
except (OSError, TypeError):
    _PROCESS = None


def current_cpu() -> int:
    """Return the number of the CPU that runs this thread, or -1 where nobody says."""
    return _PROCESS.sched_getcpu() if hasattr(_PROCESS, "sched_getcpu") else -1


def find() -> Team | None:
    """Return the team of the OpenMP that this process has loaded for all; None: it has none.

    None too in a child that was forked: the teams stayed with the parent.
    """
    names = "GOMP_parallel", "gettid", "sched_setaffinity"
    if not sys.platform.startswith("linux") or _is_forked():
        return None
    # With the last it is LLVM's or Intel's, which have other habits.
    if not all(hasattr(_PROCESS, n) for n in names) or hasattr(_PROCESS, "__kmpc_fork_call"):
        return None
    return Team(*(ctypes.cast(getattr(_PROCESS, n), ctypes.c_void_p).value or 0 for n in names))


def _is_forked() -> bool:
    """Return whether this process is a copy of another, and has not begun a program since."""
    try:
        with open("/proc/self/stat", "rb") as file:
            flags = file.read().rpartition(b")")[2].split()[6]
    except (OSError, IndexError):
        return True  # nobody knows
    return bool(int(flags) & 0x40)  # PF_FORKNOEXEC
