"""The limits of this machine, measured: multiply-adds per second, and bytes read per second.

`multiply_adds` is a loop of fused multiply-adds in registers and nothing else; `reads` adds up an
array that fits in a cache. Both run on as many threads as the kernels use. A kernel's share of
these limits can be compared between machines; its time cannot.
"""

import contextlib
import hashlib
import time
from pathlib import Path

import numpy as np

import fastrnn
from fastrnn.engine import buffers
from fastrnn.kernels import parallel, threads
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import outlined
from fastrnn.kernels.memory import flat, load, store
from fastrnn.kernels.simd import fma, lanes

# The cache on disk is keyed by the package's sources, which do not include this file.
_VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
_STEPS = 20_000
_SUMS = 12  # more than latency times throughput of any CPU's multiply-add


@jit
def _burn(part, steps, memory):
    """Twelve independent sums, which stay in registers."""
    n = lanes(memory)
    at = part * 16 * n
    x, y = load(memory, at), load(memory, at + n)
    a, b, c, d, e, f = x, y, x + y, x, y, x - y
    g, h, i, j, k, m = y, x, x, y, x, y
    for _ in range(steps):
        a, b, c, d, e, f = (
            fma(a, x, y),
            fma(b, x, y),
            fma(c, x, y),
            fma(d, x, y),
            fma(e, x, y),
            fma(f, x, y),
        )
        g, h, i, j, k, m = (
            fma(g, x, y),
            fma(h, x, y),
            fma(i, x, y),
            fma(j, x, y),
            fma(k, x, y),
            fma(m, x, y),
        )
    store(memory, at + 2 * n, a + b + c + d + e + f + g + h + i + j + k + m)


@kernel(name=f"chain_{_VERSION}")
def _chain(steps, memory):
    """One sum, in which each multiply-add depends on the one before."""
    memory = flat(memory)
    n = lanes(memory)
    x, y = load(memory, 0), load(memory, n)
    total = x
    for _ in range(steps):
        total = fma(total, x, y)
    store(memory, 2 * n, total)


@kernel(name=f"burn_{_VERSION}")
def _burn_all(pool, count, steps, memory):
    owned = count > 1 and parallel.acquire(pool)
    parallel.share(pool, owned, count, outlined(_burn, (steps, flat(memory))))
    if owned:
        parallel.release(pool)


@jit
def _read(part, times, size, memory, sums):
    """Add up the `size` elements of this part, over and over."""
    n = lanes(memory)
    start = part * size
    a, b, c, d = load(sums, 0), load(sums, 0), load(sums, 0), load(sums, 0)
    for _ in range(times):
        for at in range(start, start + size, 4 * n):
            a, b, c, d = (
                a + load(memory, at),
                b + load(memory, at + n),
                c + load(memory, at + 2 * n),
                d + load(memory, at + 3 * n),
            )
    store(sums, (part + 1) * 64, a + b + c + d)


@kernel(name=f"read_{_VERSION}")
def _read_all(pool, count, times, size, memory, sums):
    owned = count > 1 and parallel.acquire(pool)
    parallel.share(pool, owned, count, outlined(_read, (times, size, flat(memory), flat(sums))))
    if owned:
        parallel.release(pool)


def multiply_adds(dtype=np.float32, count: int | None = None):
    """Return a function to time, and the number of operations in one call of it."""
    count = count or fastrnn.get_num_threads()
    memory = np.full(count * 256, 0.5, dtype)
    operations = 2.0 * _SUMS * _STEPS * count * buffers.lanes(np.dtype(dtype))
    return lambda: _burn_all(threads.call(count), count, _STEPS, memory), operations


def per_cycle() -> int:
    """Return how many multiply-adds of the widest registers one core starts per cycle, 1 or 2.

    Derived from how many independent ones it makes in the time of a dependent one, 4 or 5 cycles.
    """
    memory = np.full(64, 0.5, np.float32)
    one_by_one = measure(lambda: _chain(_STEPS, memory), _STEPS)
    at_once = measure(*multiply_adds(np.float32, 1)) / 2 / buffers.lanes(np.dtype(np.float32))
    return 1 if at_once / one_by_one < 6 else 2


def kind() -> str:
    """Return what sort of machine this is to a kernel that wants all its multiply-adds.

    "one": one of the widest registers per cycle (Zen 4); "two": two, which are hard to feed
    (Sapphire Rapids); "two, AMD": two, which are not (Zen 5).
    """
    if per_cycle() == 1:
        return "one"
    with contextlib.suppress(OSError):
        if "AuthenticAMD" in Path("/proc/cpuinfo").read_text():
            return "two, AMD"
    return "two"


def reads(megabytes: float, count: int | None = None):
    """Return a function that reads some memory per thread, and the bytes read by one call of it."""
    count = count or fastrnn.get_num_threads()
    size = int(megabytes * 2**20) // 4 // 256 * 256
    memory = np.ones(size * count + 16, np.float32)
    memory = memory[-memory.ctypes.data // 4 % 16 :][: size * count]  # on a cache line
    sums = np.zeros(64 * (count + 1), np.float32)
    times = max(1, int(8 / megabytes))
    run = lambda: _read_all(threads.call(count), count, times, size, memory, sums)  # noqa: E731
    return run, 4.0 * size * times * count


def measure(run, work: float, rounds: int = 5) -> float:
    """Return the best rate of a few rounds, in 1e9 per second: noise only makes it lower."""
    run()
    best = float("inf")
    for _ in range(rounds):
        before = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - before)
    return work / best / 1e9


def limits() -> dict[str, float]:
    """Return all limits, GFLOP/s and GB/s."""
    return {
        "float32 GFLOP/s, 1 thread": measure(*multiply_adds(np.float32, 1)),
        "float32 GFLOP/s": measure(*multiply_adds(np.float32)),
        "float64 GFLOP/s": measure(*multiply_adds(np.float64)),
        "L2 GB/s, 1 thread": measure(*reads(0.5, 1)),
        "L2 GB/s": measure(*reads(0.5)),
        "L3 GB/s": measure(*reads(6)),
        "memory GB/s": measure(*reads(128), rounds=2),
    }
