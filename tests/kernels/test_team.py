"""Threads of another library's OpenMP that help: when they do, what they run, and when never.

The OpenMP here is one of the tests' own; torch's is in tests/torch/test_team.py.
"""

import ctypes
import os
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import fastrnn
from fastrnn.kernels import parallel, team
from fastrnn.kernels import threads as module
from tests.kernels.test_parallel import job
from tests.support.compiled import compiled
from tests.support.processes import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a thread's clock is Linux's")

X = np.random.default_rng(0).standard_normal((10, 4, 128)).astype(np.float32)
_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_START = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


class OpenMP:
    """GOMP_parallel by Python's threads, made anew for each region.

    Attributes:
        regions: how many threads each had.
        start: its address; tell: gettid's.
    """

    def __init__(self):
        self.regions = []
        self._kept = _START(self._parallel)  # C calls it
        self.start = ctypes.cast(self._kept, ctypes.c_void_p).value
        self.tell = ctypes.cast(ctypes.CDLL(None).gettid, ctypes.c_void_p).value

    def _parallel(self, function, data, threads, _flags):
        self.regions.append(threads)
        run = _REGION(function)
        others = [threading.Thread(target=run, args=(data,)) for _ in range(threads - 1)]
        for other in others:
            other.start()
        run(data)
        for other in others:
            other.join()


@pytest.fixture
def openmp(monkeypatch):
    """An OpenMP whose threads are always awake, for a pool of four threads of its own."""
    made = OpenMP()
    pool = module._Pool(4)
    monkeypatch.setattr(module, "_pool", pool)
    monkeypatch.setattr(team, "_runs", lambda thread: True)
    module.share_with(team.Team(made.start, made.tell))
    module.follow(4)
    made.pool = pool
    return made


def calls(openmp):
    """Return the results of calls, forward and back, of which the first few are alone."""
    layer, found = fastrnn.GRU(128, 256, seed=0), []
    for _ in range(4):
        (output, _), pullback = layer.vjp(X)
        found.append([output, *pullback(output).params])
    return found


def test_a_team_helps_and_no_worker_is_woken(openmp, monkeypatch):
    found = calls(openmp)
    assert set(openmp.regions) == {4}
    assert openmp.pool.words[parallel.MASTER] == threading.get_native_id()
    assert openmp.pool.words[parallel.MATE] not in (0, threading.get_native_id())
    before, woken = len(openmp.regions), len(openmp.pool._workers)
    monkeypatch.setattr(openmp.pool, "_grow", lambda workers: pytest.fail("a worker is woken"))
    found += calls(openmp)
    assert len(openmp.regions) > before
    assert len(openmp.pool._workers) == woken
    module.share_with(None)
    module.set_num_threads(1)
    for result in found:
        for got, want in zip(result, calls(openmp)[0], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_part_is_run_once(threads):
    made = OpenMP()
    pool = np.zeros(parallel.WORDS, np.int64)
    pool[[parallel.START, parallel.SIZE, parallel.GETTID]] = made.start, threads, made.tell
    pool[parallel.MASTER] = threading.get_native_id()
    for parts in (2, 7, 1000):
        counts = np.zeros(parts + 1, np.int64)
        job(pool, parts, 3, counts, 1)
        assert (counts[:parts] == 3).all()
    assert made.regions == [threads] * 9
    assert (pool[parallel.MATE] != 0) == (threads > 1)
    pool[parallel.MASTER] += 1  # another thread's team
    job(pool, 7, 3, np.zeros(8, np.int64), 1)
    assert len(made.regions) == 9


@compiled
def mode_of_thread():
    mode = parallel.flush_denormals()
    parallel.restore_mode(mode)
    return mode


def test_denormals_stay_what_they_are_to_the_library(openmp):
    """In its threads, those that it makes for our job and that inherit ours among them."""
    modes, usual = [], mode_of_thread()

    def parallel_in(function, data, threads, _flags):
        run = _REGION(function)

        def help_and_look():
            modes.append(mode_of_thread())
            run(data)
            modes.append(mode_of_thread())

        other = threading.Thread(target=help_and_look)
        other.start()
        run(data)
        other.join()

    kept = _START(parallel_in)
    module.share_with(team.Team(ctypes.cast(kept, ctypes.c_void_p).value, openmp.tell))
    calls(openmp)
    assert len(modes) > 4
    assert set(modes) == {usual}
    assert mode_of_thread() == usual


def test_only_a_team_of_as_many_threads_as_ours(openmp):
    """Else OpenMP would end threads, and the library make them again at its next operation."""
    module.set_num_threads(3)
    calls(openmp)
    assert openmp.regions == []
    module.follow(3)
    calls(openmp)
    assert set(openmp.regions) == {3}


def test_threads_that_sleep_are_left_alone(openmp, monkeypatch):
    calls(openmp)
    monkeypatch.setattr(team, "_runs", lambda thread: False)
    before = len(openmp.regions)
    calls(openmp)
    assert len(openmp.regions) == before
    assert openmp.pool.words[parallel.MASTER] == 0
    assert len(openmp.pool._workers) == 3


def test_each_calling_thread_has_a_team_of_its_own(openmp):
    calls(openmp)
    before, mine = len(openmp.regions), openmp.pool.words[parallel.MASTER]
    found = []

    def other():
        found.append(calls(openmp))
        found.append(int(openmp.pool.words[parallel.MASTER]))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(openmp.regions) > before
    assert found[1] not in (0, mine)
    before = len(openmp.regions)
    calls(openmp)  # and this one still has its own
    assert len(openmp.regions) > before
    assert openmp.pool.words[parallel.MASTER] == mine


def test_a_team_is_met_only_where_some_thread_may_be_its(openmp, monkeypatch):
    """In a forked child OpenMP would wait for the parent's threads, else make new ones."""
    monkeypatch.setattr(team, "_stranger_runs", lambda: False)
    calls(openmp)
    assert openmp.regions == []


def test_a_mate_that_has_ended_is_forgotten(openmp, monkeypatch):
    calls(openmp)

    def ended(thread):
        raise OSError("no such thread")

    monkeypatch.setattr(team, "_runs", ended)
    before = len(openmp.regions)
    calls(openmp)
    assert len(openmp.regions) == before
    monkeypatch.setattr(team, "_runs", lambda thread: True)
    calls(openmp)
    assert len(openmp.regions) > before


def test_a_thread_runs_or_sleeps():
    stop, numbers = threading.Event(), []

    def sleep():
        numbers.append(threading.get_native_id())
        stop.wait()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    while not numbers:
        time.sleep(0.001)
    try:
        assert not any(team._runs(numbers[0]) for _ in range(20))
        assert all(team._runs(threading.get_native_id()) for _ in range(20))
    finally:
        stop.set()
        sleeper.join()
    time.sleep(0.05)  # until the system has it off its lists
    with pytest.raises(OSError, match="argument"):
        team._runs(numbers[0])


def test_strangers_are_not_pythons_threads():
    words = np.zeros(parallel.WORDS, np.int64)
    parallel.serve(words, 1)
    spinner = threading.Thread(target=parallel.serve, args=(words, 1 << 22), daemon=True)
    assert not team._stranger_runs()
    spinner.start()
    assert not team._stranger_runs()
    spinner.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_no_team(openmp):
    assert not team._is_forked()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        fine = team._is_forked() and team.find() is None and module._pool is openmp.pool
        os._exit(not fine)
    assert os.waitpid(child, 0)[1] == 0
    module._pool.forget_workers()  # what the child of the package's own pool does
    calls(openmp)
    assert openmp.regions == []


def test_without_torch_nothing_is_loaded_and_nothing_changes():
    python(
        "import sys, numpy as np, fastrnn\n"
        "from fastrnn.kernels import team, threads\n"
        "fastrnn.set_num_threads(2)\n"
        "fastrnn.GRU(128, 256, seed=0)(np.ones((10, 4, 128), np.float32))\n"
        "assert threads._pool.team is None and team.find() is None\n"
        "assert 'torch' not in sys.modules\n"
        "assert not any('gomp' in line for line in open('/proc/self/maps'))\n"
    )
