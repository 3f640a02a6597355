"""How it is measured: contenders in turn, in blocks, each of which begins when all is quiet.

Everyone's threads go on spinning after a call, from a tenth of a millisecond (ours) to 45 (ONNX
Runtime's), and hold the cores of whoever comes next. So a block waits until this process uses no
more CPU, and its first calls, which wake threads and warm caches, are not counted. The blocks of
all contenders alternate: what the machine does meanwhile to one, it does to all.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np

_WARM = 0.004  # seconds of calls that are not counted


def wait_until_quiet(longest: float = 1.0) -> None:
    """Return when the threads of this process have stopped spinning."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < longest:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(0.004)
        if time.process_time() - cpu < 0.1 * (time.perf_counter() - wall):
            return


def block(run: Callable, seconds: float, least: int = 2) -> list[float]:
    """Return the times of the calls of one block, in seconds."""
    wait_until_quiet()
    begin = time.perf_counter()
    run()
    while time.perf_counter() - begin < _WARM:
        run()
    times, begin = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - begin < seconds:
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
