"""The call of a function: for every cell a layer's bits, and parameters that have to fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.nn.function import run_cell
from tests.support.compare import assert_bits
from tests.support.configurations import Configuration, bare, both_dtypes, every_cell, members

KEPT = {"checkpoint": None, "memory": None}


@every_cell
@both_dtypes
@settings(max_examples=15)
@given(data=st.data())
def test_any_cell_is_a_layer_of_its_own(cell, dtype, data):
    sizes = {name: data.draw(st.integers(1, 9), name) for name in "TBIH"}
    lengths = data.draw(
        st.none() | st.lists(st.integers(0, sizes["T"]), min_size=sizes["B"], max_size=sizes["B"])
    )
    lengths = None if lengths is None else np.array(lengths)
    drawn = Configuration(cell, **sizes)
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    (output, state), pullback = layer.vjp(values["x"], values["state"], lengths)
    grads = pullback(values["d_output"], values["d_state"])
    given_ = (*layer.params.values(), None)
    state_0 = bare(tuple(s[0] for s in members(values["state"])))
    (got, final), pull = run_cell(
        "f", cell, values["x"], state_0, given_, lengths, False, True, **KEPT
    )
    d_state = bare(tuple(d[0] for d in members(values["d_state"])))
    mine = pull(values["d_output"], d_state)
    assert_bits(got, output)
    assert_bits(mine.input, grads.input)
    for one, other in zip(members(final), members(state), strict=True):
        assert_bits(one, other[0])
    for name, other in zip(("w_ih", "w_hh", "b_ih", "b_hh"), layer.params, strict=True):
        assert_bits(mine.params[name], grads.params[other])


@every_cell
def test_reverse_reads_every_row_from_its_own_end(cell):
    drawn, lengths = Configuration(cell, T=5, B=3, I=2, H=4), np.array([5, 0, 3])
    layer, x = drawn.layer(np.float64), drawn.values(np.float64)["x"]
    weights = (*layer.params.values(), None)
    (output, state), _ = run_cell("f", cell, x, None, weights, lengths, True)
    for b, n in enumerate(lengths):
        turned, last = layer(x[:n, b][::-1])
        np.testing.assert_allclose(output[:n, b], turned[::-1], atol=1e-15)
        assert not output[n:, b].any()
        for member, want in zip(members(state), members(last), strict=True):
            np.testing.assert_allclose(member[b], want[0], atol=1e-15)


@every_cell
@pytest.mark.parametrize("place", range(4))
def test_parameters_that_do_not_fit_are_named(cell, place):
    drawn = Configuration(cell, T=2, B=1, I=2, H=3)
    weights = [*drawn.layer(np.float64).params.values(), None]
    name = ("w_ih", "w_hh", "b_ih", "b_hh")[place]
    x = np.zeros((2, 1, 2))
    for wrong in (weights[place][:-1], weights[place].astype(np.float32), list(weights[place])):
        given_ = [*weights]
        given_[place] = wrong
        with pytest.raises((TypeError, ValueError), match=r"^f: (w_ih|w_hh|b_ih|b_hh|input)") as e:
            run_cell("f", cell, x, None, tuple(given_), None, False)
        assert name in str(e.value) or place == 0  # w_ih decides what the others have to be
