"""Measurements under pytest-benchmark: each contender is checked before it is timed."""

import os
import platform

import numpy as np
import pytest

import fastrnn
from bench.cases.contender import Missing
from bench.cases.contenders import CONTENDERS
from bench.cases.problems import Problem
from bench.tools import peak
from bench.tools.measure import check
from fastrnn.kernels import tile


@pytest.fixture
def timed(benchmark):
    """Return `timed(contender, cell, shape, mode)`, which checks a contender and times it."""

    def timed(contender, cell, shape, mode):
        problem = Problem(cell, shape, mode)
        offer = problem.mode.offer
        try:
            run = getattr(CONTENDERS[contender](problem), offer)
            expected = getattr(CONTENDERS["reference"](problem), offer)()
        except Missing as reason:
            pytest.skip(str(reason))
        if run is None:
            pytest.skip(f"{contender} offers no {offer}")
        error = check(run, problem, expected)
        benchmark.extra_info |= {
            "error": error,
            "operations": problem.operations(),
            "shape": tuple(shape),
            "threads": problem.threads,
        }
        rounds = int(np.clip(3e10 / problem.operations(), 3, 30))
        rounds = 3 if contender == "reference" else rounds
        benchmark.pedantic(run, rounds=rounds, iterations=1, warmup_rounds=1)

    return timed


def pytest_benchmark_update_machine_info(config, machine_info):
    """Record what a number depends on."""
    machine_info |= {
        "kernels": tile.describe(),
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "fastrnn": fastrnn.__version__,
        "system": platform.platform(),
        "limits": peak.limits(),
    }
