"""One step at a time: RNNCell, LSTMCell and GRUCell against torch, and against a layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.engine import buffers
from tests.support.bad_input import B, H, I, X, floats
from tests.support.compare import assert_close
from tests.support.configurations import (
    Configuration,
    around,
    bare,
    both_dtypes,
    every_cell,
    layer_class,
    members,
    named,
    torch_class,
)

LANES = buffers.lanes(np.dtype(np.float64))


def cell_of(cell, I, H, dtype=np.float64, **options):  # noqa: E741
    kind, own = layer_class(cell, suffix="Cell")
    return kind(I, H, **own, dtype=dtype, seed=0, **options)


@every_cell
@settings(max_examples=40)
@given(data=st.data())
def test_a_cell_equals_torchs(cell, data):
    torch, kind, own = torch_class(cell, "Cell")
    I, H = (data.draw(st.sampled_from(around(LANES)), name) for name in "IH")  # noqa: E741
    rows = data.draw(st.sampled_from([(), (1,), (2,), (7,)]), "batch")
    bias, with_state = data.draw(st.booleans(), "bias"), data.draw(st.booleans(), "state")
    ours = cell_of(cell, I, H, bias=bias)
    theirs = kind(I, H, bias=bias, **own).double()
    theirs.load_state_dict({n: torch.tensor(p) for n, p in ours.state_dict().items()})
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    x = rng.normal(size=(*rows, I))
    states = [rng.normal(size=(*rows, H)) * with_state for _ in cell.states]
    cotangents = [rng.normal(size=(*rows, H)) for _ in cell.states]
    new, pullback = ours.vjp(x, bare(states) if with_state else None)
    grads = pullback(bare(cotangents))
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    expected = theirs(leaves[0], bare(leaves[1:]))
    torch.autograd.backward(list(members(expected)), [torch.tensor(d) for d in cotangents])
    tolerance = {"atol": 1e-12, "rtol": 1e-12}
    for got, want in zip(members(new), members(expected), strict=True):
        assert_close(got, want.detach().numpy(), **tolerance)
    for got, leaf in zip((grads.input, *members(grads.state)), leaves, strict=True):
        assert_close(got, leaf.grad.numpy(), **tolerance)
    assert list(grads.params) == [name for name, _ in theirs.named_parameters()]
    for name, param in theirs.named_parameters():
        assert_close(grads.params[name], param.grad.numpy(), **tolerance, name=name)
    for got, want in zip(members(ours(x, bare(states))), members(new), strict=True):
        assert_close(got, want, atol=0)


@every_cell
@both_dtypes
def test_a_cell_equals_a_layer_of_one_step_bit_for_bit(cell, dtype):
    configuration = Configuration(cell, T=1, B=5, I=6, H=2 * LANES + 1)
    layer, values = configuration.layer(dtype), configuration.values(dtype)
    step = cell_of(cell, 6, 2 * LANES + 1, dtype)
    step.load_state_dict({n.removesuffix("_l0"): p for n, p in layer.params.items()})
    (output, state), pullback = layer.vjp(values["x"], values["state"])
    expected = named(output, state, pullback(None, values["d_state"]))
    new, pull = step.vjp(values["x"][0], bare([s[0] for s in members(values["state"])]))
    grads = pull(bare([d[0] for d in members(values["d_state"])]))
    assert_close(grads.input, expected["d_x"][0], atol=0)
    for i, (s, d) in enumerate(zip(members(new), members(grads.state), strict=True)):
        assert s.dtype == d.dtype == dtype
        assert_close(s, expected[f"state {i}"][0], atol=0)
        assert_close(d, expected[f"d_state {i}"][0], atol=0)
    for name, d in grads.params.items():
        assert_close(d, expected[f"d_{name}_l0"], atol=0, name=name)


@every_cell
def test_a_cell_takes_indices_and_none(cell):
    step = cell_of(cell, 5, 3)
    index = np.array([4, 0, 4])
    rows = np.eye(5)[index]
    new, pullback = step.vjp(index)
    expected, pull = step.vjp(rows)
    for got, want in zip(members(new), members(expected), strict=True):
        assert_close(got, want, atol=0)
    single = step(np.array(4))
    assert members(single)[0].shape == (3,)
    for got, want in zip(members(single), members(new), strict=True):
        assert_close(got, want[0], atol=0)
    d = [np.ones_like(s) for s in members(new)]
    grads, dense = pullback(bare(d)), pull(bare(d))
    assert grads.input is None
    for name, got in grads.params.items():
        assert_close(got, dense.params[name], atol=0, name=name)
    nothing = pullback(None)
    assert not any(a.any() for a in [*members(nothing.state), *nothing.params.values()])
    if len(d) == 2:
        assert_close(
            pullback((None, d[1])).params["weight_ih"],
            pullback((0 * d[0], d[1])).params["weight_ih"],
            atol=0,
        )


@every_cell
def test_cells_in_a_loop_are_the_layer(cell):
    """What torch's documentation does with a cell: the same numbers, and the chain rule by hand."""
    configuration = Configuration(cell, T=4, B=2, I=3, H=5)
    layer, values = configuration.layer(np.float64), configuration.values(np.float64)
    step = cell_of(cell, 3, 5)
    step.load_state_dict({n.removesuffix("_l0"): p for n, p in layer.params.items()})
    (output, state), pullback = layer.vjp(values["x"], values["state"])
    expected = named(output, state, pullback(values["d_output"], values["d_state"]))
    now, pulls = bare([s[0] for s in members(values["state"])]), []
    for t in range(4):
        now, pull = step.vjp(values["x"][t], now)
        pulls.append(pull)
        # Sums in another order: a lone step reads the weights where they are.
        assert_close(members(now)[0], output[t], atol=4 * np.finfo(float).eps)
    d_state, total = [d[0] for d in members(values["d_state"])], {}
    for t in reversed(range(4)):
        d_state[0] = d_state[0] + values["d_output"][t]
        grads = pulls[t](bare(d_state))
        assert_close(grads.input, expected["d_x"][t], atol=1e-14)
        d_state = list(members(grads.state))
        total = {n: total.get(n, 0) + d for n, d in grads.params.items()}
    for name, d in total.items():
        assert_close(d, expected[f"d_{name}_l0"], atol=1e-13, rtol=1e-13, name=name)


@every_cell
@pytest.mark.parametrize("batch", [1, 4])
def test_nbytes_of_a_cell(cell, batch):
    """Per row: what the cell saves, and two integers of the batch."""
    step = cell_of(cell, 3, LANES)
    _, pullback = step.vjp(np.ones((batch, 3)))
    assert pullback.nbytes == batch * (len(cell.saved) * LANES * 8 + 16)


SMALL = {
    "lstm": fastrnn.LSTMCell(I, H, seed=0),
    "gru": fastrnn.GRUCell(I, H, seed=0),
    "rnn": fastrnn.RNNCell(I, H, seed=0),
}


BAD = {
    "list": ("lstm", [1.0] * I, None, TypeError, "LSTMCell: input is a list"),
    "3-d": ("lstm", X, None, ValueError, r"LSTMCell: input has shape \(4, 3, 5\)"),
    "0-d": ("gru", np.float32(1), None, ValueError, r"GRUCell: input has shape \(\)"),
    "size": ("gru", floats(B, I + 1), None, ValueError, "last axis must be input_size = 5"),
    "float64": ("rnn", floats(B, I, dtype=float), None, ValueError, "RNNCell: input is float64"),
    "index": ("rnn", np.array([0, I]), None, IndexError, r"RNNCell: input\[0, 1\] is 5"),
    "h": ("gru", X[0], floats(B, H + 1), ValueError, r"h has shape \(3, 7\); .* = \(3, 6\)"),
    "h unbatched": ("gru", X[0], floats(H), ValueError, r"h has shape \(6,\)"),
    "h batched": ("gru", X[0, 0], floats(1, H), ValueError, r"h has shape \(1, 6\); .* = \(6,\)"),
    "bare": ("lstm", X[0], floats(B, H), TypeError, r"state is a ndarray; .*\(h, c\)"),
    "tuple": ("gru", X[0], (floats(B, H),), TypeError, "state is a tuple; expected one array"),
    "c dtype": ("lstm", X[0], (None, floats(B, H, dtype=float)), ValueError, "c is float64"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("cell", "x", "state", "error", "message"), BAD.values(), ids=BAD)
def test_bad_arguments(cell, x, state, error, message):
    for call in (SMALL[cell], SMALL[cell].vjp):
        with pytest.raises(error, match=message):
            call(x, state)
