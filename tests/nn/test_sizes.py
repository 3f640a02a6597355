"""Sizes that cannot be: counted without making anything, and refused at once."""

import itertools
import sys
import time

import numpy as np
import pytest

import fastrnn
from fastrnn.models import RNNClassifier
from fastrnn.nn import sizes

HUGE = 10**9


@pytest.mark.parametrize("layer", [fastrnn.RNN, fastrnn.LSTM, fastrnn.GRU])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counted_as_made(layer, dtype):
    for layers, bidirectional, bias in itertools.product((1, 2, 5), (False, True), (False, True)):
        options = {"bidirectional": bidirectional, "bias": bias, "dtype": dtype}
        projections = (0, 2) if layer is fastrnn.LSTM else (0,)
        for projection in projections:
            more = {"proj_size": projection} if projection else {}
            made = layer(3, 4, layers, **options, **more)
            assert made.spec.amount() == sizes.Amount(
                len(made.params), sum(param.nbytes for param in made.params.values())
            )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastrnn.LSTM(HUGE, HUGE), "LSTM with input_size = 1,000,000,000 and hidden_size"),
        (lambda: fastrnn.GRU(3, HUGE), "GRU with input_size = 3 and hidden_size = 1,000,000,000"),
        (lambda: fastrnn.RNN(HUGE**9, 3), "RNN with input_size = 1,000,"),
        (lambda: fastrnn.RNN(HUGE**50, 3), "RNN with input_size = 1,000,"),
        (lambda: fastrnn.LSTM(1, 1, num_layers=HUGE), "num_layers = 1,000,000,000"),
        (lambda: fastrnn.LSTM(4, HUGE, proj_size=2), "hidden_size = 1,000,000,000"),
        (lambda: fastrnn.LSTMCell(HUGE, HUGE), "LSTMCell with input_size = 1,000,000,000"),
        (lambda: fastrnn.GRUCell(2, HUGE), "GRUCell with input_size = 2"),
        (lambda: fastrnn.RNNCell(2, HUGE), "RNNCell with input_size = 2"),
        (lambda: fastrnn.Linear(HUGE, HUGE), "Linear with in_features = 1,000,000,000 and out_fe"),
        (lambda: RNNClassifier(HUGE).fit(["a", "b"], [0, 1]), "hidden_size = 1,000,000,000"),
        (lambda: RNNClassifier(2, num_layers=HUGE).fit(["a", "b"], [0, 1]), "num_layers = 1,000,"),
    ],
)
def test_too_large(make, message, monkeypatch):
    monkeypatch.setattr(sizes, "memory", lambda: 10**11)
    before = time.monotonic()
    with pytest.raises(
        ValueError, match=rf"{message}.*: its parameters need .* GB of memory, and t"
    ):
        make()
    assert time.monotonic() - before < 5


def test_what_this_machine_has():
    """On no machine is there an exabyte."""
    assert 10**8 < sizes.memory() <= sys.maxsize
    with pytest.raises(ValueError, match="GB of memory"):
        fastrnn.LSTM(HUGE, HUGE)


def test_what_it_says(monkeypatch):
    monkeypatch.setattr(sizes, "memory", lambda: 1000)
    sizes.refuse("x", 1000)
    with pytest.raises(
        ValueError, match=r"^x need 2e-06 GB of memory, and there are 1e-06 GB; give"
    ):
        sizes.refuse("x", 2000)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_a_limit_of_the_process(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda which: (10**6, 10**6))
    assert sizes.memory() == 10**6
    with pytest.raises(ValueError, match=r"and there are 0\.001 GB"):
        fastrnn.LSTM(1000, 1000)


@pytest.mark.parametrize("kind", [int, np.int8, np.uint64, np.int64])
def test_integers_of_any_kind(kind):
    layer = fastrnn.LSTM(kind(3), kind(4), num_layers=kind(2))
    assert type(layer.hidden_size) is int
    assert layer.params["weight_hh_l1"].shape == (16, 4)


@pytest.mark.parametrize("value", [True, 1.0, "3", None, np.float32(3), np.bool_(True)])
def test_what_is_no_integer(value):
    for sized in ((value, 3), (3, value), (3, 3, value)):
        with pytest.raises(TypeError, match="should be of type int"):
            fastrnn.LSTM(*sized)
    for value in (0, -1, -HUGE):
        with pytest.raises(ValueError, match="must be at least 1"):
            fastrnn.GRU(3, value)


def test_no_larger_than_a_file():
    layer = fastrnn.LSTM(3, 100)
    with sizes.at_most(layer.spec.amount()):
        fastrnn.LSTM(3, 100)
        fastrnn.LSTM(3, 120)  # load_state_dict says what differs
        for wrong in ({"hidden_size": 1000}, {"num_layers": 1000}, {"input_size": 10**4}):
            with pytest.raises(
                ValueError, match="its options are too large for its tensors: LSTM w"
            ):
                fastrnn.LSTM(**{"input_size": 3, "hidden_size": 100} | wrong)
    fastrnn.LSTM(3, 1000)
