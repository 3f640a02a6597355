"""rnn, lstm and gru on plain arrays: equal to the oracle, to the layers, and to themselves.

That the oracle equals torch is test_reference.py's.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import functional as F
from fastrnn import reference
from fastrnn.engine import buffers
from tests.support.bad_input import B, H, I, X, floats, index_with
from tests.support.compare import assert_close
from tests.support.configurations import around, bare, members, named

LANES = buffers.lanes(np.dtype(np.float64))
# name: gates, members of the state, options
KINDS = {
    "rnn-tanh": (1, 1, {"nonlinearity": "tanh"}),
    "rnn-relu": (1, 1, {"nonlinearity": "relu"}),
    "lstm": (4, 2, {}),
    "gru": (3, 1, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(kind, T, B, I, H, P=0, bias=True, seed=0, dtype=np.float64):  # noqa: E741
    """Random x, state, params, d_output and d_state, as a dict."""
    rng = np.random.default_rng(seed)
    gates, states, _ = KINDS[kind]
    E = P or H

    def normal(*shape):
        return (rng.normal(size=shape) * 0.7).astype(dtype)

    params = {"w_ih": normal(gates * H, I), "w_hh": normal(gates * H, E) / H**0.5}
    params |= {"b_ih": normal(gates * H), "b_hh": normal(gates * H)} if bias else {}
    params |= {"w_hr": normal(P, H)} if P else {}
    params = {name: p.astype(dtype) for name, p in params.items()}
    shapes = [(B, E), (B, H)][:states]
    return {
        "x": normal(T, B, I),
        "params": params,
        "state": bare([normal(*s) for s in shapes]),
        "d_output": normal(T, B, E),
        "d_state": bare([normal(*s) for s in shapes]),
    }


def run(module, kind, case, **options):
    vjp = getattr(module, kind.partition("-")[0] + "_vjp")
    (output, state), pullback = vjp(
        case["x"], case["state"], **case["params"], **KINDS[kind][2], **options
    )
    return named(output, state, pullback(case["d_output"], case["d_state"]))


@every_kind
@settings(max_examples=40)
@given(data=st.data())
def test_equals_the_reference(kind, data):
    T = data.draw(st.sampled_from([1, 2, 5, 9, 0]), "T")
    B = data.draw(st.sampled_from([1, 2, 6, 9, 0]), "B")
    I, H = (data.draw(st.sampled_from(around(LANES)), name) for name in "IH")  # noqa: E741
    P = data.draw(st.sampled_from([0, 1, max(H - 1, 1)]), "P") if kind == "lstm" and H > 1 else 0
    bias, reverse = data.draw(st.booleans(), "bias"), data.draw(st.booleans(), "reverse")
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
    lengths = None if lengths is None else np.array(lengths, int)
    case = draw(kind, T, B, I, H, P, bias, data.draw(st.integers(0, 99), "seed"))
    if data.draw(st.booleans(), "one_hot"):
        case["x"] = np.random.default_rng(0).integers(0, I, (T, B))
    got = run(F, kind, case, lengths=lengths, reverse=reverse)
    expected = run(reference, kind, case, lengths=lengths, reverse=reverse)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        if array is None:
            assert got[name] is None
        else:
            assert_close(got[name], array, atol=1e-12, rtol=1e-12, name=name)


@every_kind
def test_without_a_gradient_the_same(kind):
    case = draw(kind, 5, 3, 4, 9)
    function = getattr(F, kind.partition("-")[0])
    got = function(case["x"], case["state"], **case["params"], **KINDS[kind][2])
    expected = run(F, kind, case)
    assert_close(got[0], expected["output"], atol=0)
    for i, s in enumerate(members(got[1])):
        assert_close(s, expected[f"state {i}"], atol=0)


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_layer_bit_for_bit(kind, dtype):
    case = draw(kind, 6, 3, 4, 9, dtype=dtype)
    name = kind.partition("-")[0]
    layer = getattr(fastrnn, name.upper())(4, 9, **KINDS[kind][2], bidirectional=True, dtype=dtype)
    for suffix in ("", "_reverse"):
        for param, value in case["params"].items():
            torch_name = param.replace("w_", "weight_").replace("b_", "bias_") + "_l0" + suffix
            layer.params[torch_name][...] = value
    lengths = np.array([6, 2, 0])
    state = bare([np.stack([s, s]) for s in members(case["state"])])
    output, last = layer(case["x"], state, lengths)
    for direction, reverse in enumerate((False, True)):
        got = run(F, kind, case, lengths=lengths, reverse=reverse)
        assert got["output"].dtype == dtype
        assert_close(got["output"], output[..., 9 * direction : 9 * direction + 9], atol=0)
        for i, s in enumerate(members(last)):
            assert_close(got[f"state {i}"], s[direction], atol=0)


@every_kind
def test_no_bias_is_a_bias_of_zero_and_one_of_two_may_be_there(kind):
    case = draw(kind, 4, 2, 3, 5)
    zero = np.zeros_like(case["params"]["b_ih"])
    for missing in ({"b_ih"}, {"b_hh"}, {"b_ih", "b_hh"}):
        params = {n: p for n, p in case["params"].items() if n not in missing}
        with_zeros = params | dict.fromkeys(missing, zero)
        got = run(F, kind, case | {"params": params})
        expected = run(F, kind, case | {"params": with_zeros})
        assert {n for n in expected if n not in got} == {f"d_{n}" for n in missing}
        for name, array in got.items():
            assert_close(array, expected[name], atol=0, name=name)


@every_kind
def test_none_in_a_state_is_zero(kind):
    case = draw(kind, 4, 2, 3, 5)
    zeros = [np.zeros_like(s) for s in members(case["state"])]
    expected = run(F, kind, case | {"state": bare(zeros), "d_state": bare(zeros)})
    got = run(F, kind, case | {"state": None, "d_state": None})
    for name, array in got.items():
        assert_close(array, expected[name], atol=0, name=name)
    if len(zeros) == 2:
        mixed = run(F, kind, case | {"state": (None, case["state"][1])})
        whole = run(F, kind, case | {"state": (zeros[0], case["state"][1])})
        for name, array in mixed.items():
            assert_close(array, whole[name], atol=0, name=name)


@every_kind
def test_a_pullback_is_pure_and_counts_its_bytes(kind):
    case = draw(kind, 4, 2, 3, 5)
    vjp = getattr(F, kind.partition("-")[0] + "_vjp")
    (output, _), pullback = vjp(case["x"], case["state"], **case["params"], **KINDS[kind][2])
    first, copy = pullback(case["d_output"]), output.copy()
    pullback(2 * case["d_output"], case["d_state"])
    again = pullback(case["d_output"])
    assert_close(output, copy, atol=0)
    assert_close(first.input, again.input, atol=0)
    for name, d in first.params.items():
        assert_close(d, again.params[name], atol=0, name=name)
    assert 4 * 2 * 5 * 8 <= pullback.nbytes < 4 * 2 * LANES * 8 * 6 + 1000


W = {"w_ih": floats(4 * H, I), "w_hh": floats(4 * H, H)} | dict.fromkeys(
    ("b_ih", "b_hh"), floats(4 * H)
)


FUNCTIONAL = {
    "w_ih list": ({"w_ih": W["w_ih"].tolist()}, TypeError, "lstm: w_ih is a list"),
    "w_ih half": ({"w_ih": W["w_ih"].astype(np.float16)}, ValueError, "w_ih: dtype must be"),
    "w_ih 1-d": (
        {"w_ih": floats(4 * H)},
        ValueError,
        r"w_ih has shape \(24,\); expected \(4 \* hidden_size",
    ),
    "w_ih rows": ({"w_ih": floats(4 * H + 1, I)}, ValueError, r"w_ih has shape \(25, 5\)"),
    "w_ih empty": ({"w_ih": floats(4 * H, 0)}, ValueError, "sizes of at least 1"),
    "w_hh": ({"w_hh": floats(4 * H, I)}, ValueError, r"w_hh has shape \(24, 5\); .* = \(24, 6\)"),
    "w_hh dtype": ({"w_hh": floats(4 * H, H, dtype=float)}, ValueError, "w_hh is float64"),
    "w_hh None": ({"w_hh": None}, TypeError, "w_hh is a NoneType"),
    "b_ih": ({"b_ih": floats(H)}, ValueError, r"b_ih has shape \(6,\)"),
    "b_hh": ({"b_hh": floats(4 * H, dtype=float)}, ValueError, "b_hh is float64"),
    "w_hr": ({"w_hr": floats(2, H + 1)}, ValueError, r"w_hr has shape \(2, 7\)"),
    "w_hr wide": ({"w_hr": floats(H + 1, H)}, ValueError, r"w_hr has shape \(7, 6\)"),
    "w_hr and w_hh": ({"w_hr": floats(2, H)}, ValueError, r"w_hh .*proj_size\) = \(24, 2\)"),
    "state": (
        {"state": (floats(1, B, H), None)},
        ValueError,
        r"h_0 has shape \(1, 3, 6\); .* = \(3, 6\)",
    ),
    "x": ({"x": X[0]}, ValueError, "input is 2-D"),
    "x dtype": ({"x": X.astype(float)}, ValueError, "input is float64"),
    "index": ({"x": index_with(I)}, IndexError, r"input\[2, 1\] is 5"),
    "lengths": ({"lengths": np.array([5, 4, 4])}, ValueError, r"lengths\[0\] is 5"),
    "reverse": ({"reverse": 1}, TypeError, "reverse should be of type bool"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("wrong", "error", "message"), FUNCTIONAL.values(), ids=FUNCTIONAL)
def test_bad_arguments(wrong, error, message):
    for function in (F.lstm, F.lstm_vjp):
        with pytest.raises(error, match=message):
            function(**({"x": X, "state": None} | W | wrong))


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("nonlinearity", ["gelu", None, 1])
def test_bad_nonlinearities(nonlinearity):
    with pytest.raises(ValueError, match="rnn: nonlinearity must be 'tanh' or 'relu'"):
        F.rnn(X, None, floats(H, I), floats(H, H), nonlinearity=nonlinearity)
