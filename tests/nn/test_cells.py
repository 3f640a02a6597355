"""One step at a time: RNNCell, LSTMCell and GRUCell against torch, streams against their layer.

Wrong arguments are in test_checks_parts.py.
"""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.cells import lstm
from fastrnn.engine import buffers
from tests.support.compare import assert_close, few_ulp
from tests.support.configurations import (
    Configuration,
    around,
    bare,
    configurations,
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
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
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
        assert_close(members(now)[0], output[t], atol=0)
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


@every_cell
@settings(max_examples=40)
@given(data=st.data())
def test_a_stream_is_its_layer(cell, data):
    """Bit for bit; but where a layer has so few steps that it packs no weights, to a few ulp."""
    drawn = data.draw(configurations(cell, np.float64))
    drawn = replace(
        drawn,
        bidirectional=False,
        lengths=None,
        batched=True,
        B=max(drawn.B, 1),
        T=data.draw(st.sampled_from([9, 14, drawn.T]), "steps"),
    )
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    x = values["x"].swapaxes(0, 1) if drawn.batch_first else values["x"]
    output, _ = layer(values["x"])
    output = output.swapaxes(0, 1) if drawn.batch_first else output
    stream = layer.stream(batch_size=drawn.B)
    for _ in range(2):
        for t in range(drawn.T):
            tolerance = 0 if drawn.T > 8 else few_ulp(output)
            assert_close(stream(x[t]), output[t], atol=tolerance, name=f"step {t}")
        stream.reset()


@every_cell
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_a_stream_of_one_takes_rows_without_a_batch(cell, dtype):
    layer = Configuration(cell, num_layers=2, H=9).layer(dtype)
    indices = np.array([3, 0, 1] * 3)
    expected = layer(indices)[0]
    assert expected.dtype == dtype
    forms = {
        "(I,)": np.eye(4, dtype=dtype)[indices],
        "(1, I)": np.eye(4, dtype=dtype)[indices][:, None],
        "()": indices,
        "(1,)": indices[:, None],
        "int8": indices.astype(np.int8),
        "big-endian": np.eye(4)[indices].astype(np.dtype(dtype).newbyteorder(">")),
    }
    for name, x in forms.items():
        stream = layer.stream()
        for t in range(9):
            y = stream(x[t])
            assert y.shape == ((1, 9) if name in ("(1, I)", "(1,)") else (9,))
            assert_close(y.reshape(9), expected[t], atol=0, name=name)


def test_a_stream_has_its_own_buffer_weights_and_state():
    layer = Configuration(lstm.CELL, H=5).layer(np.float64)
    stream, other = layer.stream(batch_size=2), layer.stream(batch_size=2)
    x = np.ones((2, 4))
    first = stream(x)
    kept = first.copy()
    assert np.shares_memory(stream(x), first)
    assert (first != kept).any()
    assert_close(other(x), kept, atol=0)  # the two share no state
    layer.params["weight_hh_l0"] *= 3
    layer.params["bias_ih_l0"] += 1
    stream.reset()
    assert_close(stream(x), kept, atol=0)  # the weights of the moment it was made
    assert (layer.stream(batch_size=2)(x) != kept).any()
    x[...] = -1  # what was read is no longer needed
    stream.reset()
    assert (stream(x) != kept).any()


@every_cell
def test_a_stream_allocates_nothing_that_stays(cell):
    layer = Configuration(cell, I=20, H=50, num_layers=2).layer(np.float32)
    stream, x = layer.stream(), np.ones(20, np.float32)
    for _ in range(3):
        stream(x)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(100):
            stream(x)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - before < 1000
    assert peak - before < 8000  # less than one step's pre-activations of anything
