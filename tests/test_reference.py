"""The oracle against torch, against its own complex step, and against a textbook.

torch and `fastrnn.reference` were written by different people from different code; where they agree
to rounding in float64, the rest of the tests may trust the reference alone.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn import reference
from fastrnn.losses import softmax_cross_entropy
from tests.support.compare import assert_close

# name: gates, forward, vjp, options, projected
CELLS = {
    "rnn-tanh": (1, reference.rnn, reference.rnn_vjp, {"nonlinearity": "tanh"}, False),
    "rnn-relu": (1, reference.rnn, reference.rnn_vjp, {"nonlinearity": "relu"}, False),
    "lstm": (4, reference.lstm, reference.lstm_vjp, {}, False),
    "lstm-projected": (4, reference.lstm, reference.lstm_vjp, {}, True),
    "gru": (3, reference.gru, reference.gru_vjp, {}, False),
}
every_cell = pytest.mark.parametrize("cell", CELLS)


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def draw_case(cell, T, B, I, H, *, bias=True, seed=0, dtype=np.float64):  # noqa: E741
    """Random x, state, params, d_output and d_state for one cell, as a dict."""
    rng = np.random.default_rng(seed)
    gates, *_, projected = CELLS[cell]
    H_out = max(H - 1, 1) if projected else H

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    params = {"w_ih": normal(gates * H, I), "w_hh": normal(gates * H, H_out)}
    if bias:
        params |= {"b_ih": normal(gates * H), "b_hh": normal(gates * H)}
    if projected:
        params["w_hr"] = normal(H_out, H)
    pair = cell.startswith("lstm")
    return {
        "x": normal(T, B, I),
        "state": (normal(B, H_out), normal(B, H)) if pair else normal(B, H_out),
        "params": params,
        "d_output": normal(T, B, H_out),
        "d_state": (normal(B, H_out), normal(B, H)) if pair else normal(B, H_out),
    }


def run(cell, case, **options):
    """Everything the reference computes for a case, by name."""
    (output, state), pullback = CELLS[cell][2](
        case["x"], case["state"], **case["params"], **CELLS[cell][3], **options
    )
    grads = pullback(case["d_output"], case["d_state"])
    return named(output, state, grads.input, grads.state, grads.params)


def named(output, state, d_x, d_state, d_params):
    arrays = {"output": output, "d_x": d_x}
    arrays |= dict(zip(("h_n", "c_n"), flat(state), strict=False))
    arrays |= dict(zip(("d_h_0", "d_c_0"), flat(d_state), strict=False))
    return arrays | {f"d_{name}": d for name, d in d_params.items()}


def run_torch(torch, cell, case, lengths, reverse):
    """The same by torch.nn, from one direction of a bidirectional layer; lengths all above 0."""
    T, _, I = case["x"].shape  # noqa: E741
    H = len(case["params"]["w_hh"]) // CELLS[cell][0]
    H_out = case["params"]["w_hh"].shape[1]
    options = dict(CELLS[cell][3]) | ({"proj_size": H_out} if CELLS[cell][4] else {})
    kind = {"rnn": torch.nn.RNN, "lst": torch.nn.LSTM, "gru": torch.nn.GRU}[cell[:3]]
    layer = kind(I, H, bias="b_ih" in case["params"], bidirectional=True, **options).double()
    suffix = "_l0_reverse" if reverse else "_l0"
    weights = {
        name: getattr(layer, name.replace("w_", "weight_").replace("b_", "bias_") + suffix)
        for name in case["params"]
    }
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.tensor(case["params"][name]))

    def leaf(array):
        return torch.tensor(array, requires_grad=True)

    x, state = leaf(case["x"]), [leaf(s) for s in flat(case["state"])]
    both = [torch.stack([s, s]) for s in state]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, last = layer(packed, tuple(both) if len(both) == 2 else both[0])
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=T)
    output = output[..., H_out:] if reverse else output[..., :H_out]
    last = [s[int(reverse)] for s in flat(last)]
    cotangents = [torch.tensor(d) for d in (case["d_output"], *flat(case["d_state"]))]
    torch.autograd.backward([output, *last], cotangents)
    arrays = named(output, tuple(last), x.grad, tuple(s.grad for s in state), {})
    arrays |= {f"d_{name}": weight.grad for name, weight in weights.items()}
    return {name: tensor.detach().numpy() for name, tensor in arrays.items()}


@every_cell
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_equals_torch(cell, data):
    torch = pytest.importorskip("torch")
    T, B, I = (data.draw(st.integers(1, 6), name) for name in "TBI")  # noqa: E741
    H = data.draw(st.integers(2, 5), "H")
    bias, reverse = data.draw(st.booleans(), "bias"), data.draw(st.booleans(), "reverse")
    lengths = data.draw(st.lists(st.integers(1, T), min_size=B, max_size=B), "lengths")
    case = draw_case(cell, T, B, I, H, bias=bias, seed=data.draw(st.integers(0, 99), "seed"))
    got = run(cell, case, lengths=np.array(lengths), reverse=reverse)
    expected = run_torch(torch, cell, case, lengths, reverse)
    assert got.keys() == expected.keys()
    for name in got:
        assert_close(got[name], expected[name], atol=1e-12, rtol=1e-12, name=name)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_gradient_equals_complex_step(cell, reverse, bias):
    case = draw_case(cell, T=4, B=3, I=2, H=3, bias=bias)
    lengths = np.array([2, 4, 0])
    got = run(cell, case, lengths=lengths, reverse=reverse)
    arrays = {"x": case["x"], **dict(zip(("h_0", "c_0"), flat(case["state"]), strict=False))}
    arrays |= case["params"]
    states = ["h_0", "c_0"][: len(flat(case["state"]))]

    def loss(arrays):
        state = tuple(arrays[name] for name in states)
        params = {name: arrays[name] for name in case["params"]}
        output, last = CELLS[cell][1](
            arrays["x"],
            state if len(state) == 2 else state[0],
            **params,
            **CELLS[cell][3],
            lengths=lengths,
            reverse=reverse,
        )
        total = (output * case["d_output"]).sum()
        return total + sum(
            (s * d).sum() for s, d in zip(flat(last), flat(case["d_state"]), strict=True)
        )

    for name, array in arrays.items():
        expected = np.empty_like(array)
        for index in np.ndindex(array.shape):
            stepped = array.astype(complex)
            stepped[index] += 1e-20j
            expected[index] = loss(arrays | {name: stepped}).imag / 1e-20
        assert_close(got[f"d_{name}"], expected, atol=1e-13, rtol=1e-13, name=f"d_{name}")


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_row_of_a_ragged_batch_equals_the_row_alone(cell, reverse):
    case = draw_case(cell, T=5, B=4, I=3, H=3)
    lengths = np.array([3, 0, 5, 1])
    case["x"][np.arange(5)[:, None] >= lengths] = np.nan  # what is past the end is never read
    whole = run(cell, case, lengths=lengths, reverse=reverse)
    total = {name: 0.0 for name in whole if name[2:] in case["params"]}
    for b, length in enumerate(lengths):
        order = slice(None, None, -1) if reverse else slice(None)
        alone = case | {
            "x": case["x"][:length, b : b + 1][order],
            "d_output": case["d_output"][:length, b : b + 1][order],
        }
        for key in ("state", "d_state"):
            rows = tuple(s[b : b + 1] for s in flat(case[key]))
            alone[key] = rows if len(rows) == 2 else rows[0]
        row = run(cell, alone)
        for name in row.keys() - total.keys():
            got = whole[name]
            if name in ("output", "d_x"):
                assert not got[length:, b].any()
                got, row[name] = got[:length, b : b + 1], row[name][order]
            else:
                got = got[b : b + 1]
            assert_close(got, row[name], atol=1e-13, name=f"{name} of row {b}")
        for name in total:
            total[name] = total[name] + row[name]
    for name, expected in total.items():
        assert_close(whole[name], expected, atol=1e-12, rtol=1e-13, name=name)


@every_cell
def test_integers_equal_their_one_hot_rows(cell):
    case = draw_case(cell, T=4, B=3, I=5, H=2)
    indices = np.random.default_rng(1).integers(0, 5, (4, 3))
    got = run(cell, case | {"x": indices})
    expected = run(cell, case | {"x": np.eye(5)[indices]})
    assert got.pop("d_x") is None
    for name in got:
        assert_close(got[name], expected[name], atol=0, name=name)


@every_cell
def test_none_is_zero_and_a_pullback_is_pure(cell):
    case = draw_case(cell, T=3, B=2, I=2, H=2)
    zeros = case | {
        "state": tuple(0 * s for s in flat(case["state"])),
        "d_state": tuple(0 * s for s in flat(case["d_state"])),
    }
    if len(zeros["state"]) == 1:
        zeros |= {"state": zeros["state"][0], "d_state": zeros["d_state"][0]}
    before = {name: array.copy() for name, array in case["params"].items()}
    expected = run(cell, zeros)
    (output, state), pullback = CELLS[cell][2](case["x"], None, **case["params"], **CELLS[cell][3])
    for _ in range(2):
        grads = pullback(case["d_output"])
        got = named(output, state, grads.input, grads.state, grads.params)
        for name in expected:
            assert_close(got[name], expected[name], atol=0, name=name)
    nothing = pullback(None, (None, None) if isinstance(state, tuple) else None)
    assert not any(d.any() for d in [nothing.input, *flat(nothing.state), *nothing.params.values()])
    for name, array in before.items():
        assert_close(case["params"][name], array, atol=0, name=name)


@every_cell
@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (3, 2)], ids=["T0", "B0", "full"])
def test_float32_stays_float32(cell, shape):
    case = draw_case(cell, *shape, I=2, H=2, dtype=np.float32)
    for name, array in run(cell, case).items():
        assert array.dtype == np.float32, name


def test_relu_passes_nan():
    output, _ = reference.rnn(
        np.full((2, 1, 1), np.nan), None, np.ones((1, 1)), np.ones((1, 1)), nonlinearity="relu"
    )
    assert np.isnan(output).all()


def test_textbook_hello():
    """From h, e, l, l predict e, l, l, o; only a memory can tell the first l from the second."""
    vocabulary = "helo"
    inputs = np.array([[vocabulary.index(c)] for c in "hell"])  # (T, B) = (4, 1)
    targets = np.array([[vocabulary.index(c)] for c in "ello"])
    rng = np.random.default_rng(0)
    W_xh, W_hh, W_hy = (rng.normal(0, 0.5, shape) for shape in ((3, 4), (3, 3), (4, 3)))
    b_h, b_y = np.zeros(3), np.zeros(4)

    for _ in range(300):
        (h, _), pullback = reference.rnn_vjp(inputs, None, W_xh, W_hh, b_h)
        logits = h @ W_hy.T + b_y
        loss, d_logits = softmax_cross_entropy(logits, targets, reduction="sum")
        d_W_hy = np.einsum("tbv,tbh->vh", d_logits, h)
        d_b_y = d_logits.sum(axis=(0, 1))
        grads = pullback(d_logits @ W_hy).params
        W_xh -= 0.1 * grads["w_ih"]
        W_hh -= 0.1 * grads["w_hh"]
        b_h -= 0.1 * grads["b_ih"]
        W_hy -= 0.1 * d_W_hy
        b_y -= 0.1 * d_b_y

    assert loss < 0.5
    assert "".join(vocabulary[k] for k in logits.argmax(axis=-1)[:, 0]) == "ello"
