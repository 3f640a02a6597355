"""Has anything become slower? Compared with another revision, or with the machine's limit.

With a revision: it is checked out beside the working tree, and both run in processes of their own,
alternating, on the same machine. A second process of the base measures the noise, A against A, and
only what exceeds the noise counts as slower. With the limit (`efficiency`): a kernel's share of the
multiply-adds per second measured in the same run, so that a slow kernel fails and a slow machine
does not.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastrnn
from bench.cases.problems import Problem
from bench.cases.shapes import SHAPES, Shape
from bench.tools import peak
from bench.tools.timing import block
from bench.tools.worker import runner, slowed

ROOT = Path(__file__).parents[2]
TOLERATED = 0.05  # slowdown that does not matter
CASES = [
    (cell, name, mode)
    for cell in ("lstm", "gru", "rnn_tanh")
    for mode, names in {
        "forward": ("one_step", "tiny", "forecast_b1", "keyword_spotting", "char_lm", "wide"),
        "train": ("one_step", "forecast_b1", "keyword_spotting", "char_lm"),
        "varlen": ("keyword_spotting",),
        "stream": ("one_step",),
    }.items()
    for name in names
]

# One thread's minimal share of the measured peak, by peak.kind(). Comments give typical shares
# (Zen 4, Sapphire Rapids, Zen 5). A kernel 1.5 times slower is clearly below its floor; a noisy
# neighbour does not push it there, as the best of several rounds counts.
KINDS = ("one", "two", "two, AMD")
FLOORS = {
    ("lstm", Shape(60, 32, 256, 256), "forward"): (0.66, 0.49, 0.66),  # 0.87, 0.62, 0.85
    ("gru", Shape(60, 32, 256, 256), "forward"): (0.66, 0.52, 0.66),  # 0.87, 0.66, 0.86
    ("rnn_tanh", Shape(60, 32, 256, 256), "forward"): (0.64, 0.53, 0.64),  # 0.86, 0.68, 0.86
    ("lstm", Shape(60, 32, 256, 256), "train"): (0.60, 0.44, 0.60),  # 0.80, 0.56, 0.84
    ("gru", Shape(60, 32, 256, 256), "train"): (0.60, 0.45, 0.60),  # 0.80, 0.57, 0.84
    ("rnn_tanh", Shape(60, 32, 256, 256), "train"): (0.60, 0.43, 0.60),  # 0.80, 0.54, 0.81
}


class Verdict(NamedTuple):
    """The result for one case."""

    case: str
    before: float  # milliseconds, or the floor
    after: float  # milliseconds, or the share
    ratio: float  # after / before
    noise: float  # by how much a ratio may differ from 1 by chance
    slower: bool
    error: str = ""


class _Worker:
    """A process that times one version of the package."""

    def __init__(self, tree: Path, cache: Path):
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            "NUMBA_CACHE_DIR": str(cache),
            "FASTRNN_NUM_THREADS": str(fastrnn.get_num_threads()),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "tools" / "worker.py")],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=tempfile.gettempdir(),
        )

    def times(self, cell, shape, mode, seconds, slower) -> list[float]:
        request = {"cell": cell, "shape": shape, "mode": mode, "seconds": seconds, "slower": slower}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process died"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["times"]

    def close(self):
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def _checked_out(revision: str):
    """Yield a temporary folder with the package of a revision."""
    with tempfile.TemporaryDirectory(prefix="fastrnn-gate-") as folder:
        archive = subprocess.run(
            ["git", "archive", revision, "fastrnn"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def compare(
    base: str, cases=CASES, rounds: int = 9, seconds: float = 0.02, slower: float = 1.0, say=print
) -> list[Verdict]:
    """Return a verdict for each case: the working tree against a revision."""
    verdicts = []
    with ExitStack() as stack:
        tree = stack.enter_context(_checked_out(base))
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastrnn-gate-")))
        workers = {
            "base": _Worker(tree, cache),
            "again": _Worker(tree, cache),
            "here": _Worker(ROOT, cache),
        }
        for worker in workers.values():
            stack.callback(worker.close)
        for cell, name, mode in cases:
            case, shape = f"{mode} {cell} {name}", SHAPES[name]
            found: dict[str, list[float]] = {version: [] for version in workers}
            try:
                for _ in range(rounds):
                    for version, worker in workers.items():
                        factor = slower if version == "here" else 1.0
                        times = worker.times(cell, shape, mode, seconds, factor)
                        found[version].append(float(np.median(times)))
            except RuntimeError as error:
                verdicts.append(Verdict(case, 0, 0, 1, 0, False, str(error)))
                continue
            verdicts.append(_verdict(case, found))
            say(case)
    return verdicts


def _verdict(case: str, found: dict[str, list[float]]) -> Verdict:
    """Judge a case by comparing neighbouring rounds, so that slow drifts cancel."""
    base, again, here = (np.log(found[version]) for version in ("base", "again", "here"))
    alike, differs = again - base, here - (base + again) / 2
    spread = 1.4826 * np.median(np.abs(alike - np.median(alike)))
    noise = abs(float(np.median(alike))) + 3 * float(spread) / np.sqrt(len(alike))
    change = float(np.median(differs))
    return Verdict(
        case,
        float(np.exp(np.median(base))) * 1e3,
        float(np.exp(np.median(here))) * 1e3,
        float(np.exp(change)),
        float(np.exp(noise)) - 1,
        change > max(noise, np.log(1 + TOLERATED)),
    )


def efficiency(rounds: int = 7, slower: float = 1.0, say=print) -> list[Verdict]:
    """Return a verdict for each floor: one thread's share of the peak, both measured in turns."""
    before = fastrnn.get_num_threads()
    fastrnn.set_num_threads(1)
    verdicts = []
    try:
        burn, operations = peak.multiply_adds(np.float32)
        kind = KINDS.index(peak.kind())
        for (cell, shape, mode), floors in FLOORS.items():
            floor = floors[kind]
            problem = Problem(cell, shape, mode)
            run = slowed(runner(problem), slower)
            shares = []
            for _ in range(rounds):
                limit = operations / min(block(burn, 0.01))
                shares.append(problem.operations() / min(block(run, 0.05)) / limit)
            share = max(shares)
            verdicts.append(
                Verdict(
                    f"{mode} {cell} {shape}",
                    floor,
                    share,
                    share / floor,
                    max(shares) - min(shares),
                    share < floor,
                )
            )
            say(verdicts[-1].case)
    finally:
        fastrnn.set_num_threads(before)
    return verdicts
