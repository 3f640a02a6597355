"""When a single step goes its own way, and that it looks at what may change: single.py.

That its numbers are those of the general call is test_onestep.py's and test_shortcut.py's.
"""

import numpy as np
import pytest

import fastrnn
from fastrnn.nn.cells import _Step
from fastrnn.nn.shortcut import _One
from fastrnn.nn.single import OneStep
from fastrnn.nn.stack import StackCall
from tests.support.compare import assert_close
from tests.support.configurations import members


def test_when_it_is_possible(threads):
    threads(2)
    assert OneStep(fastrnn.LSTM(16, 32, seed=0), 1).possible
    assert OneStep(fastrnn.GRUCell(16, 32, seed=0), 1).possible
    assert not OneStep(fastrnn.LSTM(16, 32, bidirectional=True, seed=0), 1).possible
    assert not OneStep(fastrnn.LSTM(16, 32, proj_size=8, seed=0), 1).possible
    assert not OneStep(fastrnn.GRU(16, 32, seed=0), 100).possible  # weights should be packed
    large = fastrnn.GRU(1024, 1024, seed=0)
    assert not OneStep(large, 1).possible  # work for two
    threads(1)
    assert OneStep(large, 1).possible


def test_when_it_is_differentiable():
    assert OneStep(fastrnn.LSTM(16, 32, seed=0), 1).differentiable == (True, True)
    # Rows of weights that are no whole vectors have to be packed for the gradient.
    assert OneStep(fastrnn.LSTM(17, 32, seed=0), 1).differentiable == (True, False)
    assert OneStep(fastrnn.LSTM(16, 33, seed=0), 1).differentiable == (False, False)


def arguments(layer):
    cell = isinstance(layer, fastrnn.GRUCell | fastrnn.LSTMCell | fastrnn.RNNCell)
    x = np.full((2, 16) if cell else (1, 2, 16), 0.5, np.float32)
    h = np.full((2, 32) if cell else (1, 2, 32), 0.25, np.float32)
    return x, (h, -h) if "LSTM" in type(layer).__name__ else h


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_a_call_goes_this_way_and_parameters_are_live(kind, monkeypatch):
    layer = getattr(fastrnn, kind)(16, 32, seed=0)
    x, state = arguments(layer)

    def general():
        if "Cell" in kind:
            return _Step(layer, x, state).run(keep=False)
        return StackCall(layer, x, state, None).run(keep=False, training=False)

    def flat(result):
        return [a for part in members(result) for a in members(part)]

    taken, call = [], _One.__call__
    monkeypatch.setattr(_One, "__call__", lambda *args: taken.append(call(*args)) or taken[-1])
    for _ in range(3):
        layer(x, state)
    assert len(taken) == 1
    name = next(n for n in layer.params if "weight_hh" in n)

    def in_place():
        layer.params[name] *= 2

    def replaced():
        layer.params[name] = np.ones_like(layer.params[name])

    def transposed():  # in memory: left to the general call
        layer.params[name] = np.asfortranarray(layer.params[name])

    for change in (in_place, replaced, transposed):
        change()
        for got, want in zip(flat(layer(x, state)), flat(general()), strict=True):
            assert_close(got, want, atol=0)
    assert taken[-1] is None
    for wrong, message in (
        (layer.params[name][:-1], "shape"),
        (layer.params[name].astype(np.float64), "float64"),
    ):
        layer.params[name] = wrong
        with pytest.raises(ValueError, match=message):
            layer(x, state)


def test_another_shape_of_a_parameter_in_place_is_noticed():
    layer = fastrnn.RNNCell(16, 32, seed=0)
    x, state = arguments(layer)
    for _ in range(3):
        layer(x, state)
    layer.params["weight_hh"].resize((16, 64), refcheck=False)
    with pytest.raises(ValueError, match="shape"):
        layer(x, state)


def test_wrong_states_are_left_to_the_general_call():
    layer = fastrnn.LSTMCell(16, 32, seed=0)
    x, (h, c) = arguments(layer)
    for _ in range(3):
        expected = layer(x, (h, c))
    assert_close(layer(x, (h[::-1], c))[0], expected[0], atol=0)  # equal rows
    assert_close(layer(x, (h, None))[0], layer(x, (h, 0 * c))[0], atol=0)
    for wrong in (h, (h,), (h, c[:1]), (h, c.astype(np.float64)), (h, c, c)):
        with pytest.raises((ValueError, TypeError), match="LSTMCell"):
            layer(x, wrong)
