"""A single step: whichever way it is asked for, the bits of the general program; and when.

That the general program is right is test_layers.py's.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.engine import buffers
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.call import Call
from fastrnn.nn.program import Program, prepare
from fastrnn.nn.single_step import SingleStep, is_single
from tests.support.compare import assert_close
from tests.support.configurations import (
    Configuration,
    bare,
    both_dtypes,
    every_cell,
    layer_class,
    members,
    torch_class,
)
from tests.support.programs import general


def program_of(layer, rows, **options):
    return prepare(layer.spec, Call(1, rows, get_num_threads(), **options))


def by_program(layer, values):
    """By the program itself."""
    program = program_of(layer, values["x"].shape[1], keep=True)
    state = None if values["state"] is None else members(values["state"])
    output, final, tape = program.run(layer.weights(), values["x"], state)
    d_final = None if values["d_state"] is None else members(values["d_state"])
    d_x, d_initial, d_weights = program.pull(tape, values["d_output"], d_final)
    params = {
        name: d
        for own, arrays in zip(layer.names, d_weights, strict=True)
        for name, d in zip(own, arrays, strict=True)
        if name
    }
    return output, final, d_x, d_initial, params


def by_addresses(layer, values):
    """By the kernels, which take the places of arrays instead of arrays: as torch's modules do."""
    spec, dtype, x = layer.spec, layer.dtype, values["x"]
    rows, layers, hidden = x.shape[1], spec.num_layers, spec.hidden_size
    program = SingleStep(spec, Call(1, rows, 1, keep=True))

    def new(*shape):
        return np.full(shape, np.nan, dtype)

    def pair(state):
        arrays = [None if a is None else a for a in members(state)]
        places = [0 if a is None else a.ctypes.data for a in arrays]
        return places[0], places[1] if len(places) > 1 else 0

    def places(tuples):
        return [tuple(a.ctypes.data if a.size else 0 for a in own) for own in tuples]

    count = len(layer.cell.states)
    final, d_initial = ([new(layers, rows, hidden) for _ in range(count)] for _ in "xd")
    output, saved = new(1, rows, hidden), new(*program.saved_shape)
    weights, h_0 = layer.weights(), pair(values["state"])
    args = places(weights), x.ctypes.data, h_0, pair(tuple(final))
    program.forward(*args, output.ctypes.data, saved.ctypes.data, 0)
    d_weights = [tuple(new(*w.shape) if w.size else w for w in own) for own in weights]
    d_inputs = [new(*x.shape), *[new(1, rows, hidden) for _ in range(1, layers)]]
    d_pre = [(new(*program.pre_shape), new(*program.pre_shape)) for _ in range(layers)]
    d_output = values["d_output"]
    program.backward(
        places(weights),
        (x.ctypes.data, final[0].ctypes.data),
        (h_0[0], saved.ctypes.data),
        pair(values["d_state"]),
        0 if d_output is None else d_output.ctypes.data,
        [d.ctypes.data for d in d_inputs],
        pair(tuple(d_initial)),
        places(d_weights),
        places(d_pre),
    )
    params = {}
    for slot, (names, arrays) in enumerate(zip(layer.names, d_weights, strict=True)):
        params |= {name: d for name, d in zip(names, arrays, strict=True) if name}
        # What deferred products are made of: d_W = d_aᵀ x.
        d_a_x, d_a_h = d_pre[slot][1 if layer.cell.shared else 0], d_pre[slot][1]
        read = final[0][slot - 1] if slot else x[0]
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        assert_close(arrays[0], d_a_x.T @ read, atol=tolerance, rtol=tolerance)
        assert_close(arrays[3], d_a_h.sum(0) if layer.bias else arrays[3], atol=tolerance)
    return output, tuple(final), d_inputs[0], tuple(d_initial), params


def by_layer(layer, values):
    """By calls and by vjp of a layer."""
    for _ in range(2):  # the second is remembered
        called, state = layer(values["x"], values["state"])
    (output, final), pullback = layer.vjp(values["x"], values["state"])
    assert_close(called, output, atol=0)
    for one, other in zip(members(state), members(final), strict=True):
        assert_close(one, other, atol=0)
    grads = pullback(values["d_output"], values["d_state"])
    return output, members(final), grads.input, members(grads.state), grads.params


def by_cell(layer, values):
    """By a cell of one step, whose only output is its state."""
    kind, options = layer_class(layer.cell, suffix="Cell")
    step = kind(layer.input_size, layer.hidden_size, layer.bias, dtype=layer.dtype, **options)
    step.load_state_dict({n.removesuffix("_l0"): p for n, p in layer.params.items()})
    state, d_state = (
        None if values[name] is None else bare([s[0] for s in members(values[name])])
        for name in ("state", "d_state")
    )
    for _ in range(2):
        called = step(values["x"][0], state)
    new, pullback = step.vjp(values["x"][0], state)
    for one, other in zip(members(called), members(new), strict=True):
        assert_close(one, other, atol=0)
    grads = pullback(d_state)
    return (
        members(new)[0][None],
        [s[None] for s in members(new)],
        grads.input[None],
        [d[None] for d in members(grads.state)],
        {f"{name}_l0": d for name, d in grads.params.items()},
    )


def by_torch(layer, values):
    """By a module of fastrnn.torch."""
    torch, kind, options = torch_class(layer.cell)
    accelerate = pytest.importorskip("fastrnn.torch").accelerate
    module = kind(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        bias=layer.bias,
        dtype=torch.from_numpy(values["x"]).dtype,
        **options,
    )
    module.load_state_dict({n: torch.from_numpy(p.copy()) for n, p in layer.params.items()})
    accelerate(module)
    leaves = [torch.tensor(values["x"], requires_grad=True)]
    hx = None
    if values["state"] is not None:
        leaves += [torch.tensor(s, requires_grad=True) for s in members(values["state"])]
        hx = bare(leaves[1:])
    for _ in range(2):
        module.zero_grad()
        for leaf in leaves:
            leaf.grad = None
        output, final = module(leaves[0], hx)
        pairs = [(output, values["d_output"])]
        if values["d_state"] is not None:
            pairs += zip(members(final), members(values["d_state"]), strict=True)
        pairs = [(o, torch.from_numpy(d)) for o, d in pairs if d is not None]
        torch.autograd.backward([o for o, _ in pairs], [d for _, d in pairs])
    return (
        output.detach().numpy(),
        [s.detach().numpy() for s in members(final)],
        leaves[0].grad.numpy(),
        [leaf.grad.numpy() for leaf in leaves[1:]],
        {name: p.grad.numpy() for name, p in module.named_parameters()},
    )


WAYS = [by_program, by_addresses, by_layer, by_cell, by_torch]


@every_cell
@both_dtypes
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
@settings(max_examples=12)
@given(data=st.data())
def test_every_way_gives_the_bits_of_the_general_program(way, cell, dtype, data):
    lanes = buffers.lanes(np.dtype(dtype))
    size = st.sampled_from([2 * lanes, 4 * lanes])
    alone = way is by_cell
    drawn = Configuration(
        cell,
        T=1,
        B=data.draw(st.integers(1, 2)),
        I=data.draw(size),
        H=data.draw(size),
        num_layers=1 if alone else data.draw(st.integers(1, 3)),
        bias=data.draw(st.booleans()),
        given=(data.draw(st.booleans()),) * 2,
        cotangents=(not alone and data.draw(st.booleans()), alone or data.draw(st.booleans())),
    )
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    if way is by_torch and values["d_output"] is None and values["d_state"] is None:
        return  # there is nothing to go back from
    assert isinstance(program_of(layer, drawn.B, keep=True), SingleStep)
    (output, state), pullback = general(layer, values["x"], values["state"], keep=True)
    grads = pullback(values["d_output"], values["d_state"])
    got = way(layer, values)
    assert_close(got[0], output, atol=0)
    for one, other in zip(got[1], members(state), strict=True):
        assert_close(one, other, atol=0)
    assert_close(got[2], grads.input, atol=0)
    if len(got[3]):  # torch has gradients at states that were given alone
        for one, other in zip(got[3], members(grads.state), strict=True):
            assert_close(one, other, atol=0)
    assert got[4].keys() == grads.params.keys()
    for name, d in got[4].items():
        assert_close(d, grads.params[name], atol=0, name=name)


def test_which_steps_are_single(threads):
    threads(2)

    def single(layer, rows=1, **options):
        return is_single(layer.spec, Call(1, rows, get_num_threads(), **options))

    assert single(fastrnn.LSTM(16, 32, seed=0))
    assert single(fastrnn.GRUCell(16, 32, seed=0))
    assert not single(fastrnn.LSTM(16, 32, bidirectional=True, seed=0))
    assert not single(fastrnn.LSTM(16, 32, proj_size=8, seed=0))
    assert not single(fastrnn.GRU(16, 32, seed=0), 100)  # weights should be packed
    assert single(fastrnn.GRU(16, 32, seed=0), 64)
    large = fastrnn.GRU(1024, 1024, seed=0)
    assert not single(large)  # work for two
    threads(1)
    assert not single(large)  # the same way, and so the same bits, for any number of threads
    # Rows of weights that are no whole vectors have to be packed for the gradient.
    odd = fastrnn.LSTM(17, 32, seed=0)
    assert single(odd, keep=True, wrt_input=False)
    assert not single(odd, keep=True)
    assert not single(fastrnn.LSTM(16, 33, seed=0), keep=True, wrt_input=False)
    for options in ({"one_hot": True}, {"plain": False}):
        assert not single(fastrnn.LSTM(16, 32, seed=0), **options)


def test_a_step_that_is_not_single_is_the_general_program():
    layer = fastrnn.LSTM(16, 32, bidirectional=True, seed=0)
    assert type(program_of(layer, 1)) is Program


def test_wrong_states_are_refused_as_ever():
    layer = fastrnn.LSTMCell(16, 32, seed=0)
    x, h = np.full((2, 16), 0.5, np.float32), np.full((2, 32), 0.25, np.float32)
    for _ in range(3):
        expected = layer(x, (h, -h))
    assert_close(layer(x, (h[::-1], -h))[0], expected[0], atol=0)  # equal rows
    assert_close(layer(x, (h, None))[0], layer(x, (h, 0 * h))[0], atol=0)
    for wrong in (h, (h,), (h, h[:1]), (h, h.astype(np.float64)), (h, h, h)):
        with pytest.raises((ValueError, TypeError), match="LSTMCell"):
            layer(x, wrong)
