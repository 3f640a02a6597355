"""fastrnn.trace against torch's autograd, in loops written by hand that keep every gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.cells import CELLS
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import (
    Configuration,
    both_dtypes,
    configurations,
    every_cell,
    members,
    run,
)

DTYPE = np.float64


def torch_steps():
    """Return, by the cell's name, one step in torch: (pre-activations, activations, states)."""
    torch = pytest.importorskip("torch")

    def lstm(a_x, a_h, h, c):
        a = (a_x + a_h).chunk(4)
        [x.retain_grad() for x in a]
        i, f, g, o = a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()
        c = f * c + i * g
        return a, (i, f, g, o), (o * c.tanh(), c)

    def gru(a_x, a_h, h):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = a_x.chunk(3), a_h.chunk(3)
        a = [x_r + h_r, x_z + h_z]
        r, z = a[0].sigmoid(), a[1].sigmoid()
        a.append(x_n + r * h_n)
        [x.retain_grad() for x in a]
        n = a[2].tanh()
        return a, (r, z, n), ((1 - z) * n + z * h,)

    def rnn(function):
        def step(a_x, a_h, h):
            a = a_x + a_h
            a.retain_grad()
            new = function(a)
            return (a,), (new,), (new,)

        return step

    return {"lstm": lstm, "gru": gru, "rnn_tanh": rnn(torch.tanh), "rnn_relu": rnn(torch.relu)}


def by_hand(configuration, layer, values):
    """Return what trace returns, as {pass: {name: (T, B, ...)}}, from loops in torch."""
    torch = pytest.importorskip("torch")
    self, cell = configuration, configuration.cell
    step = torch_steps().get(cell.name)
    if step is None:
        pytest.skip(f"no loop in torch for {cell.name}")

    def inside(array):  # (T, B, ...)
        if not self.batched:
            return array[:, None]
        return array.swapaxes(0, 1) if self.batch_first else array

    def states_of(name):
        given = values[name] if values[name] is not None else (None,) * len(cell.states)
        widths = [self.proj_size or self.H] + [self.H] * (len(cell.states) - 1)
        rows = self.num_layers * (1 + self.bidirectional)
        whole = [
            np.zeros((rows, self.B, w)) if s is None else s.reshape(rows, self.B, w)
            for s, w in zip(members(given), widths, strict=True)
        ]
        return [torch.tensor(s) for s in whole]

    params = {n: torch.tensor(v, requires_grad=True) for n, v in layer.params.items()}
    x = values["x"] if not self.one_hot else np.eye(self.I)[values["x"]]
    x = torch.tensor(np.ascontiguousarray(inside(x)))
    first, d_final = states_of("state"), states_of("d_state")
    lengths = self.lengths or (self.T,) * self.B
    loss, found, read = torch.zeros((), dtype=x.dtype), {}, x
    for depth in range(self.num_layers):
        outputs = []
        for direction in range(1 + self.bidirectional):
            index = depth * (1 + self.bidirectional) + direction
            suffix = f"l{depth}" + "_reverse" * direction
            kept, output = {}, {}
            names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
            w_ih, w_hh, b_ih, b_hh, w_hr = (params.get(f"{name}_{suffix}") for name in names)
            for b in range(self.B):
                states = [s[index, b] for s in first]
                times = range(lengths[b])
                for t in reversed(times) if direction else times:
                    a_x, a_h = w_ih @ read[t, b], w_hh @ states[0]
                    if b_ih is not None:
                        a_x, a_h = a_x + b_ih, a_h + b_hh
                    a, gates, states = step(a_x, a_h, *states)
                    states = list(states)
                    if w_hr is not None:
                        states[0] = w_hr @ states[0]
                    # The state as later steps and the output see it.
                    states = [s.clone() for s in states]
                    [s.retain_grad() for s in states]
                    kept[t, b], output[t, b] = (a, gates, states), states[0]
                loss = loss + sum(
                    (s * d[index, b]).sum() for s, d in zip(states, d_final, strict=True)
                )
            zero = torch.zeros(self.proj_size or self.H, dtype=x.dtype)
            outputs.append(
                torch.stack(
                    [
                        torch.stack([output.get((t, b), zero) for b in range(self.B)])
                        for t in range(self.T)
                    ]
                )
            )
            found[suffix] = kept
        read = torch.cat(outputs, dim=2)
    if values["d_output"] is not None:
        d_output = torch.tensor(np.ascontiguousarray(inside(values["d_output"])))
        loss = loss + (read * d_output).sum()
    if loss.requires_grad:
        loss.backward()

    def numbers(tensor, gradient):
        if gradient:
            return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        return tensor.detach().numpy()

    result = {}
    for suffix, kept in found.items():
        arrays = {}
        parts = (
            (0, cell.gates, True),
            (1, cell.gates, False),
            (2, cell.states, False),
            (2, cell.states, True),
        )
        for which, names, gradient in parts:
            for i, name in enumerate(names):
                wide = (self.proj_size or self.H) if which == 2 and i == 0 else self.H
                array = np.zeros((self.T, self.B, wide))
                for (t, b), tensors in kept.items():
                    array[t, b] = numbers(tensors[which][i], gradient)
                field = {0: "d_preactivations", 1: "activations"}.get(
                    which, "d_states" if gradient else "states"
                )
                arrays[field, name] = inside(array) if self.batched else array[:, 0]
        result[suffix] = arrays
    return result


def traced(configuration, layer, values):
    return fastrnn.trace(
        layer,
        values["x"],
        values["d_output"],
        values["state"],
        configuration.array_lengths(),
        values["d_state"],
    )


def compare(configuration):
    layer = configuration.layer(DTYPE)
    values = configuration.values(DTYPE)
    t = traced(configuration, layer, values)
    expected = by_hand(configuration, layer, values)
    assert list(t) == list(expected)
    for name, arrays in expected.items():
        for (field, part), array in arrays.items():
            got = getattr(t[name], field)[part]
            assert_close(got, array, atol=1e-12, rtol=1e-12, name=f"{name}.{field}[{part}]")
    for field in ("activations", "states", "d_preactivations", "d_states"):
        names = configuration.cell.gates if "activations" in field else configuration.cell.states
        assert list(getattr(t["l0"], field)) == list(names)
    return t


BOTH = {"num_layers": 2, "bidirectional": True}
CASES = {
    "plain": {},
    "stacked": {"num_layers": 3},
    "both ways": BOTH,
    "lengths": {"lengths": (3, 0, 5), **BOTH},
    "batch first": {"batch_first": True, "lengths": (1, 5, 4), **BOTH},
    "unbatched": {"batched": False, "B": 1, **BOTH},
    "one-hot": {"one_hot": True, "lengths": (5, 2, 5), **BOTH},
    "only the output": {"cotangents": (True, False)},
    "only the state": {"cotangents": (False, True), **BOTH},
    "no biases": {"bias": False, "given": (False, False)},
    "projection": {"proj_size": 2, **BOTH},
    "projection, lengths": {"proj_size": 4, "H": 17, "lengths": (2, 5, 0), **BOTH},
}


@every_cell
@pytest.mark.parametrize("case", CASES)
def test_equals_autograd(cell, case):
    options = CASES[case]
    if "proj_size" in options and "c" not in cell.states:
        return
    compare(Configuration(cell, **options))


@every_cell
@settings(max_examples=15)
@given(data=st.data())
def test_equals_autograd_at_any_sizes(cell, data):
    configuration = data.draw(configurations(cell, DTYPE, most_steps=5))
    if configuration.B and configuration.T:
        compare(configuration)


@every_cell
@pytest.mark.parametrize("B", [1, 40])
def test_threads_that_share_the_steps_change_nothing(cell, threads, B):
    """Large enough for threads in lockstep, B = 1, and for slices of the batch."""
    configuration = Configuration(cell, T=3, B=B, I=8, H=400 if B == 1 else 160)
    layer, values = configuration.layer(DTYPE), configuration.values(DTYPE)
    results = []
    for count in (1, 2):
        threads(count)
        t = traced(configuration, layer, values)
        results.append(t["l0"])
    assert_bits(*results)


@every_cell
@settings(max_examples=10)
@given(data=st.data())
@both_dtypes
def test_is_the_training_pass(cell, dtype, data):
    """Output, state and gradients of the layer's own vjp; the states are the output again."""
    configuration = data.draw(configurations(cell, dtype))
    layer, values = configuration.layer(dtype), configuration.values(dtype)
    t = traced(configuration, layer, values)
    expected = run(layer, values, configuration.array_lengths())
    assert_bits(t.output, expected["output"])
    eps = 1e-5 if dtype == np.float32 else 1e-12
    assert_close(t.gradients.params["weight_hh_l0"], expected["d_weight_hh_l0"], atol=eps, rtol=eps)
    if t.gradients.input is not None:
        assert_close(t.gradients.input, expected["d_x"], atol=eps, rtol=eps)
    flat = [a for one in t.values() for field in one for a in field.values()]
    assert all(a.dtype == dtype and a.shape[:-1] == t.output.shape[:-1] for a in flat)
    top = f"l{configuration.num_layers - 1}"
    E = configuration.proj_size or configuration.H
    assert_bits(t[top].states["h"], t.output[..., :E])


def test_without_gradients_nothing_is_run_back():
    layer = fastrnn.GRU(3, 4, seed=0)
    t = fastrnn.trace(layer, np.ones((5, 2, 3), np.float32))
    assert t.gradients is None
    assert t["l0"].d_states is None
    assert t["l0"].d_preactivations is None
    assert t["l0"].activations["z"].shape == (5, 2, 4)
    assert repr(t) == "Trace(l0: (5, 2, 4))"
    assert len(t) == 1
    with pytest.raises(KeyError, match=r"'l1': the layer has \['l0'\]"):
        t["l1"]


def test_dropout_is_off():
    layer = fastrnn.LSTM(3, 4, num_layers=2, dropout=0.9, seed=0)
    x = np.ones((5, 2, 3), np.float32)
    t = fastrnn.trace(layer, x, np.ones((5, 2, 4), np.float32))
    assert_bits(t.output, layer(x)[0])


def test_bad_arguments_are_refused_as_by_the_layer():
    lstm, x = fastrnn.LSTM(3, 4, seed=0), np.ones((5, 2, 3), np.float32)
    for wrong in (None, "lstm", fastrnn.LSTMCell(3, 4), fastrnn.Linear(3, 4)):
        with pytest.raises(TypeError, match=r"trace: layer is a .*load_state_dict"):
            fastrnn.trace(wrong, x)
    with pytest.raises(ValueError, match="LSTM: input has shape"):
        fastrnn.trace(lstm, x[..., :2])
    with pytest.raises(ValueError, match="LSTM: d_output has shape"):
        fastrnn.trace(lstm, x, x)
    with pytest.raises(TypeError, match="LSTM: d_state is a ndarray"):
        fastrnn.trace(lstm, x, d_state=np.ones((1, 2, 4), np.float32))
    with pytest.raises(ValueError, match="lengths"):
        fastrnn.trace(lstm, x, lengths=np.array([6, 1]))


@every_cell
def test_the_loop_above_covers_every_cell(cell):
    assert cell in CELLS
    assert cell.name in torch_steps()
