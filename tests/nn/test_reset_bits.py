"""Which bits come out with `reset=`: nothing at all crosses a cut, and no other bit changes.

Zeros are exact, NaN and infinity stay in their episode, a call is the same by any number of
threads and with checkpoints. Whether the numbers are right is test_reset.py's.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from tests.support.compare import assert_bits
from tests.support.configurations import (
    Configuration,
    bare,
    both_dtypes,
    configurations,
    every_cell,
    members,
    run,
)
from tests.support.episodes import Axes, check_poison, check_zeros, masks, pieces, run_cut
from tests.support.plans import SHARED, tiny

fixtures = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}
SMALL = {"T": 9, "B": 4, "I": 3, "H": 9, "num_layers": 2}
SHAPES = {
    "plain": {},
    "both directions": {"bidirectional": True},
    "batch first": {"batch_first": True, "bidirectional": True},
    "ragged": {"lengths": (9, 0, 7, 4), "bidirectional": True},
    "single row": {"B": 1, "num_layers": 1, "batched": False},
    "tall": {"B": 40, "num_layers": 1},
}
every_shape = pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES)
WAYS = {"kept": {}, "checkpoint": {"checkpoint": 2}}
every_way = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)


def cut_case(cell, sizes):
    """Return a configuration, a mask, and the row and the numbers of the episodes in it."""
    drawn = Configuration(cell, **(SMALL | sizes))
    mask = np.zeros((drawn.T, drawn.B), bool)
    mask[[3, 6]] = True
    mask[0, ::2] = True
    row = min(2, drawn.B - 1)
    length = drawn.T if drawn.lengths is None else drawn.lengths[row]
    return drawn, mask, row, range(len(pieces(mask[:, row], length)))


@every_cell
@every_shape
@every_way
def test_no_gradient_crosses_a_cut(cell, sizes, options, limits):
    limits(**tiny(4))
    drawn, mask, row, numbers = cut_case(cell, sizes)
    drawn = replace(drawn, seed=3)
    if cell.name == "rnn_relu":  # units that are off have a gradient of 0 in their own episode too
        drawn = replace(drawn, H=33)
    for number in numbers:
        check_zeros(drawn, mask, row, number, **options)


@every_cell
@both_dtypes
@every_shape
@every_way
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_episode(cell, dtype, sizes, options, poison, limits):
    limits(**tiny(4))
    drawn, mask, row, numbers = cut_case(cell, sizes)
    for number in numbers:
        found, where = check_poison(drawn, mask, row, number, poison, dtype, **options)
        if np.isnan(poison):
            assert np.isnan(Axes(drawn).steps(found["output"])[where]).all()
            if cell.name != "rnn_relu":  # whose derivative is never NaN
                assert np.isnan(Axes(drawn).steps(found["d_x"])[where]).all()
            assert np.isnan(found["d_weight_ih_l0"]).any()  # a sum over all episodes


@settings(max_examples=60, **fixtures)
@given(data=st.data())
def test_nor_do_they_leave_it_in_any_configuration(data, limits, threads):
    cell = data.draw(st.sampled_from([fastrnn.LSTM.cell, fastrnn.GRU.cell]))
    drawn = data.draw(configurations(cell, np.float64).filter(lambda c: c.B and c.T))
    drawn = replace(drawn, one_hot=False)
    mask = data.draw(masks(drawn.T, drawn.B), "mask")
    rows = [b for b in range(drawn.B) if drawn.lengths is None or drawn.lengths[b]]
    if not rows:
        return
    row = data.draw(st.sampled_from(rows), "row")
    length = drawn.T if drawn.lengths is None else drawn.lengths[row]
    number = data.draw(st.integers(0, len(pieces(mask[:, row], length)) - 1), "episode")
    limits(**tiny(2), **data.draw(st.sampled_from([{}, SHARED]), "limits"))
    threads(data.draw(st.sampled_from([1, 2]), "threads"))
    options = data.draw(st.sampled_from(list(WAYS.values())), "options")
    check_poison(drawn, mask, row, number, np.nan, **options)


@every_cell
@every_way
@pytest.mark.parametrize("steps", [9, 1])
@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
def test_an_initial_state_that_is_cut_off_is_not_read(cell, steps, both, options, limits):
    """NaN in it, each member of it alone: no bit changes, of the parameters' gradients neither."""
    if steps > 1:  # one step goes a way of its own
        limits(**tiny(4))
    drawn = Configuration(cell, **(SMALL | {"T": steps, "I": 8, "H": 8, "bidirectional": both}))
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    mask = np.zeros((steps, drawn.B), bool)
    mask[0] = True
    clean = run_cut(drawn, layer, values, mask, **options)
    for i in range(len(cell.states)):
        state = [s.copy() for s in members(values["state"])]
        state[i][:: 1 + both] = np.nan  # of the forward direction
        found = run_cut(drawn, layer, values | {"state": bare(state)}, mask, **options)
        assert_bits(found, clean)
        assert not found[f"d_state {i}"][:: 1 + both].any()
        if both:
            assert found[f"d_state {i}"][1::2].all()  # enters at the end
        else:
            output, final = layer(values["x"], bare(state), reset=mask)
            assert_bits(output, clean["output"])
            for j, s in enumerate(members(final)):
                assert_bits(s, clean[f"state {j}"])


@every_cell
@every_way
def test_an_error_that_is_no_number_stays_in_its_episode(cell, options, limits):
    """NaN in the gradient at one step of the output, and at the last state."""
    limits(**tiny(4))
    drawn, mask, row, _ = cut_case(cell, {})
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    clean = run_cut(drawn, layer, values, mask, **options)
    bad = values | {"d_output": values["d_output"].copy()}
    bad["d_output"][5, row] = np.nan
    found = run_cut(drawn, layer, bad, mask, **options)
    assert np.isnan(found["d_x"][3:6, row]).any()
    d_x = found["d_x"].copy()
    d_x[3:6, row] = clean["d_x"][3:6, row]
    assert_bits(d_x, clean["d_x"])
    d_state = [d.copy() for d in members(values["d_state"])]
    for d in d_state:
        d[:, row] = np.nan
    found = run_cut(drawn, layer, values | {"d_state": bare(d_state)}, mask, **options)
    d_x = found["d_x"].copy()
    assert np.isnan(d_x[6:, row]).any()
    d_x[6:, row] = clean["d_x"][6:, row]
    assert_bits(d_x, clean["d_x"])
    for i in range(len(cell.states)):
        assert_bits(found[f"d_state {i}"], clean[f"d_state {i}"])


BUSY = {"T": 40, "B": 17, "I": 40, "H": 70, "num_layers": 1}
LOADS = {
    "slices": {},
    "ragged": {"lengths": tuple(range(40, 23, -1)), "bidirectional": True},
    "one-hot": {"one_hot": True},
    "single": {"B": 1, "H": 130, "T": 170},
    "lockstep": {"B": 3, "H": 256, "lengths": (40, 13, 27)},
    "large": {"B": 1, "H": 300, "I": 400, "T": 20},
}


@every_cell
@pytest.mark.parametrize("sizes", LOADS.values(), ids=LOADS)
def test_any_number_of_threads_and_checkpoints_give_the_same_bits(cell, sizes, threads, limits):
    limits(_BLOCK_ROWS=(64, 64))
    drawn = Configuration(cell, **(BUSY | sizes))
    layer, values = drawn.layer(np.float32), drawn.values(np.float32)
    mask = np.random.default_rng(0).random((drawn.T, drawn.B)) < 0.2
    results = []
    for count in (1, 2):
        threads(count)
        results += [run_cut(drawn, layer, values, mask, **options) for options in WAYS.values()]
    for result in results[1:]:
        assert_bits(result, results[0])


@every_cell
@both_dtypes
@pytest.mark.parametrize("sizes", [{}, *LOADS.values()], ids=["small", *LOADS])
def test_rows_without_a_reset_keep_their_bits(cell, dtype, sizes):
    """And all of the others', up to their first."""
    drawn = Configuration(cell, **((BUSY | sizes) if sizes else SMALL))
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    mask = np.zeros((drawn.T, drawn.B), bool)
    mask[5::7, ::2] = True
    if drawn.lengths is not None:  # past their ends there is no cut
        for b, length in enumerate(drawn.lengths):
            mask[length:, b] = True
    got = run_cut(drawn, layer, values, mask)
    plain = run(layer, values, drawn.array_lengths())
    same = slice(1, None, 2)
    for name in ("output", "d_x", *(n for n in got if "state" in n)):
        if got[name] is not None:
            assert_bits(got[name][:, same], plain[name][:, same], name)
    if not drawn.bidirectional:
        assert_bits(got["output"][:5], plain["output"][:5])
    assert (got["output"][5:, 0] != plain["output"][5:, 0]).any()


@every_cell
@every_way
@pytest.mark.parametrize("sizes", [{}, {"T": 1, "I": 8, "H": 8}, {"T": 0}, {"B": 0}])
def test_a_mask_without_a_reset_changes_nothing(cell, options, sizes):
    drawn = Configuration(cell, **(SMALL | sizes))
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    mask = np.zeros((drawn.T, drawn.B), bool)
    assert_bits(run_cut(drawn, layer, values, mask, **options), run(layer, values, **options))
    assert_bits(layer(values["x"], reset=mask), layer(values["x"]))
    past = (0,) * drawn.B  # every reset is past its row's end
    ended = replace(drawn, lengths=past)
    got = run_cut(ended, layer, values, ~mask, **options)
    assert_bits(got, run(layer, values, ended.array_lengths(), **options))
    for i, s in enumerate(members(values["state"])):
        assert_bits(got[f"state {i}"], s)


@every_cell
@every_way
def test_what_is_past_a_row_s_end_is_not_read(cell, options, limits):
    limits(**tiny(4))
    drawn, mask, _, _ = cut_case(cell, SHAPES["ragged"])
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    past = np.arange(drawn.T)[:, None] >= drawn.array_lengths()
    x, d_output = values["x"].copy(), values["d_output"].copy()
    x[past] = d_output[past] = np.nan
    found = run_cut(drawn, layer, values | {"x": x, "d_output": d_output}, mask | past, **options)
    assert_bits(found, run_cut(drawn, layer, values, mask & ~past, **options))


def test_a_pullback_is_pure_and_keeps_its_own_mask():
    drawn = Configuration(fastrnn.LSTM.cell, **SMALL)
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    mask = np.random.default_rng(0).random((drawn.T, drawn.B)) < 0.5
    expected = run_cut(drawn, layer, values, mask)
    _, pullback = layer.vjp(values["x"], values["state"], reset=mask)
    mask[:] = ~mask
    for _ in range(2):
        grads = pullback(values["d_output"], values["d_state"])
        assert_bits(grads.input, expected["d_x"])
        assert_bits(grads.params, {n: expected[f"d_{n}"] for n in grads.params})
