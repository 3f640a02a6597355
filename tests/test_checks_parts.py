"""The table of bad input, continued: functions on arrays, cells, streams, Linear.

No kernel may run for any of it. The layers' part is in test_checks.py.
"""

import numpy as np
import pytest

import fastrnn
from fastrnn import checks
from fastrnn import functional as F
from tests.test_checks import INDEX, LSTM, B, H, I, T, X, floats, index_with, no_kernel

__all__ = ["no_kernel"]  # a fixture

LINEAR = fastrnn.Linear(I, H, seed=0)
CELLS = {
    "lstm": fastrnn.LSTMCell(I, H, seed=0),
    "gru": fastrnn.GRUCell(I, H, seed=0),
    "rnn": fastrnn.RNNCell(I, H, seed=0),
}
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
def test_functional(wrong, error, message):
    for function in (F.lstm, F.lstm_vjp):
        with pytest.raises(error, match=message):
            function(**({"x": X, "state": None} | W | wrong))


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("nonlinearity", ["gelu", None, 1])
def test_functional_nonlinearity(nonlinearity):
    with pytest.raises(ValueError, match="rnn: nonlinearity must be 'tanh' or 'relu'"):
        F.rnn(X, None, floats(H, I), floats(H, H), nonlinearity=nonlinearity)


STEPS = {
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
@pytest.mark.parametrize(("cell", "x", "state", "error", "message"), STEPS.values(), ids=STEPS)
def test_steps(cell, x, state, error, message):
    for call in (CELLS[cell], CELLS[cell].vjp):
        with pytest.raises(error, match=message):
            call(x, state)


STREAM = {
    "list": ([1.0] * I, TypeError, "x_t is a list"),
    "sequence": (
        X,
        ValueError,
        r"LSTM.stream: x_t has shape \(4, 3, 5\); .*\(batch_size, input_size\) = \(3, 5\)",
    ),
    "one row of three": (X[0, 0], ValueError, r"x_t has shape \(5,\)"),
    "too few indices": (INDEX[0, :2], ValueError, r"integers \(batch_size,\) = \(3,\)"),
    "float64": (X[0].astype(float), ValueError, "x_t is float64"),
    "bool": (X[0].astype(bool), TypeError, "x_t is bool"),
    "objects": (X[0].astype(object), TypeError, "x_t is object"),
    "index": (
        np.array([0, 1, I]),
        IndexError,
        r"LSTM.stream: x_t is .*\[0, input_size\) = \[0, 5\)",
    ),
    "negative": (np.array([0, -1, 1]), IndexError, "one-hot"),
    "masked": (np.ma.masked_array(X[0]), TypeError, "masked array"),
}


@pytest.mark.parametrize(("x", "error", "message"), STREAM.values(), ids=STREAM)
def test_stream(x, error, message):
    stream = LSTM.stream(batch_size=B)
    stream._kernel = None  # whatever runs, fails
    with pytest.raises(error, match=message):
        stream(x)


LINEAR_INPUT = {
    "list": ([1.0] * I, TypeError, "Linear: input is a list"),
    "float64": (X.astype(float), ValueError, "Linear: input is float64"),
    "size": (floats(B, I + 1), ValueError, "last axis must be in_features = 5"),
    "0-d": (np.float32(1), ValueError, r"input has shape \(\)"),
    "integers": (INDEX, TypeError, "Linear: input is int64"),
}


@pytest.mark.parametrize(("x", "error", "message"), LINEAR_INPUT.values(), ids=LINEAR_INPUT)
def test_linear(x, error, message):
    for call in (LINEAR, LINEAR.vjp):
        with pytest.raises(error, match=message):
            call(x)
    with pytest.raises(ValueError, match=r"Linear: d_output has shape \(4,\)"):
        LINEAR.vjp(X)[1](floats(4))


def test_torch_tensors_that_cannot_be_read():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"input cannot be read as a NumPy array: .*requires grad"):
        LSTM(torch.zeros(T, B, I, requires_grad=True))
    with pytest.raises(TypeError, match="input cannot be read as a NumPy array"):
        LSTM(torch.zeros(T, B, I, device="meta"))
    with pytest.raises(TypeError, match="input cannot be read as a NumPy array"):
        LSTM(torch.zeros(T, B, I, dtype=torch.bfloat16))


def test_writable_changes_nothing(tmp_path):
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        checks.writable(tmp_path / name)
    for path in (tmp_path, tmp_path / "none" / "new"):
        with pytest.raises(OSError, match=path.name):
            checks.writable(path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
