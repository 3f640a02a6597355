"""Streams: bit for bit their layer, step by step; a buffer, weights and a state of their own."""

import copy
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.cells import lstm
from fastrnn.engine import buffers
from tests.support.bad_input import INDEX, LSTM, B, I, X
from tests.support.compare import assert_close, few_ulp
from tests.support.configurations import Configuration, both_dtypes, configurations, every_cell

LANES = buffers.lanes(np.dtype(np.float64))


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
@both_dtypes
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


BAD = {
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


@pytest.mark.parametrize(("x", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(request, x, error, message):
    stream = LSTM.stream(batch_size=B)
    request.getfixturevalue("no_kernel")
    with pytest.raises(error, match=message):
        stream(x)


@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
def test_a_copy_of_a_stream_is_a_stream_of_its_own(one_hot):
    layer = fastrnn.LSTM(3, 4, seed=0)
    x = np.array([2]) if one_hot else np.array([[0, 0, 1]], np.float32)
    stream = layer.stream()
    stream(x)
    twin = copy.deepcopy(stream)
    second = stream(x).copy()
    assert_close(twin(x), second, atol=0)
    twin.reset()
    assert_close(twin(x), layer.stream()(x), atol=0)
    assert (stream(x) != second).any()
