"""Correct before fast: a contender is timed only after a comparison with reference.py."""

import os
import platform

import numpy as np
import pytest
from contenders import CONTENDERS, layer_of, of_reference

import fastrnn
from fastrnn.cells import CELLS
from fastrnn.kernels import tile


def _error(got, expected) -> float:
    """Return the largest deviation, relative to the largest value if that is above 1."""
    return float(np.max(np.abs(got - expected)) / max(1.0, np.max(np.abs(expected))))


@pytest.fixture
def measure(benchmark):
    """Return `measure(contender, cell, shape, mode)`, which checks a contender and times it."""

    def measure(contender, cell, shape, mode):
        cell = next(known for known in CELLS if known.name == cell)
        random = np.random.default_rng(0)
        layer = layer_of(cell, input_size=shape.input, hidden_size=shape.hidden, seed=0)
        x = random.standard_normal((shape.time, shape.batch, shape.input), np.float32)
        d_output = random.standard_normal((shape.time, shape.batch, shape.hidden), np.float32)
        run = getattr(CONTENDERS[contender](layer, x, d_output), mode)
        expected = getattr(of_reference(layer, x, d_output), mode)()
        got = run()
        pairs = [(got, expected)] if mode == "forward" else [
            (got[name], expected[name]) for name in expected
        ]  # fmt: skip
        error = max(_error(a, b) for a, b in pairs)
        assert error < 1e-4, f"{contender} is off by {error:.1e}: no time is taken of wrong numbers"
        operations = 2 * shape.time * shape.batch * len(cell.gates) * shape.hidden
        operations *= (shape.input + shape.hidden) * (1 if mode == "forward" else 3)
        benchmark.extra_info |= {
            "error": error,
            "operations": operations,
            "shape": tuple(shape),
            "threads": fastrnn.get_num_threads(),
        }
        rounds = int(np.clip(3e10 / operations, 3, 30)) if contender != "reference" else 3
        benchmark.pedantic(run, rounds=rounds, iterations=1, warmup_rounds=1)

    return measure


def pytest_benchmark_update_machine_info(config, machine_info):
    """Record what a number depends on."""
    machine_info |= {"kernels": tile.describe(), "cores": os.cpu_count(), "numpy": np.__version__,
                     "fastrnn": fastrnn.__version__, "system": platform.platform()}  # fmt: skip
