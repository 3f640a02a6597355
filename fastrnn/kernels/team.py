"""A team: the threads of another library's OpenMP, which help with kernels while they are awake.

After each of its operations such a library leaves its threads spinning for milliseconds, each on a
core of its own: workers of our own would have to share those cores. So while the threads spin they
are given our parts, and the library finds them where it left them. Once they sleep they are left
alone: to wake them costs more than to wake a worker. A thread spins if the clock of its CPU time
advances. Each thread that calls has a team of its own, as OpenMP has it. Linux and GCC's OpenMP
only; fastrnn.torch asks for it, where torch has loaded it.
"""

import ctypes
import os
import sys
import threading
import time

import numpy as np

from fastrnn.kernels.parallel import GETTID, MASTER, MATE, SIZE, START


class Team:
    """The team of each thread that calls.

    Args:
        start: address of GOMP_parallel.
        tell: address of gettid.
    """

    def __init__(self, start: int, tell: int):
        self._start, self._tell = start, tell
        self._known = _Known()

    def joins(self, words: np.ndarray, size: int) -> bool:
        """Return whether the caller's team is awake, and have it help with the caller's jobs.

        Args:
            words: of the pool.
            size: threads of a team, as the library makes them, the caller's included.
        """
        known = self._known
        mine = words[MASTER] == known.thread
        if mine and words[MATE]:
            known.mate = int(words[MATE])
        if known.is_met() if known.mate else known.may_meet():
            words[START], words[SIZE], words[GETTID] = self._start, size, self._tell
            words[MATE], words[MASTER] = 0, known.thread
            return True
        if mine:
            words[MASTER] = 0
        return False


class _Known(threading.local):
    """What is known of the calling thread's team.

    Attributes:
        thread: the system's number of the calling thread.
        mate: of another thread of the team; 0: not met yet.
    """

    def __init__(self):
        self.thread, self.mate = threading.get_native_id(), 0
        self._calls = 0

    def is_met(self) -> bool:
        """Return whether the mate runs at this moment."""
        try:
            return _runs(self.mate)
        except OSError:  # it has ended
            self.mate = self._calls = 0
            return False

    def may_meet(self) -> bool:
        """Return whether there may be a team that is awake, seldom trying.

        OpenMP makes threads where there are none, and in a forked child waits for those of the
        parent: it must not be called before some thread is seen that may be its.
        """
        self._calls += 1
        return self._calls & (self._calls - 1) == 0 and self._calls > 1 and _stranger_runs()


def _runs(thread: int) -> bool:
    clock = (~thread << 3) | 6  # of one thread's CPU time, as Linux numbers clocks
    return time.clock_gettime_ns(clock) != time.clock_gettime_ns(clock)


def _stranger_runs() -> bool:
    """Return whether a thread that is not Python's runs at this moment."""
    ours = {thread.native_id for thread in threading.enumerate()}
    for name in os.listdir("/proc/self/task"):
        try:
            if int(name) not in ours and _runs(int(name)):
                return True
        except OSError:  # it has ended
            continue
    return False


def find() -> Team | None:
    """Return the team of the OpenMP that this process has loaded for all; None: it has none.

    None too in a child that was forked: the teams stayed with the parent.
    """
    if not sys.platform.startswith("linux") or _is_forked():
        return None
    process = ctypes.CDLL(None)
    names = "GOMP_parallel", "gettid"
    if not all(hasattr(process, name) for name in names) or hasattr(process, "__kmpc_fork_call"):
        return None  # the last: LLVM's or Intel's, which have other habits
    start, tell = (ctypes.cast(getattr(process, name), ctypes.c_void_p).value for name in names)
    return Team(start or 0, tell or 0)


def _is_forked() -> bool:
    """Return whether this process is a copy of another, and has not begun a program since."""
    try:
        with open("/proc/self/stat", "rb") as file:
            flags = file.read().rpartition(b")")[2].split()[6]
    except (OSError, IndexError):
        return True  # nobody knows
    return bool(int(flags) & 0x40)  # PF_FORKNOEXEC
