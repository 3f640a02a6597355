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
from fastrnn.kernels.jit import jit
from fastrnn.kernels.machine import outlined, pause
from tests.kernels.test_parallel import job
from tests.support.compiled import compiled
from tests.support.openmp import REGION, START, OpenMP, Sleepers
from tests.support.processes import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a thread's clock is Linux's")

X = np.random.default_rng(0).standard_normal((10, 4, 128)).astype(np.float32)


@pytest.fixture
def openmp(monkeypatch):
    """An OpenMP, for a pool of four threads of its own."""
    made = OpenMP()
    pool = module._Pool(4)
    monkeypatch.setattr(module, "_pool", pool)
    module.share_with(team.Team(*made.functions))
    module.follow(4)
    made.pool = pool
    return made


def calls(openmp):
    """Return the results of calls, forward and back; a thread's first one is alone."""
    layer, found = fastrnn.GRU(128, 256, seed=0), []
    for _ in range(4):
        (output, _), pullback = layer.vjp(X)
        found.append([output, *pullback(output).params])
    return found


def test_a_team_helps_and_no_worker_is_woken(openmp, monkeypatch):
    found = calls(openmp)
    assert set(openmp.regions) == {4}
    assert openmp.pool.words[parallel.TEAM] == threading.get_native_id()
    assert 1 <= openmp.pool.words[parallel.MET] <= 3
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
    pool[[parallel.START, parallel.GETTID, parallel.MOVE]] = made.functions
    pool[parallel.SIZE] = threads
    pool[parallel.TEAM] = threading.get_native_id()
    for parts in (2, 7, 1000):
        counts = np.zeros(parts + 1, np.int64)
        job(pool, parts, 3, counts, 1)
        assert (counts[:parts] == 3).all()
    assert made.regions == [threads] * 9
    assert pool[parallel.MET] == threads - 1
    mates = pool[parallel.MATES : parallel.MATES + threads - 1]
    assert threading.get_native_id() not in mates
    assert (mates != 0).all()
    pool[parallel.TEAM] += 1  # another thread's team
    job(pool, 7, 3, np.zeros(8, np.int64), 1)
    assert len(made.regions) == 9


@compiled
def mode_of_thread():
    mode = parallel.flush_denormals()
    parallel.restore_mode(mode)
    return mode


@jit
def _note_mode(part, modes):
    mode = parallel.flush_denormals()
    parallel.restore_mode(mode)
    modes[part] = mode
    for _ in range(1000):
        pause()


@compiled
def modes_of_parts(pool, modes):
    mode = parallel.flush_denormals()
    owned = parallel.acquire(pool)
    parallel.share(pool, owned, modes.size, outlined(_note_mode, (modes,)))
    parallel.release(pool)
    parallel.restore_mode(mode)


def test_every_part_takes_denormals_for_zero(openmp):
    modes = np.zeros(500, np.int64)
    calls(openmp)
    modes_of_parts(openmp.pool.words, modes)
    assert openmp.pool.words[parallel.MET] > 0
    assert len(set(modes)) == 1
    assert modes[0] != mode_of_thread()


def test_denormals_stay_what_they_are_to_the_library(openmp):
    """In its threads, those that it makes for our job and that inherit ours among them."""
    modes, usual = [], mode_of_thread()

    def parallel_in(function, data, threads, _flags):
        run = REGION(function)

        def help_and_look():
            modes.append(mode_of_thread())
            run(data)
            modes.append(mode_of_thread())

        other = threading.Thread(target=help_and_look)
        other.start()
        run(data)
        other.join()

    kept = START(parallel_in)
    start = ctypes.cast(kept, ctypes.c_void_p).value
    module.share_with(team.Team(start, *openmp.functions[1:]))
    calls(openmp)
    assert len(modes) > 4
    assert set(modes) == {usual}
    assert mode_of_thread() == usual


def test_only_a_team_of_as_many_threads_as_ours(openmp):
    """Else OpenMP would end threads, and the library make them again at its next operation."""
    calls(openmp)
    for size in (2, 3):  # as torch.set_num_threads changes it
        del openmp.regions[:]
        module.follow(size)
        calls(openmp)
        assert set(openmp.regions) == {size}
    module.set_num_threads(4)
    del openmp.regions[:]
    calls(openmp)
    assert openmp.regions == []
    module.follow(4)
    calls(openmp)
    assert set(openmp.regions) == {4}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_threads_that_sleep_wake_on_other_cpus_and_may_use_all(openmp):
    sleepers, allowed = Sleepers(3), os.sched_getaffinity(0)
    module.share_with(team.Team(sleepers.start, *openmp.functions[1:]))
    try:
        calls(openmp)  # who is asleep is not known before they were met
        del sleepers.seen[:]
        for _ in range(5):
            time.sleep(0.01)
            calls(openmp)
        assert any(cpus < allowed for cpus in sleepers.seen)
        assert all(len(allowed - cpus) <= 1 and cpus <= allowed for cpus in sleepers.seen)
        assert os.sched_getaffinity(0) == allowed
        for thread in sleepers.threads:
            assert os.sched_getaffinity(thread.native_id) == allowed
    finally:
        sleepers.end()


def test_each_calling_thread_has_a_team_of_its_own(openmp):
    calls(openmp)
    before, mine = len(openmp.regions), openmp.pool.words[parallel.TEAM]
    found = []

    def other():
        found.append(calls(openmp))
        found.append(int(openmp.pool.words[parallel.TEAM]))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(openmp.regions) > before
    assert found[1] not in (0, mine)
    before = len(openmp.regions)
    calls(openmp)  # and this one still has its own
    assert len(openmp.regions) > before
    assert openmp.pool.words[parallel.TEAM] == mine


def test_a_threads_first_call_makes_no_threads(openmp):
    """It may be its last: a server may have a thread for each request."""
    layer = fastrnn.GRU(128, 256, seed=0)
    layer(X)
    assert openmp.regions == []
    layer(X)
    assert openmp.regions


def test_a_team_that_has_ended_is_made_again(openmp):
    """As OpenMP does; that threads end between calls is what this one always does."""
    for _ in range(20):
        before = len(openmp.regions)
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
    assert not team._runs(numbers[0])


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
