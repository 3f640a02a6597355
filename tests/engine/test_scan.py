"""The calls of the kernels: over strided arrays, at a slot of many, in pieces, step by step.

Layers, which make these calls, are in tests/nn; here is what they do not ask for.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastrnn import checks
from fastrnn.cells import lstm
from fastrnn.engine import buffers, scan
from fastrnn.engine.batch import Rows, equal_batch, rows_of, sort_by_length
from fastrnn.engine.plan import plan_backward, plan_forward
from fastrnn.engine.records import Residuals, States
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import around, every_cell
from tests.support.loops import loop
from tests.support.plans import pieces

F64 = np.dtype(np.float64)
SLOT, SLOTS = 1, 3


class Case:
    """One direction at a slot of three, its arrays, and what a kernel writes to."""

    def __init__(self, cell, T, B, I, H, lengths=None, reverse=False, seed=0):  # noqa: E741
        rng, K = np.random.default_rng(seed), len(cell.gates) * H
        [one] = Spec(cell, F64, I, H).scans()
        self.scan = one._replace(slot=SLOT, reverse=reverse)
        self.batch = equal_batch(T, B) if lengths is None else sort_by_length(np.array(lengths))
        shapes = (K, I), (K, H), (K,), (K,)
        self.weights = (*[rng.normal(size=s) / 2 for s in shapes], np.empty((0, 0)))
        self.x, self.d_output = rng.normal(size=(T, B, I)), rng.normal(size=(T, B, H))
        others = len(cell.states) - 1
        self.initial = rng.normal(size=(SLOTS, B, H)), rng.normal(size=(others, SLOTS, B, H))
        self.d_final = rng.normal(size=(SLOTS, B, H)), rng.normal(size=(others, SLOTS, B, H))
        self.wide = np.full((T, B, H + 5), -9.0)  # beside the output lies what is not its own
        self.output = rows_of(self.wide)._replace(at=2)

    def forward(self, keep=True):
        cell, sizes = self.scan.cell, self.scan.sizes
        plan = plan_forward(cell, sizes, self.batch, False, 1)
        final = np.full_like(self.initial[0], -9), np.full_like(self.initial[1], -9)
        kept = scan.forward(
            scan.prepared(self.scan, self.batch, plan, 1),
            scan.source_of(self.x, F64),
            self.weights,
            (*self.initial, *final),
            self.output,
            keep,
        )
        return final, kept

    def backward(self, kept, watch=None):
        plan = plan_backward(self.scan.cell, self.scan.sizes, self.batch, False, True, 1)
        d_x = np.full_like(self.x, -9)
        first = np.full_like(self.initial[0], -9), np.full_like(self.initial[1], -9)
        d_weights = scan.backward(
            scan.prepared(self.scan, self.batch, plan, 1),
            scan.source_of(self.x, F64),
            self.weights,
            (*self.d_final, *first),
            self.initial,
            kept,
            self.output,
            rows_of(self.d_output),
            rows_of(d_x),
            watch,
        )
        return d_x, first, d_weights


def drawn(data, cell):
    T, B = data.draw(st.integers(1, 9), "T"), data.draw(st.integers(1, 7), "B")
    I, H = (data.draw(st.sampled_from(around(buffers.lanes(F64))), name) for name in "IH")  # noqa: E741
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
    if lengths is not None:
        lengths[0] = T
    return Case(cell, T, B, I, H, lengths, data.draw(st.booleans(), "reverse"))


@every_cell
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_direction_writes_its_own_and_nothing_else(cell, data, limits):
    case = drawn(data, cell)
    limits(**pieces(data.draw(st.integers(1, 9), "rows"), data.draw(st.sampled_from([1, 4e9]))))
    (h_n, carried_n), kept = case.forward()
    lengths = np.empty(len(case.batch.order), int)
    lengths[case.batch.order] = case.batch.lengths
    given_states = [case.initial[0][SLOT], *case.initial[1][:, SLOT]]
    reverse = case.scan.reverse
    expected, last = loop(cell, case.x, given_states, *case.weights[:4], lengths, reverse)
    real = np.arange(len(case.x))[:, None] < lengths
    mine = case.wide[:, :, 2:-3]
    assert_close(mine[real], expected[real], atol=1e-12)
    case.wide[:, :, 2:-3][real] = -9
    assert (case.wide == -9).all()
    for got, want in zip([h_n, *carried_n], last, strict=True):
        assert_close(got[SLOT], want, atol=1e-12)
        assert (np.delete(got, SLOT, 0) == -9).all()
    assert kept.saved.shape[:2] == (case.batch.rows, len(cell.saved))
    assert case.forward(keep=False)[1] is scan.NOT_KEPT[F64]


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_gradient_is_that_of_the_loop(cell, reverse):
    """Along random directions, by central differences of the oracle; and watched, the same bits."""
    case = Case(cell, 6, 3, 4, buffers.lanes(F64) + 1, (6, 0, 4), reverse, seed=3)
    _, kept = case.forward()
    d_x, (d_h, d_carried), d_weights = case.backward(kept)
    rng = np.random.default_rng(0)
    names = ["x", "h", *["carried"] * len(d_carried), "w_ih", "w_hh", "b_ih", "b_hh"]
    values = [case.x, case.initial[0][SLOT], *case.initial[1][:, SLOT], *case.weights[:4]]
    real = np.arange(6)[:, None] < np.array([6, 0, 4])
    d_x = np.where(real[:, :, None], d_x, 0)
    gradients = [d_x, d_h[SLOT], *d_carried[:, SLOT], *d_weights[:4]]
    count = len(cell.states)

    def loss(values):
        x, *rest = values
        states, weights = rest[:count], rest[count:]
        output, last = loop(cell, x, states, *weights, (6, 0, 4), reverse)
        d_last = [case.d_final[0][SLOT], *case.d_final[1][:, SLOT]]
        total = sum(np.sum(s * d) for s, d in zip(last, d_last, strict=True))
        return total + np.sum(output * case.d_output)

    for i, (name, value, gradient) in enumerate(zip(names, values, gradients, strict=True)):
        v, at = rng.normal(size=value.shape), {}
        for k in (-2, -1, 1, 2):
            at[k] = loss([*values[:i], value + k * 1e-4 * v, *values[i + 1 :]])
        slope = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / 12e-4
        assert abs(np.sum(gradient * v) - slope) < 1e-8 * max(1, abs(slope)), name
    steps = []
    watched = case.backward(kept, lambda s, plan, work: steps.append(s))
    assert steps == [5, 4, 3, 2, 1, 0]
    assert_bits(watched[1], (d_h, d_carried))
    for got, want in zip(watched[2], d_weights, strict=True):  # sums over time are cut elsewhere
        assert_close(got, want, atol=1e-12)


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 50))
def test_pieces_cover_the_steps_in_order(T, B, stride):
    batch = equal_batch(T, B)
    [one] = Spec(lstm.CELL, F64, 2, 3).scans()
    plan = plan_forward(lstm.CELL, one.sizes, equal_batch(max(T, 1), B), False, 1)
    spans = scan.prepared(one, batch, plan._replace(stride=stride), 1).spans
    assert len(spans) >= 1  # states go through a call of no steps as well
    assert [s for _, s0, s1 in spans for s in range(s0, s1)] == list(range(T))
    assert all(s1 - s0 <= stride and row == s0 * B for row, s0, s1 in spans)


def test_integers_are_classes_and_floats_are_rows():
    x = np.arange(24.0).reshape(2, 3, 4)
    array, index, time, row = scan.source_of(x, F64)
    assert np.shares_memory(array, x)
    assert (index.size, time, row) == (0, 12, 4)
    codes = np.arange(6, dtype=np.int8).reshape(2, 3)
    array, index, time, row = scan.source_of(codes, F64)
    assert (array.size, array.dtype, index.dtype, time, row) == (0, F64, np.int64, 3, 1)
    assert_bits(index, codes.astype(np.int64))


def test_gradients_of_nothing_are_zero():
    weights = (np.ones((2, 3)), np.empty((0, 0)))
    assert_bits(scan.new_gradients(weights, 0), (np.zeros((2, 3)), np.empty((0, 0))))
    d_w, none = scan.new_gradients(weights, 5)
    assert d_w.shape == (2, 3)
    assert none.size == 0


def test_what_stands_for_nothing_has_the_axes_of_what_is_there():
    """Kernels are compiled once for both."""
    for dtype in checks.FLOATS:
        assert [a.ndim for a in scan.NO_WEIGHTS[dtype]] == [2, 2, 1, 1, 2]
        assert [a.ndim for a in scan.ZERO_STATES[dtype]] == [3, 4]
        assert isinstance(scan.ZERO_STATES[dtype], States)
        assert isinstance(scan.NOT_KEPT[dtype], Residuals)
        assert len(scan.NO_ROWS[dtype]) == len(Rows._fields)
        assert scan.NO_ROWS[dtype][0].dtype == dtype
