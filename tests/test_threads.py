"""The pool: that all work is done once, that errors and Ctrl-C come out, and that nothing hangs.

Kernels here are plain functions; what fork and threads do to a layer is test_layers_shared.py's.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import fastrnn
from fastrnn.kernels import threads


def test_every_call_is_run_once():
    for count in (0, 1, 2, 7, 40):
        done, lock = [], threading.Lock()

        def kernel(i, done=done, lock=lock):
            with lock:
                done.append(i)

        if count:
            threads.run(kernel, [(i,) for i in range(count)])
        assert sorted(done) == list(range(count))


def test_calls_run_side_by_side():
    meeting = threading.Barrier(4, timeout=30)
    threads.run(lambda i: meeting.wait(), [(i,) for i in range(4)])  # else the barrier breaks


def test_the_caller_takes_part():
    names, meeting = [], threading.Barrier(3, timeout=30)

    def kernel(i):
        meeting.wait()
        names.append(threading.current_thread())

    threads.run(kernel, [(i,) for i in range(3)])
    assert threading.current_thread() in names
    assert all(t.daemon for t in names if t is not threading.current_thread())


def test_an_error_comes_out_once_all_calls_are_settled():
    running, finished = threading.Event(), []

    def kernel(i):
        if i == 0:
            assert running.wait(30)
            raise ZeroDivisionError(i)
        running.set()
        time.sleep(0.05)
        finished.append(i)

    with pytest.raises(ZeroDivisionError):
        threads.run(kernel, [(0,), (1,)])
    assert finished == [1]  # nobody uses the buffers any more
    with pytest.raises(KeyError):
        threads.run(lambda i: {}[i], [(i,) for i in range(5)])
    with pytest.raises(KeyError):
        threads.run(lambda i: {}[i], [(0,)])
    done = []
    threads.run(done.append, [(i,) for i in range(5)])  # the pool is as good as new
    assert sorted(done) == list(range(5))


def test_calls_within_calls_and_from_many_threads():
    def outer(i, results):
        inner = []
        threads.run(inner.append, [(10 * i + j,) for j in range(4)])
        results.append(sorted(inner))

    def one(_):
        results = []
        threads.run(outer, [(i, results) for i in range(4)])
        return sorted(results)

    expected = [[10 * i + j for j in range(4)] for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(one, range(40)):
            assert result == expected


def test_a_busy_pool_delays_nobody():
    """What no worker has begun the caller does itself."""
    free = threading.Event()
    blocked = threading.Thread(
        target=threads.run, args=(lambda i: free.wait(30), [(i,) for i in range(8)])
    )
    blocked.start()
    try:
        done = []
        threads.run(done.append, [(i,) for i in range(8)])
        assert sorted(done) == list(range(8))
    finally:
        free.set()
        blocked.join(30)


def test_nothing_of_a_call_is_kept():
    import gc
    import weakref

    class Buffer:
        pass

    buffer = Buffer()
    gone = weakref.ref(buffer)
    threads.run(lambda b, i: time.sleep(0.01), [(buffer, i) for i in range(4)])
    del buffer
    for _ in range(100):
        gc.collect()
        if gone() is None:
            break
        time.sleep(0.02)
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_threads_of_its_own():
    threads.run(lambda i: None, [(i,) for i in range(4)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        done = []
        threads.run(done.append, [(i,) for i in range(4)])
        os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
    deadline = time.monotonic() + 30
    while (waited := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(waited[1]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_ctrl_c_leaves_no_call_running():
    finished = []

    def kernel(i):
        time.sleep(0.4)  # for the caller: interrupted here
        finished.append(i)

    def others(i):
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
        finished.append(i)

    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.run(lambda i: kernel(i) if i == 0 else others(i), [(0,), (1,), (2,)])
        begun = list(finished)
        time.sleep(0.8)
        assert finished == begun  # nothing went on after the interrupt came out
        assert 0 not in finished
    finally:
        signal.signal(signal.SIGINT, before)
        timer.join()


def environment(value):
    code = "import fastrnn; print(fastrnn.get_num_threads())"
    env = os.environ | {"FASTRNN_NUM_THREADS": value}
    env["PYTHONPATH"] = os.path.dirname(os.path.dirname(fastrnn.__file__))
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_environment_sets_the_number():
    assert environment("3").stdout.strip() == "3"
    assert int(environment("").stdout) >= 1
    for wrong in ("0", "-1", "two", "1.5"):
        result = environment(wrong)
        assert result.returncode
        assert f"FASTRNN_NUM_THREADS is {wrong!r}; expected a whole number" in result.stderr


def test_set_and_get(request):
    request.getfixturevalue("threads")(3)  # which undoes it
    assert fastrnn.get_num_threads() == 3
