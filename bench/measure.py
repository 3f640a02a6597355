"""One measurement: a problem, run by all who can, correct before fast.

A contender is compared with the float64 reference before it is timed, and its timing carries the
error; who is wrong is not timed. The machine's limit is measured in between, in the same run.
"""

from typing import NamedTuple

import numpy as np

from bench import peak
from bench.contenders import CONTENDERS, Missing
from bench.problems import Problem
from bench.timing import interleaved

# Largest error, relative to the largest value if that is above 1: what float32 can be asked for
# after a thousand steps, and what nobody exceeds who computes the same thing.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


class Timing(NamedTuple):
    """What was measured of one contender."""

    seconds: float  # median of the medians of the rounds
    rounds: list[float]
    error: float


class Result(NamedTuple):
    """What was measured of one problem."""

    mode: str
    cell: str
    shape: tuple[int, int, int, int]
    name: str  # of the shape, or ""
    threads: int
    operations: float
    peak: float  # GFLOP/s of multiply-adds, in the same run
    timings: dict[str, Timing]
    missing: dict[str, str]  # why others were not measured

    @property
    def ours(self) -> Timing:
        """Return what was measured of this package."""
        return self.timings["fastrnn"]

    @property
    def best_peer(self) -> tuple[str, float] | None:
        """Return the fastest of the others and its time over ours; above 1 we are faster."""
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
        ArithmeticError: it computes something else.
    """
    got = run()
    if not isinstance(expected, dict):
        got, expected = {"output": got}, {"output": expected}
    error = max(_error(got[name], expected[name]) for name in expected)
    if not error < TOLERANCE[problem.dtype.name]:
        raise ArithmeticError(f"off by {error:.1e}")
    return error


def ready(problem: Problem, who) -> tuple[dict, dict, dict]:
    """Return the runs of those who can, their errors, and why others cannot."""
    runs, errors, missing = {}, {}, {}
    expected = getattr(CONTENDERS["reference"](problem), problem.mode.offer)()
    for name in who:
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


def measure(problem: Problem, who, name: str = "", rounds: int = 7, seconds: float = 0.03):
    """Return the Result of a problem; contenders and the machine's limit take turns."""
    runs, errors, missing = ready(problem, who)
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
