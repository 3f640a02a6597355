"""Timing: contenders in turn, in blocks of calls, each started when all threads are quiet.

The threads of every library keep spinning after a call, from a tenth of a millisecond (ours) to 45
(ONNX Runtime's), and occupy the cores of the next contender. So a block waits until this process
uses no more CPU, and its first calls, which wake threads and warm caches, do not count. The blocks
of all contenders alternate, so that whatever else the machine does affects all of them alike.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np

_WARM = 0.004  # seconds of calls that do not count


def wait_until_quiet(timeout: float = 1.0) -> None:
    """Return when the threads of this process have stopped spinning, or after the timeout."""
    start = time.perf_counter()
    while time.perf_counter() - start < timeout:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(0.004)
        if time.process_time() - cpu < 0.1 * (time.perf_counter() - wall):
            return


def block(run: Callable, seconds: float, min_calls: int = 2) -> list[float]:
    """Return the times of the calls of one block, in seconds."""
    wait_until_quiet()
    start = time.perf_counter()
    run()
    while time.perf_counter() - start < _WARM:
        run()
    times, start = [], time.perf_counter()
    while len(times) < min_calls or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return times


def interleaved(
    runs: Mapping[str, Callable], rounds: int = 7, seconds: float = 0.03
) -> dict[str, list[float]]:
    """Return the median of each round for each contender, in seconds."""
    medians: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            medians[name].append(float(np.median(block(run, seconds))))
    return medians
