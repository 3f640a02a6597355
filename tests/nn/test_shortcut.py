"""The plainest call of a layer: the same bits as the general call, and when there is none.

That the general call is right is test_layers.py's.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.nn.shortcut import MOST, Shortcut
from fastrnn.nn.stack import StackCall
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, bare, configurations, every_cell, members

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def general(layer, x, state=None):
    return StackCall(layer, x, state, None).run(keep=False, training=False)


def assert_same(got, expected):
    assert type(got[1]) is type(expected[1])
    for one, other in zip(
        (got[0], *members(got[1])), (expected[0], *members(expected[1])), strict=True
    ):
        assert one.dtype == other.dtype
        assert_close(one, other, atol=0)


@every_cell
@both_dtypes
@settings(max_examples=40)
@given(data=st.data())
def test_equals_the_general_call_bit_for_bit(cell, dtype, data):
    drawn = replace(data.draw(configurations(cell, dtype)), one_hot=False, lengths=None)
    drawn = replace(drawn, given=(drawn.given[0],) * 2)
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    shortcut = Shortcut(layer, values["x"].shape)
    assert shortcut.possible == (drawn.T > 0 and drawn.B > 0)
    if shortcut.possible:
        expected = general(layer, values["x"], values["state"])
        got = shortcut(values["x"], values["state"])
        assert_same(got, expected)
        output, state = shortcut(values["x"], values["state"])  # each call has its own arrays
        assert not np.shares_memory(output, got[0])
        assert not np.shares_memory(members(state)[0], members(got[1])[0])


@pytest.fixture
def layer():
    return fastrnn.LSTM(5, 7, num_layers=2, bidirectional=True, seed=0)


X = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)


def taken(layer, monkeypatch, *arguments):
    """Return whether a call takes a shortcut; its result must be the general one."""
    results = []

    def spy(self, x, state):
        results.append(call(self, x, state))
        return results[-1]

    call = Shortcut.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Shortcut, "__call__", spy)
        got = layer(*arguments)
    assert_same(got, general(layer, *arguments))
    return bool(results) and results[-1] is not None


def test_a_shape_has_one_when_it_is_seen_for_the_third_time(layer, monkeypatch):
    for x in (X, X[:2].copy(), X[:, 0].copy()):
        assert [taken(layer, monkeypatch, x) for _ in range(4)] == [False, False, True, True]


def test_what_is_unusual_goes_the_general_way(layer, monkeypatch):
    for _ in range(3):
        layer(X)
    assert taken(layer, monkeypatch, X)
    state = tuple(np.ones((4, 3, 7), np.float32) for _ in "hc")
    assert taken(layer, monkeypatch, X, state)
    unusual = [
        (X[::-1],),
        (X.astype(np.float64).astype(">f4"),),
        (X.swapaxes(0, 1).copy().swapaxes(0, 1),),
        (X, (state[0], None)),
        (X, (None, state[1])),
        (X, (state[0], state[1][::-1])),
    ]
    for arguments in unusual:
        assert not taken(layer, monkeypatch, *arguments)
    frozen = X.copy()
    frozen.flags.writeable = False
    assert not taken(layer, monkeypatch, frozen)
    assert not taken(layer, monkeypatch, np.zeros((4, 3), np.int64))
    lengths = np.array([4, 0, 2])
    got, expected = layer(X, None, lengths), StackCall(layer, X, None, lengths)
    assert_same(got, expected.run(keep=False, training=False))


def test_wrong_arguments_are_refused_as_ever(layer):
    for _ in range(3):
        layer(X)
    good = np.ones((4, 3, 7), np.float32)
    for state, error, message in [
        ((good, good[:1]), ValueError, "c_0 has shape"),
        ((good, good.astype(np.float64)), ValueError, "c_0 is float64"),
        ((good,), (TypeError, ValueError), "state"),
        (good, (TypeError, ValueError), "state"),
    ]:
        with pytest.raises(error, match=message):
            layer(X, state)
    with pytest.raises(ValueError, match="float64"):
        layer(X.astype(np.float64))


def test_parameters_are_live(layer, monkeypatch):
    for _ in range(3):
        layer(X)
    before = layer(X)[0]
    layer.params["weight_hh_l1"] *= 2  # in place
    assert taken(layer, monkeypatch, X)
    assert (layer(X)[0] != before).any()
    layer.params["bias_ih_l0"] = np.ones(28, np.float32)  # another array
    assert taken(layer, monkeypatch, X)
    weight = layer.params["weight_ih_l0"]
    layer.params["weight_ih_l0"] = np.asfortranarray(weight)
    assert not taken(layer, monkeypatch, X)
    for wrong, message in ((weight[:-1], "shape"), (weight.astype(np.float64), "float64")):
        layer.params["weight_ih_l0"] = wrong
        with pytest.raises(ValueError, match=message):
            layer(X)


def test_it_follows_the_number_of_threads(monkeypatch, threads):
    layer = fastrnn.GRU(128, 256, seed=0)
    x = np.random.default_rng(0).normal(size=(12, 4, 128)).astype(np.float32)
    expected = general(layer, x)
    for count in (1, 2, 4, 1):
        threads(count)
        for _ in range(3):
            assert_same(layer(x), expected)
        assert taken(layer, monkeypatch, x)


def test_only_so_many_are_remembered(layer):
    for T in range(1, 3 * MOST):
        for _ in range(3):
            layer(np.zeros((T, 1, 5), np.float32))
        assert len(layer._shortcuts) <= MOST


def test_what_must_be_interrupted_has_none():
    layer = fastrnn.RNN(1, 2000, seed=0)
    assert Shortcut(layer, (400, 1)).possible
    assert not Shortcut(layer, (5000, 1)).possible


@every_cell
def test_a_state_may_be_fed_back(cell):
    layer = Configuration(cell, I=5, H=7).layer(np.float32)
    state, again = None, None
    for _ in range(5):
        output, state = layer(X, state)
        expected, again = general(layer, X, again)
        assert_close(output, expected, atol=0)
    assert_same((output, bare(members(state))), (expected, again))
