"""Truncated BPTT is what its definition says, however the input comes.

The definition, slow: for every time, the reference runs the last k2 steps from the state before
them, and the errors of the last k1 go back.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import reference, truncated_bptt
from fastrnn.nn.arguments import bare
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell, members

NAMES = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
FUNCTIONS = {
    "rnn_tanh": (reference.rnn_vjp, {}),
    "rnn_relu": (reference.rnn_vjp, {"nonlinearity": "relu"}),
    "lstm": (reference.lstm_vjp, {}),
    "gru": (reference.gru_vjp, {}),
}


def by_definition(layer, x, d_output, k1, k2, state=None, lengths=None):
    """Return (T, B, ..) gradients of one layer: BPTT(k2; k1) of Williams and Peng, word by word."""
    vjp, options = FUNCTIONS[layer.cell.name]
    weights = {short: layer.params[f"{name}_l0"] for name, short in NAMES.items()}

    def run(begin, end, state):
        rest = None if lengths is None else np.clip(lengths - begin, 0, end - begin)
        return vjp(x[begin:end], state, **weights, **options, lengths=rest)

    if state is not None:
        state = bare(tuple(s[0] for s in members(state)))
    d_x = np.zeros(x.shape)
    d_params = {name: 0 for name in weights}
    d_state = None
    times = [0, *range(k1, len(x), k1), len(x)]
    for before, now in pairwise(times):
        begin = max(0, now - k2)
        (_, at), _ = run(0, begin, state)
        (output, _), pullback = run(begin, now, at)
        errors = np.zeros_like(output)
        errors[before - begin :] = d_output[before:now]
        grads = pullback(errors)
        d_x[begin:now] += grads.input
        for name, d in grads.params.items():
            d_params[name] = d_params[name] + d
        if begin == 0:
            new = members(grads.state)
            d_state = new if d_state is None else [d + e for d, e in zip(d_state, new, strict=True)]
    (_, last), _ = run(0, len(x), state)
    return last, d_state, d_x, {f"{n}_l0": d_params[short] for n, short in NAMES.items()}


def cases(cell):
    """Return a strategy of configurations with k1 and k2."""
    return st.builds(
        lambda T, B, k1, more, seed, ragged: (
            Configuration(
                cell,
                T=T,
                B=B,
                H=5,
                I=3,
                seed=seed,
                lengths=tuple(int(n) for n in np.random.default_rng(seed).integers(0, T + 1, B))
                if ragged
                else None,
            ),
            k1,
            k1 + more,
        ),
        st.integers(1, 25),
        st.integers(1, 3),
        st.integers(1, 9),
        st.integers(0, 20),
        st.integers(0, 99),
        st.booleans(),
    )


def chunked(x, random, axis=0):
    """Return x in a few pieces along time, some of them empty."""
    cuts = np.sort(random.integers(0, x.shape[axis] + 1, 3))
    return np.split(x, cuts, axis=axis)


def assert_gradients(got, expected, tolerance=1e-12):
    for name, d in expected.items():
        assert_close(got[name], d, atol=tolerance, rtol=tolerance, name=name)


@every_cell
@settings(max_examples=30)
@given(data=st.data())
def test_it_is_the_definition(cell, data):
    drawn, k1, k2 = data.draw(cases(cell))
    layer, values, lengths = (
        drawn.layer(np.float64),
        drawn.values(np.float64),
        drawn.array_lengths(),
    )
    x, state, d_output = values["x"], values["state"], values["d_output"]
    last, d_state, d_x, d_params = by_definition(layer, x, d_output, k1, k2, state, lengths)
    after, grads = truncated_bptt(layer, x, d_output, k1, k2, state, lengths, wrt_input=True)
    assert_gradients(grads.params, d_params)
    assert_close(grads.input, d_x, atol=1e-12, rtol=1e-12)
    for got, expected in zip(members(after), members(last), strict=True):
        assert_close(got[0], expected, atol=1e-12)
    for got, expected in zip(members(grads.state), d_state, strict=True):
        assert_close(got[0], expected, atol=1e-12, rtol=1e-12)

    def of_chunk(output, t):
        assert len(output) in (k1, len(x) - t)
        return d_output[t : t + len(output)]

    random = np.random.default_rng(drawn.seed)
    after, of_chunks = truncated_bptt(layer, chunked(x, random), of_chunk, k1, k2, state, lengths)
    assert of_chunks.input is None
    assert_gradients(of_chunks.params, d_params)

    def added(grads):
        for name, d in grads.params.items():
            total[name] = total.get(name, 0) + d

    total = {}
    after, none = truncated_bptt(layer, x, d_output, k1, k2, state, lengths, update=added)
    assert none is None
    assert_gradients(total, d_params)


@every_cell
@pytest.mark.parametrize("k1", [1, 3, 7, 20, 50])
def test_going_back_to_the_begin_is_all_of_bptt(cell, k1):
    drawn = Configuration(cell, T=20, B=2, I=3, num_layers=2, batch_first=True)
    layer, values = drawn.layer(np.float64), drawn.values(np.float64)
    _, pullback = layer.vjp(values["x"], values["state"])
    expected = pullback(values["d_output"])
    _, grads = truncated_bptt(
        layer, values["x"], values["d_output"], k1, max(k1, 20), values["state"], wrt_input=True
    )
    assert_gradients(grads.params, expected.params)
    assert_close(grads.input, expected.input, atol=1e-12)
    for got, wanted in zip(members(grads.state), members(expected.state), strict=True):
        assert_close(got, wanted, atol=1e-12)


def test_the_checker_finds_it_right():
    """Of the function whose states where windows start are constants, it is the gradient."""
    layer = fastrnn.GRU(2, 3, dtype=np.float64, seed=0)
    x, k1, k2 = np.random.default_rng(0).normal(size=(11, 2, 2)), 3, 5
    times = [0, *range(k1, len(x), k1), len(x)]
    begins = [max(0, now - k2) for now in times[1:]]
    constants = [layer(x[:begin])[1] for begin in begins]

    def forward(w_ih, w_hh, b_ih, b_hh):
        parts = []
        for (before, now), begin, state in zip(pairwise(times), begins, constants, strict=True):
            output, _ = fastrnn.functional.gru(x[begin:now], state[0], w_ih, w_hh, b_ih, b_hh)
            parts.append(output[before - begin :])
        return np.concatenate(parts)

    def vjp(*given):
        *weights, d_output = given
        other = fastrnn.GRU(2, 3, dtype=np.float64)
        other.load_state_dict(dict(zip(layer.params, weights, strict=True)))
        return tuple(truncated_bptt(other, x, d_output, k1, k2)[1].params.values())

    def whole(*weights):
        return forward(*weights), lambda d_output: vjp(*weights, d_output)

    assert fastrnn.gradcheck(whole, tuple(layer.params.values())).ok


def test_updates_are_seen_by_all_that_comes_later():
    """Each window is computed whole, with the parameters as they are then."""
    x = np.random.default_rng(0).normal(size=(11, 2, 2))
    layer, slow = (fastrnn.LSTM(2, 3, dtype=np.float64, seed=0) for _ in range(2))
    seen = []

    def descend(layer, params):
        for name, d in params.items():
            layer.params[name] -= 0.3 * d

    def d_output(output, t):
        seen.append(output)
        return output - 0.5

    state, _ = truncated_bptt(layer, x, d_output, 2, 5, update=lambda g: descend(layer, g.params))
    states = {0: None}  # before steps
    for now in (2, 4, 6, 8, 10, 11):
        begin, before = max(0, now - 5), (now - 1) // 2 * 2
        (output, _), pullback = slow.vjp(x[begin:now], states[begin])
        for t in range(begin + 1, now + 1):
            states[t] = slow(x[begin:t], states[begin])[1]
        errors = np.zeros_like(output)
        errors[before - begin :] = output[before - begin :] - 0.5
        assert_close(seen.pop(0), output[before - begin :], atol=1e-13)
        descend(slow, pullback(errors).params)
    assert not seen
    assert_gradients(layer.params, slow.params)
    for got, expected in zip(state, states[11], strict=True):
        assert_close(got, expected, atol=1e-13)


def test_integers_unbatched_and_files(tmp_path):
    layer = fastrnn.RNN(7, 4, seed=0)
    codes = np.random.default_rng(0).integers(0, 7, 40)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    d_output = np.ones((40, 4), np.float32)
    expected = layer.vjp(codes)[1](d_output)
    for x in (codes, mapped):
        _, grads = truncated_bptt(layer, x, d_output, 10, 40)
        assert_gradients(grads.params, expected.params, 1e-5)
    batch_first = fastrnn.RNN(7, 4, seed=0, batch_first=True)
    pieces = (part[None] for part in np.split(codes, [5, 5, 31]))
    _, grads = truncated_bptt(batch_first, pieces, lambda out, t: np.ones_like(out), 10, 40)
    assert_gradients(grads.params, expected.params, 1e-5)


def test_no_steps():
    layer = fastrnn.LSTM(3, 4, seed=0)
    empty = np.ones((0, 2, 3), np.float32)
    for x, d_output in ((empty, np.ones((0, 2, 4), np.float32)), ([empty], lambda out, t: out)):
        (h_n, _), grads = truncated_bptt(layer, x, d_output, 2, 4)
        assert h_n.shape == (1, 2, 4)
        assert not any(d.any() for d in grads.params.values())


X = np.ones((6, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": np.ones(3)}, TypeError, "layer is a ndarray; expected a fastrnn.RNN"),
        ({"layer": fastrnn.LSTM(3, 4, bidirectional=True)}, ValueError, "bidirectional"),
        ({"k1": 0}, ValueError, "k1 must be at least 1"),
        ({"k2": 1.5}, TypeError, "k2 should be of type int"),
        ({"k1": 4, "k2": 3}, ValueError, "k2 is 3; expected at least k1 = 4"),
        ({"x": 3}, TypeError, "x is a int; expected an array, or an iterable of chunks"),
        ({"x": []}, ValueError, "x has no chunks"),
        (
            {"x": [X, X[:, :1]], "d_output": lambda output, t: output},
            ValueError,
            "has 1 sequences, the one before 2",
        ),
        ({"x": [X]}, TypeError, "d_output is a ndarray and x comes in chunks"),
        ({"x": X.astype(float)}, ValueError, "input is float64 but the weights are float32"),
        ({"d_output": np.ones((5, 2, 4), np.float32)}, ValueError, "6 steps on axis 0"),
        ({"d_output": np.ones((6, 2, 5), np.float32)}, ValueError, "d_output has shape"),
        ({"d_output": lambda output, t: output[1:]}, ValueError, "d_output has shape"),
        ({"lengths": np.array([7, 1])}, ValueError, r"lengths\[0\] is 7"),
        ({"update": 3}, TypeError, "update is a int; expected a function"),
        ({"wrt_input": True, "x": np.ones((6, 2), int)}, ValueError, "one array of floats"),
        ({"state": (np.ones((1, 3, 4), np.float32), None)}, ValueError, "h_0 has shape"),
    ],
)
def test_bad_arguments(options, error, message):
    usual = {
        "layer": fastrnn.LSTM(3, 4),
        "x": X,
        "d_output": np.ones((6, 2, 4), np.float32),
        "k1": 2,
        "k2": 2,
    }
    with pytest.raises(error, match=message):
        truncated_bptt(**{**usual, **options})


def test_training_and_dropout_are_the_layer_s():
    layer = fastrnn.LSTM(3, 4, 2, dropout=1.0, seed=0)
    _, grads = truncated_bptt(layer, X, np.ones((6, 2, 4), np.float32), 2, 4)
    assert not grads.params["weight_ih_l0"].any()
    _, grads = truncated_bptt(layer, X, np.ones((6, 2, 4), np.float32), 2, 4, training=False)
    assert grads.params["weight_ih_l0"].any()
