"""Layers, cells and Linear as targets: names, copies, dtypes; their equations, and widened."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.targets.dispatch import problem_of
from fastrnn.checking.targets.fastrnn import copied
from tests.support.configurations import every_cell
from tests.support.layer_targets import OPTIONS, RNG, B, H, I, T, made, sequence


@every_cell
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_are_right(cell, options, dtype):
    layer = made(cell, dtype, **options)
    before = layer.state_dict()
    report = gradcheck(layer, (sequence(layer, dtype),), second_order=True)
    assert report.ok
    assert {v.name for v in report.variables} >= {"input", "h_0", *layer.params}
    assert all(v.checked == np.prod(v.shape) for v in report.variables)
    assert all(np.array_equal(layer.params[name], value) for name, value in before.items())


@every_cell
def test_one_hot_lengths_and_unbatched(cell):
    layer = made(cell)
    indices = RNG.integers(0, I, (T, B))
    report = gradcheck(layer, (indices, None, np.array([0, T, 2])), mode="sample")
    assert "input" not in [v.name for v in report.variables]
    assert gradcheck(layer, (RNG.standard_normal((T, I)),), mode="project").ok


def test_projection_and_dropout_with_one_mask():
    layer = fastrnn.LSTM(I, 4, 2, proj_size=2, dropout=0.5, dtype=np.float64, seed=0)
    assert gradcheck(layer, (sequence(layer),), mode="sample").ok
    layer = fastrnn.GRU(I, 4, 2, dropout=0.5, seed=0)
    assert gradcheck(layer, (sequence(layer, np.float32),), mode="sample").ok


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_and_a_given_state(kind):
    cell = getattr(fastrnn, kind)(I, H, dtype=np.float64, seed=0)
    x, h = RNG.standard_normal((B, I)), RNG.standard_normal((B, H))
    state = (h, None) if kind == "LSTMCell" else h
    report = gradcheck(cell, (x, state))
    assert [v.name for v in report.variables][:2] == ["input", "h"]


def test_linear():
    assert gradcheck(fastrnn.Linear(3, 2, seed=0), (np.ones((4, 3), np.float32),)).ok


def test_coordinates_have_the_users_names():
    layer = fastrnn.LSTM(I, H, 2, bidirectional=True, seed=0)
    problem = problem_of(layer, (np.ones((T, B, I), np.float32),))
    called = {v.name: v.called(tuple(n - 1 for n in v.value.shape)) for v in problem.variables}
    assert called["weight_hh_l1_reverse"] == "weight_hh_l1_reverse[gate o, unit 2, from 2]"
    assert called["weight_ih_l0"] == "weight_ih_l0[gate o, unit 2, from input 1]"
    assert called["bias_ih_l0"] == "bias_ih_l0[gate o, unit 2]"
    assert called["input"] == "input[t 3, row 2, feature 1]"
    assert called["c_0"] == "c_0[layer 3, row 2, unit 2]"


def test_too_many_inputs_are_refused():
    with pytest.raises(TypeError, match=r"GRU got 5 inputs; expected a tuple of at most 4"):
        gradcheck(fastrnn.GRU(1, 1), (1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match="its last axis must be input_size"):
        gradcheck(fastrnn.GRU(2, 1), (np.ones((2, 2, 3), np.float32),))


def test_a_copy_has_parameters_of_its_own():
    layer = fastrnn.LSTM(I, H, seed=0)
    twin = copied(layer, np.float64)
    twin.params["weight_ih_l0"][:] = 0
    assert layer.params["weight_ih_l0"].all()
    assert twin(np.ones((T, B, I)))[0].dtype == np.float64
