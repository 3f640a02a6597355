"""Programs: the same bits however a call comes to one, and that remembered ones stay true.

That the numbers are right is test_layers.py's; of single steps, test_single_step.py; that
parameters stay live under a remembered program, test_module.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.nn.call import Call
from fastrnn.nn.module import MAX_PROGRAMS
from fastrnn.nn.program import prepare
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import (
    Configuration,
    bare,
    both_dtypes,
    configurations,
    every_cell,
    members,
)
from tests.support.programs import general


@every_cell
@both_dtypes
@settings(max_examples=40)
@given(data=st.data())
def test_a_remembered_call_equals_the_first_bit_for_bit(cell, dtype, data):
    drawn = replace(data.draw(configurations(cell, dtype)), one_hot=False, lengths=None)
    drawn = replace(drawn, given=(drawn.given[0],) * 2)
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    expected, _ = general(layer, values["x"], values["state"])
    first, second = (layer(values["x"], values["state"]) for _ in range(2))
    assert_bits(first, expected)
    assert_bits(second, expected)
    assert not np.shares_memory(first[0], second[0])  # each call has its own arrays
    assert not np.shares_memory(members(first[1])[0], members(second[1])[0])


@pytest.fixture
def layer():
    return fastrnn.LSTM(5, 7, num_layers=2, bidirectional=True, seed=0)


X = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)


def test_layers_of_one_spec_share_a_program(layer):
    other = fastrnn.LSTM(5, 7, num_layers=2, bidirectional=True, dropout=0.5, seed=1)
    assert layer.spec == other.spec
    call = Call(4, 3, 1)
    assert prepare(layer.spec, call) is prepare(other.spec, call)
    assert prepare(layer.spec, call) is not prepare(layer.spec, call._replace(threads=2))


def test_whatever_comes_after_a_remembered_call(layer):
    for _ in range(3):
        layer(X)
    state = tuple(np.ones((4, 3, 7), np.float32) for _ in "hc")
    frozen = X.copy()
    frozen.flags.writeable = False
    for arguments in [
        (X, state),
        (X[::-1],),
        (X.astype(np.float64).astype(">f4"),),
        (X.swapaxes(0, 1).copy().swapaxes(0, 1),),
        (X, (state[0], None)),
        (X, (None, state[1])),
        (X, (state[0], state[1][::-1])),
        (frozen,),
        (np.zeros((4, 3), np.int64),),
        (X, None, np.array([4, 0, 2])),
    ]:
        for _ in range(2):
            assert_bits(layer(*arguments), general(layer, *arguments)[0])


def test_batch_first_may_be_changed_after_a_call():
    layer = fastrnn.GRU(5, 7, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 4, 5)).astype(np.float32)
    expected = layer(x)[0]
    layer.batch_first = True
    assert_close(layer(x.swapaxes(0, 1).copy())[0].swapaxes(0, 1), expected, atol=0)


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


def test_it_follows_the_number_of_threads(threads):
    layer = fastrnn.GRU(128, 256, seed=0)
    x = np.random.default_rng(0).normal(size=(12, 4, 128)).astype(np.float32)
    expected, _ = general(layer, x)
    for count in (1, 2, 4, 1):
        threads(count)
        for _ in range(3):
            assert_bits(layer(x), expected)


def test_only_so_many_are_remembered(layer):
    for T in range(1, 3 * MAX_PROGRAMS):
        layer(np.zeros((T, 1, 5), np.float32))
        assert 0 < len(vars(layer)["_programs"]) <= MAX_PROGRAMS


@every_cell
def test_a_state_may_be_fed_back(cell):
    layer = Configuration(cell, I=5, H=7).layer(np.float32)
    state, again = None, None
    for _ in range(5):
        output, state = layer(X, state)
        (expected, again), _ = general(layer, X, again)
        assert_close(output, expected, atol=0)
    assert_bits((output, bare(members(state))), (expected, again))
