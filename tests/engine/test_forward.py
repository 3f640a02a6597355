"""The loop over time against a plain loop over the equations of the cell.

That is the oracle for cells that nobody else has; torch's is in tests/nn/test_layers.py. Pieces of
time are in test_backward.py, threads in tests/nn/test_layer.py.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.nn.function import run_cell
from tests.support.compare import assert_close
from tests.support.configurations import around, bare, every_cell, members
from tests.support.loops import loop

LANES = buffers.lanes(np.dtype(np.float64))


@every_cell
@settings(max_examples=30)
@given(data=st.data())
def test_equals_its_equations_in_a_loop(cell, data):
    T = data.draw(st.sampled_from([1, 2, 5, 12, 30]), "T")
    B = data.draw(st.sampled_from([1, 2, 6, 9, 13]), "B")
    I, H = (data.draw(st.sampled_from(around(LANES)), name) for name in "IH")  # noqa: E741
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
    lengths = None if lengths is None else np.array(lengths)
    reverse = data.draw(st.booleans(), "reverse")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    G = len(cell.gates)
    weights = [rng.uniform(-1, 1, s) / H**0.5 for s in ((G * H, I), (G * H, H), G * H, G * H)]
    x, states = rng.normal(size=(T, B, I)), [rng.normal(size=(B, H)) for _ in cell.states]
    output, last = loop(cell, x, states, *weights, lengths, reverse)
    given = (*weights, None)
    (got, final), _ = run_cell("test", cell, x, bare(states), given, lengths, reverse)
    assert_close(got, output, atol=1e-12, rtol=1e-12, name="output")
    for s, expected in zip(members(final), last, strict=True):
        assert_close(s, expected, atol=1e-12, rtol=1e-12, name="state")
