"""The input's part of the pre-activations against NumPy: dense, ragged, one-hot, packed or not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine import buffers, inputs
from fastrnn.engine.records import Operands, read_input
from fastrnn.kernels.memory import flat, part_of
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.layouts import blocked, given_input, in_panels

N = buffers.lanes(np.dtype(np.float64))


@compiled
def run(s0, s1, j0, j1, unit0, unit1, given, packed, gather, w, b, sizes, x_rows, a_x):
    input_size, hidden_size, gates, width = sizes
    nothing = part_of(flat(b), 0, 0)
    operands = Operands(packed, gather, flat(w), nothing, nothing, flat(b), nothing, nothing)
    inputs.input_part(
        s0,
        s1,
        s1 - s0,
        j0,
        j1,
        unit0,
        unit1,
        read_input(given),
        operands,
        input_size,
        hidden_size,
        gates,
        width,
        flat(x_rows),
        flat(a_x),
    )


@compiled
def time_of(s, length, reverse, out):
    out[0] = inputs.time_of(s, length, reverse)


def test_a_reverse_direction_reads_from_the_end_of_its_sequence():
    out = np.zeros(1)
    for s, length, reverse, time in ((0, 5, False, 0), (3, 5, False, 3), (0, 5, True, 4)):
        time_of(s, length, reverse, out)
        assert out[0] == time


@given(st.data())
def test_it_is_a_product_for_the_running_rows_of_each_step(data):
    T, B = data.draw(st.integers(1, 5), "T"), data.draw(st.sampled_from([1, 2, 5, 25]), "B")
    I, H = (data.draw(st.sampled_from([1, N - 1, N, 2 * N + 1]), name) for name in "IH")  # noqa: E741
    gates = data.draw(st.sampled_from([1, 3]), "gates")
    one_hot, packed, reverse = (data.draw(st.booleans()) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    ragged = data.draw(st.booleans(), "ragged")
    lengths = np.full(B, T)
    if ragged:
        lengths[1:] = np.sort(rng.integers(0, T + 1, B - 1))[::-1]
    order = np.arange(B) if lengths[-1] == T else rng.permutation(B)
    s0 = data.draw(st.integers(0, T - 1), "s0")
    s1 = data.draw(st.integers(s0 + 1, T), "s1")
    j0 = data.draw(st.integers(0, int((lengths > s0).sum()) - 1), "j0")
    j1 = data.draw(st.integers(j0 + 1, B), "j1")
    units = -(-H // N)
    unit0 = data.draw(st.integers(0, units - 1), "unit0")
    weight, bias = rng.normal(size=(gates * H, I)), rng.normal(size=gates * H)
    x = rng.integers(0, I, (T, B)) if one_hot else rng.normal(size=(T, B, I))
    if data.draw(st.booleans(), "batch first"):
        x = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    dense = np.eye(I)[x] if one_hot else x
    rows = [
        dense[lengths[j] - 1 - s if reverse else s, order[j]]
        for s in range(s0, s1)
        for j in range(j0, j1)
        if lengths[j] > s
    ]
    columns, mine = units * gates * N, slice(unit0 * gates * N, None)
    expected = np.array(rows).reshape(-1, I) @ blocked(weight, gates, N).T
    expected += blocked(bias, gates, N)
    width = gates
    w = in_panels(blocked(weight, gates, N).T.copy(), width * N) if packed else weight
    x_rows = np.full((s1 - s0) * (j1 - j0) * (I + 2), np.nan)
    a_x = np.full(((s1 - s0) * (j1 - j0), columns), np.nan)
    run(
        s0,
        s1,
        j0,
        j1,
        unit0,
        units,
        given_input(x, order, lengths, reverse, one_hot),
        packed,
        one_hot and not packed,
        w,
        blocked(bias, gates, N),
        (I, H, gates, width),
        x_rows,
        a_x,
    )
    # Lanes past the last hidden unit are nobody's: a gathered column repeats there.
    real = blocked(np.ones(gates * H), gates, N) > 0
    real[: unit0 * gates * N] = False
    assert_close(a_x[: len(rows), real], expected[:, real], atol=1e-12)
    assert np.isnan(a_x[:, : mine.start]).all()
    assert np.isnan(a_x[len(rows) :]).all()
