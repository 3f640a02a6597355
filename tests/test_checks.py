"""The table of bad input: what is wrong, which error it is, and what its message says.

No kernel may run for any of it. Layers are called here; functions, cells, streams and Linear have
their own tables (test_functional.py, tests/nn). What is accepted is tests/nn/test_arguments.py's.
"""

import numpy as np
import pytest

import fastrnn
from tests.support.bad_input import INDEX, LSTM, B, H, I, T, X, floats, index_with

GRU = fastrnn.GRU(I, H, num_layers=2, bidirectional=True, seed=0)
RNN = fastrnn.RNN(I, H, batch_first=True, seed=0)
PROJECTED = fastrnn.LSTM(I, H, proj_size=2, seed=0)
PAIR = (floats(1, B, H), floats(1, B, H))


NO_ARRAY = "expected a NumPy array"
INPUT = {
    "list": (X.tolist(), TypeError, "LSTM: input is a list; " + NO_ARRAY),
    "tuple": (tuple(X), TypeError, "LSTM: input is a tuple; " + NO_ARRAY),
    "None": (None, TypeError, "LSTM: input is a NoneType; " + NO_ARRAY),
    "number": (1.0, TypeError, "LSTM: input is a float; " + NO_ARRAY),
    "string": ("hello", TypeError, "LSTM: input is a str; " + NO_ARRAY),
    "array of strings": (np.full((T, B), "h"), TypeError, "input is <U1"),
    "objects": (X.astype(object), TypeError, "input is object"),
    "complex": (X.astype(complex), TypeError, "input is complex128"),
    "bool": (X.astype(bool), TypeError, "input is bool"),
    "datetime": (np.zeros((T, B, I), "M8[s]"), TypeError, "input is datetime64"),
    "masked": (np.ma.masked_array(X), TypeError, r"masked array; pass input.filled\(0\)"),
    "float64": (
        X.astype(np.float64),
        ValueError,
        r"input is float64 but the weights are float32; .* input.astype\(np.float32\)",
    ),
    "float16": (X.astype(np.float16), ValueError, "input is float16 but the weights"),
    "longdouble": (X.astype(np.longdouble), ValueError, "but the weights are float32"),
    "0-d": (np.float32(1), ValueError, r"0-D of float32; expected \(T, B, input_size\)"),
    "0-d index": (np.int64(1), ValueError, "0-D of int64"),
    "1-d": (floats(I), ValueError, r"1-D .*\(T, input_size\) unbatched"),
    "4-d": (floats(1, T, B, I), ValueError, "4-D of float32"),
    "3-d indices": (np.zeros((T, B, I), int), ValueError, "3-D of int64"),
    "last axis": (
        floats(T, B, I + 1),
        ValueError,
        r"shape \(4, 3, 6\); its last axis must be input_size = 5",
    ),
    "no last axis": (floats(T, B, 0), ValueError, "last axis must be input_size = 5"),
    "index I": (
        index_with(I),
        IndexError,
        r"LSTM: input\[2, 1\] is 5; .*\[0, input_size\) = \[0, 5\)",
    ),
    "index -1": (index_with(-1), IndexError, r"input\[2, 1\] is -1"),
    "index 2**63": (index_with(2**63, np.uint64), IndexError, "9223372036854775808"),
    "index -2**63": (index_with(-(2**63)), IndexError, "-9223372036854775808"),
    "index int8": (index_with(-128, np.int8), IndexError, "is -128"),
    "NaN index": (np.full((T, B), np.nan, np.float32), ValueError, "last axis must be input_size"),
    "float index": (np.zeros((3, 2, 2), np.float32)[..., 0], ValueError, "last axis must be"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("x", "error", "message"), INPUT.values(), ids=INPUT)
@pytest.mark.parametrize("call", [LSTM, LSTM.vjp], ids=["call", "vjp"])
def test_input(call, x, error, message):
    with pytest.raises(error, match=message):
        call(x)


LENGTHS = {
    "list": ([4, 4, 4], TypeError, "GRU: lengths is a list; " + NO_ARRAY),
    "number": (4, TypeError, "lengths is a int"),
    "floats": (
        np.array([4.0, 4, 4]),
        TypeError,
        r"lengths is float64; expected integers, e.g. lengths.astype\(np.int64\)",
    ),
    "bool": (np.ones(B, bool), TypeError, "lengths is bool"),
    "objects": (np.array([4, 4, 4], object), TypeError, "lengths is object"),
    "too few": (
        np.array([4, 4]),
        ValueError,
        r"lengths has shape \(2,\); expected \(batch,\) = \(3,\)",
    ),
    "2-d": (np.array([[4, 4, 4]]), ValueError, r"shape \(1, 3\)"),
    "negative": (np.array([4, -1, 4]), ValueError, r"lengths\[1\] is -1; .*\[0, T\] = \[0, 4\]"),
    "too long": (np.array([4, 4, 5]), ValueError, r"lengths\[2\] is 5"),
    "huge": (
        np.array([4, 2**63, 5], np.uint64),
        ValueError,
        r"lengths\[1\] is 9223372036854775808",
    ),
    "masked": (np.ma.masked_array([4, 4, 4]), TypeError, "masked array"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("lengths", "error", "message"), LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("x", [X, INDEX], ids=["floats", "indices"])
def test_lengths(x, lengths, error, message):
    with pytest.raises(error, match=message):
        GRU(x, lengths=lengths)


@pytest.mark.usefixtures("no_kernel")
def test_lengths_with_unbatched_input():
    for x in (X[:, 0], INDEX[:, 0]):
        with pytest.raises(ValueError, match=r"lengths with unbatched input: .* x\[:n\]"):
            LSTM(x, lengths=np.array([2]))


NO_MASK = r"; expected bool, True where the state begins anew, e.g. reset != 0"
RESET = {  # of 4 steps of 3 rows
    "list": ([[True] * B] * T, TypeError, "reset is a list; " + NO_ARRAY),
    "bool": (True, TypeError, "reset is a bool; " + NO_ARRAY),
    "string": ("first", TypeError, "reset is a str"),
    "uint8": (np.ones((T, B), np.uint8), TypeError, "reset is uint8" + NO_MASK),
    "int64": (np.ones((T, B), int), TypeError, "reset is int64" + NO_MASK),
    "floats": (floats(T, B), TypeError, "reset is float32" + NO_MASK),
    "objects": (np.full((T, B), True, object), TypeError, "reset is object" + NO_MASK),
    "masked": (np.ma.masked_array(np.ones((T, B), bool)), TypeError, "reset is a masked array"),
    "axes": (
        np.ones((B, T), bool),
        ValueError,
        r"reset has shape \(3, 4\); expected that of the input without its last axis, "
        r"\(T, B\) = \(4, 3\)",
    ),
    "last axis": (np.ones((T, B, 1), bool), ValueError, r"reset has shape \(4, 3, 1\)"),
    "1-d": (np.ones(T, bool), ValueError, r"reset has shape \(4,\)"),
    "0-d": (np.array(True), ValueError, r"reset has shape \(\)"),
    "too long": (np.ones((T + 1, B), bool), ValueError, r"reset has shape \(5, 3\)"),
    "broadcast": (np.ones((T, 1), bool), ValueError, r"reset has shape \(4, 1\)"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("mask", "error", "message"), RESET.values(), ids=RESET)
@pytest.mark.parametrize("x", [X, INDEX], ids=["floats", "indices"])
def test_reset(x, mask, error, message):
    for call in (GRU, GRU.vjp):
        with pytest.raises(error, match="GRU: " + message):
            call(x, reset=mask)


@pytest.mark.usefixtures("no_kernel")
def test_reset_in_other_axes():
    mask = np.ones((T, B), bool)
    with pytest.raises(ValueError, match=r"RNN: reset has shape \(4, 3\).*\(B, T\) = \(3, 4\)"):
        RNN(floats(B, T, I), reset=mask)
    for wrong in (mask, mask[:, :1], mask[:1, 0]):
        with pytest.raises(ValueError, match=r"GRU: reset has shape .*\(T,\) = \(4,\)"):
            GRU(X[:, 0], reset=wrong)


STATES = {
    "bare array": (
        LSTM,
        X,
        PAIR[0],
        TypeError,
        r"state is a ndarray; expected a tuple of 2 arrays, \(h_0, c_0\)",
    ),
    "triple": (LSTM, X, (*PAIR, None), TypeError, "state is a tuple of 3"),
    "single": (LSTM, X, PAIR[:1], TypeError, "state is a tuple of 1"),
    "lists": (LSTM, X, tuple(s.tolist() for s in PAIR), TypeError, "h_0 is a list"),
    "dict": (LSTM, X, {"h": 1, "c": 2}, TypeError, "state is a dict"),
    "tuple for one": (
        GRU,
        X,
        (floats(4, B, H),),
        TypeError,
        "state is a tuple; expected one array",
    ),
    "no layers": (
        LSTM,
        X,
        (floats(B, H), PAIR[1]),
        ValueError,
        r"h_0 has shape \(3, 6\); .*num_directions, batch, hidden_size\) = \(1, 3, 6\)",
    ),
    "layers": (GRU, X, floats(2, B, H), ValueError, r"h_0 has shape \(2, 3, 6\); .* = \(4, 3, 6\)"),
    "c_0": (LSTM, X, (PAIR[0], floats(1, B, H + 1)), ValueError, r"c_0 has shape \(1, 3, 7\)"),
    "batch": (LSTM, X, (floats(1, 1, H), PAIR[1]), ValueError, r"h_0 has shape \(1, 1, 6\)"),
    "batched": (
        LSTM,
        X[:, 0],
        PAIR,
        ValueError,
        r"expected \(num_layers \* num_directions, hidden_size\) = \(1, 6\)",
    ),
    "float64": (
        LSTM,
        X,
        (PAIR[0].astype(float), None),
        ValueError,
        "h_0 is float64 but the weights",
    ),
    "integers": (GRU, X, np.zeros((4, B, H), int), TypeError, "h_0 is int64 but the weights"),
    "projected h": (PROJECTED, X, PAIR, ValueError, r"h_0 .*proj_size\) = \(1, 3, 2\)"),
    "projected c": (
        PROJECTED,
        X,
        (None, floats(1, B, 2)),
        ValueError,
        r"c_0 .*hidden_size\) = \(1, 3, 6\)",
    ),
    "batch first": (
        RNN,
        floats(B, T, I),
        floats(B, 1, H),
        ValueError,
        r"h_0 has shape \(3, 1, 6\); .* = \(1, 3, 6\)",
    ),
    "masked": (GRU, X, np.ma.masked_array(floats(4, B, H)), TypeError, "h_0 is a masked array"),
}


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("layer", "x", "state", "error", "message"), STATES.values(), ids=STATES)
def test_state(layer, x, state, error, message):
    with pytest.raises(error, match=message):
        layer(x, state)
    with pytest.raises(error, match=message):
        layer.vjp(x, state)


COTANGENTS = {
    "list": ((X.tolist(),), TypeError, "d_output is a list"),
    "float64": ((floats(T, B, H, dtype=np.float64),), ValueError, "d_output is float64"),
    "shape": (
        (floats(B, T, H),),
        ValueError,
        r"d_output has shape \(3, 4, 6\); expected .*\(4, 3, 6\)",
    ),
    "scalar": ((np.float32(1),), ValueError, r"d_output has shape \(\)"),
    "bare d_state": ((None, PAIR[0]), TypeError, r"d_state is a ndarray; .*\(d_h_n, d_c_n\)"),
    "d_c shape": ((None, (None, floats(1, B, 2))), ValueError, "d_c_n has shape"),
    "d_h dtype": ((None, (PAIR[0].astype(float), None)), ValueError, "d_h_n is float64"),
}


@pytest.mark.parametrize(("cotangents", "error", "message"), COTANGENTS.values(), ids=COTANGENTS)
def test_cotangents(request, cotangents, error, message):
    _, pullback = LSTM.vjp(X)
    request.getfixturevalue("no_kernel")
    with pytest.raises(error, match=message):
        pullback(*cotangents)


def test_constructors_of_the_others():
    for make, error, message in [
        (
            lambda: fastrnn.RNN(I, H, nonlinearity="gelu"),
            ValueError,
            "RNN: nonlinearity must be 'tanh' or 'relu', got 'gelu'",
        ),
        (lambda: fastrnn.RNN(I, H, nonlinearity=None), ValueError, "RNN: nonlinearity must be"),
        (lambda: fastrnn.RNN(I, H, nonlinearity=["tanh"]), ValueError, "RNN: nonlinearity must be"),
        (lambda: fastrnn.RNNCell(I, H, nonlinearity="selu"), ValueError, "RNNCell: nonlinearity"),
        (lambda: fastrnn.GRU(I, H, proj_size=2), TypeError, "proj_size"),
        (lambda: fastrnn.GRUCell(I, 0), ValueError, "GRUCell: hidden_size must be at least 1"),
        (
            lambda: fastrnn.LSTMCell(I, H, bias=0),
            TypeError,
            "LSTMCell: bias should be of type bool",
        ),
        (lambda: fastrnn.LSTMCell(I, H, dtype="f2"), ValueError, "LSTMCell: dtype must be"),
        (lambda: fastrnn.Linear(0, H), ValueError, "Linear: in_features must be at least 1"),
        (lambda: fastrnn.Linear(I, 2.5), TypeError, "Linear: out_features should be of type int"),
        (lambda: fastrnn.Linear(I, H, bias=None), TypeError, "Linear: bias should be of type bool"),
        (lambda: fastrnn.LSTM(I, H, bidirectional=True).stream(), ValueError, "cannot stream"),
        (lambda: LSTM.stream(0), ValueError, "LSTM: batch_size must be at least 1"),
        (lambda: LSTM.stream(1.0), TypeError, "LSTM: batch_size should be of type int"),
        (lambda: LSTM.vjp(X, training=1), TypeError, "LSTM: training should be of type bool"),
        (lambda: fastrnn.set_num_threads(0), ValueError, "set_num_threads: n is 0"),
        (lambda: fastrnn.set_num_threads(1.0), TypeError, "set_num_threads: n is 1.0"),
        (lambda: fastrnn.set_num_threads(True), TypeError, "set_num_threads: n is True"),
    ]:
        with pytest.raises(error, match=message):
            make()


def test_torch_tensors_that_cannot_be_read():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"input cannot be read as a NumPy array: .*requires grad"):
        LSTM(torch.zeros(T, B, I, requires_grad=True))
    with pytest.raises(TypeError, match="input cannot be read as a NumPy array"):
        LSTM(torch.zeros(T, B, I, device="meta"))
    with pytest.raises(TypeError, match="input cannot be read as a NumPy array"):
        LSTM(torch.zeros(T, B, I, dtype=torch.bfloat16))
