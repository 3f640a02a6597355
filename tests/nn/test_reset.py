"""The numbers of `reset=`: those of the sequences split at the resets, and of a loop with a mask.

The oracle is tests/support/episodes.py. What is exactly zero, and which bits come out, is
test_reset_bits.py's; streams, single steps and truncated BPTT are test_reset_ways.py's.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import functional, reference
from tests.support.compare import assert_close
from tests.support.configurations import (
    Configuration,
    bare,
    configurations,
    every_cell,
    members,
    named,
    run_torch,
    torch_class,
)
from tests.support.episodes import assert_equal, check_split, masks, run_cut, split
from tests.support.plans import SHARED, tiny

fixtures = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}


@every_cell
@settings(max_examples=200)
@given(data=st.data())
def test_equals_the_sequences_split(cell, data):
    drawn = data.draw(configurations(cell, np.float64))
    check_split(drawn, data.draw(masks(drawn.T, drawn.B), "mask"))


@every_cell
@settings(max_examples=200, **fixtures)
@given(data=st.data())
def test_equals_them_with_checkpoints_and_threads(cell, data, limits, threads):
    drawn = data.draw(configurations(cell, np.float64))
    mask = data.draw(masks(drawn.T, drawn.B), "mask")
    limits(
        **tiny(
            data.draw(st.sampled_from([1, 2, 3, 10]), "rows of a piece"),
            data.draw(st.sampled_from([1, 4e9]), "operations between two stops"),
        ),
        **data.draw(st.sampled_from([{}, SHARED]), "limits"),
    )
    threads(data.draw(st.sampled_from([1, 2]), "threads"))
    checkpoint = data.draw(st.one_of(st.integers(1, 13), st.just("auto")), "checkpoint")
    check_split(drawn, mask, checkpoint=checkpoint)


LARGER = {
    "wide": {"T": 20, "B": 33, "I": 65, "H": 96, "num_layers": 2},
    "ragged": {"T": 60, "B": 5, "I": 8, "H": 48, "lengths": (60, 3, 17, 0, 41)},
    "both": {"T": 50, "B": 7, "I": 10, "H": 33, "bidirectional": True, "batch_first": True},
    "row": {"T": 100, "B": 1, "I": 20, "H": 130, "one_hot": True},
}


@every_cell
@pytest.mark.parametrize("sizes", LARGER.values(), ids=LARGER)
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_equals_them_when_larger(cell, sizes, density):
    drawn = Configuration(cell, **sizes)
    mask = np.random.default_rng(0).random((drawn.T, drawn.B)) < density
    for options in ({}, {"checkpoint": 7}, {"dtype": np.float32, "tolerance": 1e-5}):
        check_split(drawn, mask, **options)


def test_dropout_lies_between_layers_that_are_cut_alike():
    layer = fastrnn.GRU(3, 6, 2, dropout=0.5, dtype=np.float64, seed=0)
    x, mask = np.random.default_rng(1).normal(size=(9, 4, 3)), np.zeros((9, 4), bool)
    mask[3, 1] = mask[5] = True
    layer.seed_dropout(7)
    (factor,) = layer.dropout_masks(9, 4)
    layer.seed_dropout(7)
    (output, state), _ = layer.vjp(x, reset=mask)
    params = list(layer.params.values())
    below, h_0 = functional.gru(x, None, *params[:4], reset=mask)
    above, h_1 = functional.gru(below * factor, None, *params[4:], reset=mask)
    assert_close(output, above, atol=1e-14)
    assert_close(state, np.stack([h_0, h_1]), atol=1e-14)


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
@pytest.mark.parametrize("proj_size", [0, 5])
@pytest.mark.parametrize("density", [0.1, 0.5, 1])
def test_equals_them_within_a_budget_of_memory(both, proj_size, density, limits):
    limits(**tiny(4))
    drawn = Configuration(
        fastrnn.LSTM.cell, T=12, B=4, H=9, num_layers=2, proj_size=proj_size, bidirectional=both
    )
    mask = np.random.default_rng(1).random((12, 4)) < density
    _, plain = drawn.layer(np.float64).vjp(drawn.values(np.float64)["x"])
    for share in (2, 3):
        memory = plain.nbytes // share  # of what is kept without
        check_split(drawn, mask, checkpoint="auto", memory=memory)


@every_cell
@settings(max_examples=20)
@given(data=st.data())
def test_equals_torch_on_the_sequences_split(cell, data):
    drawn = data.draw(configurations(cell, np.float64))
    mask = data.draw(masks(drawn.T, drawn.B), "mask")
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)

    def torch_piece(one, given):
        return run_torch(one, layer.params, given, np.float64)

    expected = split(drawn, layer.params, values, mask, torch_piece)
    assert_equal(run_cut(drawn, layer, values, mask), expected)


def loop(drawn, params, values, mask):
    """Return what torch's cells compute step by step, each from `(1 - d) * state`."""
    torch, kind, own = torch_class(drawn.cell, "Cell")
    leaves = [torch.tensor(a, requires_grad=True) for a in (values["x"], *members(values["state"]))]
    below, final = leaves[0].unbind(0), []
    keep = 1 - torch.tensor(mask, dtype=torch.float64)[..., None]
    weights = {}
    for layer in range(drawn.num_layers):
        cell = kind(drawn.H if layer else drawn.I, drawn.H, bias=drawn.bias, **own).double()
        with torch.no_grad():
            for name, weight in cell.named_parameters():
                weights[f"d_{name}_l{layer}"] = weight
                weight.copy_(torch.tensor(params[f"{name}_l{layer}"]))
        state, outputs = [leaf[layer] for leaf in leaves[1:]], []
        for x_t, keep_t in zip(below, keep, strict=True):
            state = members(cell(x_t, bare([s * keep_t for s in state])))
            outputs.append(state[0])
        below = outputs
        final.append(state)
    results = [torch.stack(below), *map(torch.stack, zip(*final, strict=True))]
    given = [values["d_output"], *members(values["d_state"])]
    torch.autograd.backward(results, [torch.tensor(d) for d in given])
    output, *states = [r.detach().numpy() for r in results]
    grads = fastrnn.Gradients(
        leaves[0].grad.numpy(), bare([s.grad.numpy() for s in leaves[1:]]), {}
    )
    found = named(output, bare(states), grads)
    return found | {name: weight.grad.numpy() for name, weight in weights.items()}


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("density", [0, 0.1, 0.5, 1])
def test_equals_the_loop_over_time_with_a_mask(cell, num_layers, density):
    drawn = Configuration(cell, T=14, B=5, I=6, H=9, num_layers=num_layers)
    mask = np.random.default_rng(2).random((14, 5)) < density
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    got = run_cut(drawn, layer, values, mask)
    assert_equal(got, loop(drawn, layer.params, values, mask))


NAMES = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
NAMES |= {"weight_hr_l0": "w_hr"}


@every_cell
@settings(max_examples=200)
@given(data=st.data())
def test_functions_equal_the_reference(cell, data):
    drawn = data.draw(configurations(cell, np.float64).filter(lambda c: c.batched))
    drawn = replace(drawn, num_layers=1, bidirectional=False, batch_first=False)
    options = {
        "reset": data.draw(masks(drawn.T, drawn.B), "mask"),
        "lengths": drawn.array_lengths(),
        "reverse": data.draw(st.booleans(), "reverse"),
    }
    name, _, nonlinearity = cell.name.partition("_")
    options |= {"nonlinearity": nonlinearity} if nonlinearity else {}
    weights = {NAMES[n]: p for n, p in drawn.layer(np.float64).params.items()}
    values = drawn.values(np.float64)
    state, d_state = (
        None
        if values[n] is None
        else bare([None if s is None else s[0] for s in members(values[n])])
        for n in ("state", "d_state")
    )
    found = []
    for module in (functional, reference):
        vjp = getattr(module, f"{name}_vjp")
        (output, last), pullback = vjp(values["x"], state, **weights, **options)
        found.append(named(output, last, pullback(values["d_output"], d_state)))
        called, after = getattr(module, name)(values["x"], state, **weights, **options)
        assert_close(called, output, atol=0)
        for one, other in zip(members(after), members(last), strict=True):
            assert_close(one, other, atol=0)
    assert_equal(*found)


def test_every_single_reset_counts():
    """So that the checks above are not blind."""
    drawn = Configuration(fastrnn.GRU.cell, T=4, B=2)
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    plain = run_cut(drawn, layer, values, np.zeros((4, 2), bool))
    for t in range(4):
        mask = np.zeros((4, 2), bool)
        mask[t, 1] = True
        with pytest.raises(AssertionError, match="entries differ"):
            assert_equal(run_cut(drawn, layer, values, mask), plain)
