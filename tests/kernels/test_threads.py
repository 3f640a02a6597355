"""The pool of threads: when workers are made, when they wake and sleep, and what a fork leaves.

How they share a job is test_parallel.py's; what users' threads and processes do to a layer,
test_concurrency.py's and test_conditions.py's.
"""

import os
import queue
import signal
import threading
import time
import warnings

import numpy as np
import pytest

import fastrnn
from fastrnn.kernels import parallel
from fastrnn.kernels import threads as module
from tests.support.processes import python

# Where a call shares its work, and where its threads run in lockstep.
LAYER = {"input_size": 128, "hidden_size": 256}
X = np.ones((10, 4, 128), np.float32)


@pytest.fixture
def pool(monkeypatch):
    """A pool of its own in place of the package's, whose workers may have been made before."""
    fresh = module._Pool(1)
    monkeypatch.setattr(module, "_pool", fresh)
    return fresh


def asleep(pool, seconds=10.0):
    """Wait until nobody serves."""
    end = time.monotonic() + seconds
    while pool.words[parallel.SERVING] or pool._calls.qsize():
        assert time.monotonic() < end, "workers do not go to sleep"
        time.sleep(0.001)


def test_one_thread_wakes_and_makes_nobody(pool):
    layer = fastrnn.LSTM(**LAYER, seed=0)
    layer(X)
    assert module.call(1) is pool.words
    assert not pool._workers
    module.set_num_threads(2)
    fastrnn.LSTM(3, 5, seed=0)(X[..., :3].copy())  # too little to share
    assert not pool._workers
    layer(X)
    assert len(pool._workers) == 1


def test_workers_are_made_when_needed_and_kept(pool):
    for threads, workers in ((2, 1), (4, 3), (3, 3), (4, 3)):
        words = module.call(threads)
        assert words is pool.words
        assert len(pool._workers) == workers
        assert all(w.daemon and w.is_alive() for w in pool._workers)
        assert [w.name for w in pool._workers] == [f"fastrnn-{i}" for i in range(workers)]
    asleep(pool)


def test_words_are_on_cache_lines(pool):
    for _ in range(20):
        pool.forget_workers()
        assert pool.words.ctypes.data % 64 == 0
        assert pool.words.shape == (parallel.WORDS,)
        assert np.delete(pool.words, parallel.YIELD).max() == 0


class _Deaf(queue.SimpleQueue):
    """A queue nobody hears of: workers that the system does not run."""

    def get(self):
        threading.Event().wait()


def test_calls_that_nobody_hears_do_not_pile_up(pool):
    """Else workers would look for jobs long after the last call, once for each."""
    pool._calls = _Deaf()
    for _ in range(100):
        module.call(4)
    assert pool._calls.qsize() <= 3


def test_who_serves_is_not_called_again(pool):
    pool._calls = _Deaf()
    pool.words[parallel.SERVING] = 2
    module.call(4)
    assert pool._calls.qsize() == 1
    pool.words[parallel.SERVING] = 7
    module.call(4)
    assert pool._calls.qsize() == 1


@pytest.mark.parametrize("count", [2, 8])
def test_nobody_spins_after_a_call(pool, count):
    """Workers look for another job for 85 microseconds each, then use no CPU at all."""
    module.set_num_threads(count)
    layer = fastrnn.LSTM(**LAYER, seed=0)
    for _ in range(300):
        layer(X)
    spent = []
    for _ in range(5):
        for _ in range(20):
            layer(X)
        begin = time.process_time()
        time.sleep(0.1)
        spent.append(time.process_time() - begin)
        asleep(pool)
    # Each may be called twice, and a busy machine counts what it does in between.
    assert min(spent) < 2 * count * 1e-3
    begin = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - begin < 5e-3


def test_the_time_of_serving_is_what_it_should_be(pool):
    module.call(2)
    asleep(pool)
    best = float("inf")
    for _ in range(20):
        begin = time.perf_counter()
        parallel.serve(pool.words, pool._patience)
        best = min(best, time.perf_counter() - begin)
    assert 0.2 * module._SERVES < best < 3 * module._SERVES


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_the_callers_cpus_stay_its_own(pool):
    before = os.sched_getaffinity(0)
    module.set_num_threads(3)
    fastrnn.LSTM(**LAYER, seed=0)(X)
    assert os.sched_getaffinity(0) == before
    for worker in pool._workers:
        assert os.sched_getaffinity(worker.native_id) <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_threads_of_its_own():
    """Even if the fork comes while a kernel has the pool, which nobody in the child gives back."""
    before = module._pool.words
    module._pool.words[parallel.OWNED] = 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            fine = False
            try:
                words = module._pool.words
                fine = (
                    words is not before and not words[parallel.OWNED] and not module._pool._workers
                )
                module.call(3)
                fine = fine and len(module._pool._workers) == 2
            finally:
                os._exit(0 if fine else 1)
    finally:
        before[parallel.OWNED] = 0
    end = time.monotonic() + 30
    while (waited := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(waited[1]) == 0
    assert module._pool.words is before


def environment(value):
    code = "import fastrnn; print(fastrnn.get_num_threads())"
    return python(code, check=False, FASTRNN_NUM_THREADS=value)


def test_the_environment_sets_the_number():
    assert environment("3").stdout.strip() == "3"
    assert int(environment("").stdout) >= 1
    for wrong in ("0", "-1", "two", "1.5", " 2", "²", "1025", str(10**12), "9" * 5000):
        result = environment(wrong)
        assert result.returncode
        assert f"FASTRNN_NUM_THREADS is {wrong[:30]!r}; expected a whole number" in result.stderr
        assert "from 1 to 1024" in result.stderr


def test_set_and_get(request):
    request.getfixturevalue("threads")(3)  # which undoes it
    assert fastrnn.get_num_threads() == 3
    for wrong, error in (
        (0, ValueError),
        (-1, ValueError),
        (1025, ValueError),
        (10**12, ValueError),  # words of the pool, and memory, for as many
        (10**400, ValueError),
        (1.5, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        (np.array([1, 2]), TypeError),
        (None, TypeError),
        ("2", TypeError),
    ):
        with pytest.raises(error, match=r"set_num_threads: n is [^;]*; expected"):
            fastrnn.set_num_threads(wrong)
    assert fastrnn.get_num_threads() == 3
    fastrnn.set_num_threads(np.int8(2))
    assert fastrnn.get_num_threads() == 2


def test_another_library_s_number_is_kept_within_the_range(pool):
    for n, followed in ((3, 3), (0, 1), (10**12, module.MOST)):
        module.follow(n)
        assert module.get_num_threads() == followed
    module.set_num_threads(2)
    module.follow(5)
    assert module.get_num_threads() == 2


def test_where_the_system_has_no_more_threads_those_there_are_work(pool, monkeypatch):
    expected = fastrnn.LSTM(**LAYER, seed=0)(X)[0]

    def start(self):
        raise RuntimeError("can't start new thread")

    module.set_num_threads(4)
    monkeypatch.setattr(threading.Thread, "start", start)
    np.testing.assert_array_equal(fastrnn.LSTM(**LAYER, seed=0)(X)[0], expected)
    assert not pool._workers
