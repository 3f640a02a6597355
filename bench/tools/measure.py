"""One measurement: a problem, run by every contender that can, correct before fast.

A contender is compared with the float64 reference before it is timed, and its timing carries the
error; one that is wrong is not timed. The machine's limit is measured in the same run, in turns
with the contenders.
"""

from typing import NamedTuple

import numpy as np

from bench.cases.contender import Missing
from bench.cases.contenders import CONTENDERS
from bench.cases.problems import Problem
from bench.tools import peak
from bench.tools.timing import interleaved

# Largest error, relative to the largest value if that is above 1: what float32 achieves after a
# thousand steps, which no implementation of the same equations exceeds.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


class Timing(NamedTuple):
    """The measurement of one contender."""

    seconds: float  # median of the medians of the rounds
    rounds: list[float]
    error: float


class Result(NamedTuple):
    """The measurements of one problem."""

    mode: str
    cell: str
    shape: tuple[int, int, int, int]
    name: str  # of the shape, or ""
    threads: int
    operations: float
    peak: float  # GFLOP/s of multiply-adds, in the same run
    timings: dict[str, Timing]
    missing: dict[str, str]  # contender -> why it was not measured

    @property
    def ours(self) -> Timing:
        """Return the measurement of this package."""
        return self.timings["fastrnn"]

    @property
    def best_peer(self) -> tuple[str, float] | None:
        """Return the fastest other contender and its time over ours; above 1 we are faster."""
        peers = {n: t for n, t in self.timings.items() if n not in ("fastrnn", "reference")}
        if not peers:
            return None
        name = min(peers, key=lambda n: peers[n].seconds)
        return name, peers[name].seconds / self.ours.seconds

    @property
    def share(self) -> float:
        """Return our share of the machine's multiply-adds."""
        return self.operations / self.ours.seconds / 1e9 / self.peak


def _error(got, expected) -> float:
    """Return the largest deviation, relative to the largest value if that is above 1."""
    return float(np.max(np.abs(got - expected)) / max(1.0, np.max(np.abs(expected))))


def check(run, problem: Problem, expected) -> float:
    """Return the error of a contender's first call.

    Raises:
        ArithmeticError: the result is wrong.
    """
    got = run()
    if not isinstance(expected, dict):
        got, expected = {"output": got}, {"output": expected}
    error = max(_error(got[name], expected[name]) for name in expected)
    if not error < TOLERANCE[problem.dtype.name]:
        raise ArithmeticError(f"off by {error:.1e}")
    return error


def ready(problem: Problem, contenders) -> tuple[dict, dict, dict]:
    """Return the runs of the contenders that can, their errors, and why the others cannot."""
    runs, errors, missing = {}, {}, {}
    expected = getattr(CONTENDERS["reference"](problem), problem.mode.offer)()
    for name in contenders:
        try:
            run = getattr(CONTENDERS[name](problem), problem.mode.offer)
            if run is None:
                raise Missing(f"offers no {problem.mode.offer}")
            errors[name] = check(run, problem, expected)
            runs[name] = run
        except Missing as reason:
            missing[name] = str(reason)
        except ArithmeticError as reason:
            missing[name] = f"wrong, not timed: {reason}"
    return runs, errors, missing


def measure(problem: Problem, contenders, name: str = "", rounds: int = 7, seconds: float = 0.03):
    """Return the Result of a problem; contenders and the machine's limit take turns."""
    runs, errors, missing = ready(problem, contenders)
    burn, operations = peak.multiply_adds(problem.dtype)
    times = interleaved({**runs, "peak": burn}, rounds, seconds)
    limit = operations / min(times.pop("peak")) / 1e9
    timings = {n: Timing(float(np.median(t)), t, errors[n]) for n, t in times.items()}
    return Result(
        problem.name,
        problem.cell.name,
        tuple(problem.shape),
        name,
        problem.threads,
        problem.operations(),
        limit,
        timings,
        missing,
    )
