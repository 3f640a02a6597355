"""Steps one at a time, with packed weights: the equations in a loop, and a copy of the weights."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.engine.plan import plan_stream
from fastrnn.engine.streaming import start_stream, step_stream
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import around, every_cell
from tests.support.loops import loop

F64 = np.dtype(np.float64)


class Steps:
    """A stream, and the arrays that it reads and writes."""

    def __init__(self, cell, B, I, H, seed=0):  # noqa: E741
        rng, K = np.random.default_rng(seed), len(cell.gates) * H
        [self.scan] = Spec(cell, F64, I, H).scans()
        shapes = (K, I), (K, H), (K,), (K,)
        self.weights = (*[rng.normal(size=s) / 2 for s in shapes], np.empty((0, 0)))
        self.plan = plan_stream(cell, self.scan.sizes, B, 1)
        self.x, self.rows = np.full((B, I), np.nan), np.full((3, B), -1)
        self.output = np.full((B, H), np.nan)
        given = self.scan, self.plan, self.weights, self.x, self.rows, self.output
        self.work = start_stream(*given)

    def step(self, s, x):
        one_hot = x.dtype.kind == "i"
        (self.rows[0] if one_hot else self.x)[...] = x
        given = self.rows, self.x, self.output, self.work
        step_stream(self.scan, self.plan, s, one_hot, *given)
        return self.output.copy()


@every_cell
@settings(max_examples=20)
@given(data=st.data())
def test_steps_are_the_equations_in_a_loop(cell, data):
    B, T = data.draw(st.integers(1, 7), "B"), data.draw(st.integers(1, 6), "T")
    I, H = (data.draw(st.sampled_from(around(buffers.lanes(F64))), name) for name in "IH")  # noqa: E741
    one_hot = data.draw(st.booleans(), "one-hot")
    stream = Steps(cell, B, I, H, data.draw(st.integers(0, 99), "seed"))
    rng = np.random.default_rng(0)
    x = rng.integers(0, I, (T, B)) if one_hot else rng.normal(size=(T, B, I))
    zeros = [np.zeros((B, H)) for _ in cell.states]
    expected, _ = loop(cell, np.eye(I)[x] if one_hot else x, zeros, *stream.weights[:4])
    for t in range(T):
        got = stream.step(2 + t % 2, x[t])
        assert_close(got, expected[t], atol=1e-12, name=f"step {t}")


@every_cell
def test_weights_are_copied_and_states_are_in_the_work_space(cell):
    stream, x = Steps(cell, 3, 4, 5), np.random.default_rng(0).normal(size=(4, 3, 4))
    first = [stream.step(2 + t % 2, x[t]) for t in range(4)]
    assert (first[0] != first[2]).any()
    for weight in stream.weights:
        weight[...] = np.nan
    for name in ("states", "emitted"):
        stream.plan.view(stream.work, name).fill(0)
    assert_bits([stream.step(2 + t % 2, x[t]) for t in range(4)], first)
