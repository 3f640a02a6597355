"""Jobs and lockstep on the bare words of a pool: each part once, and nothing waits for a late one.

Threads here are made by the tests; when those of the package wake and sleep is test_threads.py's.
"""

import threading
import time

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fastrnn.kernels import parallel
from fastrnn.kernels.jit import jit
from fastrnn.kernels.machine import atomic_add, outlined, pause
from fastrnn.kernels.threads import _pauses_in
from tests.support.compiled import compiled


def new_pool():
    return np.zeros(parallel.WORDS, np.int64)


class Serving:
    """As many threads that serve a pool, until the block ends."""

    def __init__(self, pool, count):
        self.pool, self.stopping = pool, False
        self.threads = [threading.Thread(target=self.serve, daemon=True) for _ in range(count)]

    def serve(self):
        while not self.stopping:
            parallel.serve(self.pool, 1000)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "it serves for ever"
        assert self.pool[parallel.SERVING] == 0


@jit
def _count(part, counts, work):
    atomic_add(counts, part, 1)
    for _ in range(work):
        pause()


@compiled
def job(pool, parts, times, counts, work):
    """Share the job so many times; tell in counts[-1] whether the pool was had."""
    owned = parallel.acquire(pool)
    for _ in range(times):
        parallel.share(pool, owned, parts, outlined(_count, (counts, work)))
    if owned:
        parallel.release(pool)
    counts[counts.size - 1] = owned


@pytest.mark.parametrize("helpers", [0, 1, 3])
@pytest.mark.parametrize("owned", [True, False], ids=["owned", "alone"])
def test_every_part_is_run_once(helpers, owned):
    pool = new_pool()
    pool[parallel.OWNED] = not owned
    with Serving(pool, helpers):
        for parts in (0, 1, 2, 7, 1000, 65535):
            counts = np.zeros(parts + 1, np.int64)
            job(pool, parts, 3, counts, 1)
            assert (counts[:parts] == 3).all()
            assert counts[-1] == owned
            assert pool[parallel.OWNED] != owned  # given back, or left to whom it belongs
        pool[parallel.OWNED] = 0  # or they would serve on


def test_one_at_a_time_has_the_pool_and_the_others_go_on_alone():
    """Eight callers at once, two that serve: nobody hangs, nobody's parts are lost."""
    pool, counts = new_pool(), np.zeros((8, 41), np.int64)
    with Serving(pool, 2):
        callers = [
            threading.Thread(target=job, args=(pool, 40, 50, counts[i], 10), daemon=True)
            for i in range(8)
        ]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join(60)
            assert not thread.is_alive()
    assert (counts[:, :40] == 50).all()
    assert pool[parallel.OWNED] == 0


def test_who_serves_does_help():
    """A part that waits for another one to be run ends only if two threads run them."""
    pool, counts = new_pool(), np.zeros(3, np.int64)
    with Serving(pool, 1):
        meet(pool, counts)
    assert counts.tolist() == [1, 1, 0]


@jit
def _meet(part, counts):
    atomic_add(counts, part, 1)
    for _ in range(100_000_000):  # some ten seconds
        if parallel.atomic_read(counts, 1 - part):
            return
        pause()
    atomic_add(counts, 2, 1)


@compiled
def meet(pool, counts):
    owned = parallel.acquire(pool)
    parallel.share(pool, owned, 2, outlined(_meet, (counts,)))
    parallel.release(pool)


def test_who_serves_stays_while_it_is_called():
    """A call that comes as a worker leaves must not work alone: half of a long one did."""
    pool, left = new_pool(), threading.Event()
    patience = _pauses_in(0.05, pool)
    server = threading.Thread(target=lambda: (parallel.serve(pool, patience), left.set()))
    server.start()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pool[parallel.CALLED] += 1
        assert not left.wait(0.001)
    assert left.wait(10), "who is called no more does not leave"
    server.join()
    assert pool[parallel.SERVING] == 0


def test_who_serves_stops_when_nobody_has_the_pool():
    pool = new_pool()
    parallel.serve(pool, 1)  # compiles
    begin = time.perf_counter()
    parallel.serve(pool, 10_000)
    assert time.perf_counter() - begin < 1
    pool[parallel.OWNED] = 1  # somebody has: it stays
    thread = threading.Thread(target=parallel.serve, args=(pool, 100), daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    pool[parallel.OWNED] = 0
    thread.join(30)
    assert not thread.is_alive()


# In lockstep: row s + 1 of a table is made of row s, a chunk by whoever claims it.


@jit
def _lockstep(part, pool, first, chunks, table, done, late):
    steps, width = table.shape[0] - 1, table.shape[1]
    s, waited = first, 0
    if part == late:
        return  # a thread that never comes
    while s < first + steps:
        if parallel.lockstep_step(pool, chunks) == s:
            mine = parallel.claim_chunk(pool, s, part, chunks, waited)
            if mine < 0:
                parallel.wait_a_little(pool, waited)
                waited += 1
                continue
            row, total = s - first, 0.0
            for i in range(width):
                total += table[row, i]
            for i in range(width * mine // chunks, width * (mine + 1) // chunks):
                table[row + 1, i] = total / width + i
            atomic_add(done, row * chunks + mine, 1)
            parallel.chunk_done(pool)
            waited = 0
            continue
        s += 1


@compiled
def lockstep(pool, members, chunks, first, table, done, late):
    owned = parallel.acquire(pool)
    if owned:
        parallel.start_lockstep(pool, first, chunks, members)
        parallel.share(
            pool, owned, members, outlined(_lockstep, (pool, first, chunks, table, done, late))
        )
        parallel.release(pool)


def check_lockstep(pool, members, chunks, steps, first=0, late=-1):
    table = np.full((steps + 1, 2 * chunks + 1), np.nan)
    table[0] = np.arange(2 * chunks + 1)
    expected = table.copy()
    for row in range(steps):
        expected[row + 1] = np.cumsum(expected[row])[-1] / table.shape[1] + table[0]
    done = np.zeros(steps * chunks, np.int64)
    thread = threading.Thread(
        target=lockstep, args=(pool, members, chunks, first, table, done, late), daemon=True
    )
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "deadlock"
    assert (done == 1).all()
    assert (table == expected).all()


# No shrinking: each example that hangs costs a core.
@settings(max_examples=60, phases=[Phase.generate])
@given(data=st.data())
def test_a_lockstep_ends_whoever_comes(data):
    """No helper, or fewer than members, or more than there are cores; some member never comes."""
    members = data.draw(st.integers(2, 6), "members")
    helpers = data.draw(st.integers(0, 4), "helpers")
    chunks = data.draw(st.sampled_from([1, 2, 3, 5, 8, 64]), "chunks")
    steps = data.draw(st.sampled_from([0, 1, 2, 9, 40]), "steps")
    first = data.draw(st.sampled_from([0, 1, 1000]), "first")
    late = data.draw(st.integers(-1, members - 1), "late")
    pool = new_pool()
    with Serving(pool, helpers):
        for _ in range(2):
            check_lockstep(pool, members, chunks, steps, first, late)


def test_a_lockstep_of_many_steps_with_more_threads_than_cores():
    pool = new_pool()
    with Serving(pool, 5):
        check_lockstep(pool, 6, 12, 3000)
