"""Layers, cells and Linear as targets: names, copies, dtypes; their equations, and widened."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.location import locate
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.targets import equations
from fastrnn.checking.targets.dispatch import problem_of
from fastrnn.checking.targets.fastrnn import copied
from fastrnn.checking.targets.preactivations import widened_layers
from tests.support.configurations import every_cell, layer_class

RNG = np.random.default_rng(0)
T, B, I, H = 4, 3, 2, 3  # noqa: E741
OPTIONS = [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}, {"bias": False}]


def made(cell, dtype=np.float64, **options):
    kind, own = layer_class(cell)
    return kind(I, H, **own, **options, dtype=dtype, seed=1)


def sequence(layer, dtype=np.float64):
    shape = (B, T, I) if layer.batch_first else (T, B, I)
    return RNG.standard_normal(shape).astype(dtype)


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
    with pytest.raises(TypeError, match=r"GRU got 4 inputs; expected a tuple of at most 3"):
        gradcheck(fastrnn.GRU(1, 1), (1, 2, 3, 4))
    with pytest.raises(ValueError, match="its last axis must be input_size"):
        gradcheck(fastrnn.GRU(2, 1), (np.ones((2, 2, 3), np.float32),))


@every_cell
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_equations_in_complex_numbers_are_the_kernels(cell, options):
    layer = made(cell, **options)
    x, lengths = sequence(layer), np.array([2, T, 0])
    problem = problem_of(layer, (x, None, lengths))
    real = problem.forward(problem.precise)
    plain = problem.forward([v.astype(complex) for v in problem.precise])
    for a, b in zip(real, plain, strict=True):
        assert b.dtype == complex
        np.testing.assert_allclose(b.real, a, rtol=1e-12, atol=1e-13)
        assert not b.imag.any()
    report = gradcheck(layer, (x, None, lengths), method="complex")
    assert report.ok
    assert "kernels compute the equations" in [p.name for p in report.properties]


def test_equations_that_are_not_the_kernels_are_found(monkeypatch):
    layer = fastrnn.GRU(I, H, dtype=np.float64, seed=0)
    right = equations.run

    def wrong(*args):
        return [o + 1e-6 for o in right(*args)]

    monkeypatch.setattr(equations, "run", wrong)
    report = gradcheck(layer, (sequence(layer),), method="complex", raise_exception=False)
    assert "kernels compute the equations" in [p.name for p in report.properties if not p.ok]


@every_cell
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_widened_layer_computes_what_the_layer_does(cell, options):
    layer = made(cell, **options)
    inputs = (sequence(layer), None, np.array([2, T, 1]))
    own = problem_of(layer, inputs).steps.function
    output = layer(*inputs)[0]
    probes = list(widened_layers(own))
    assert len(probes) == len(layer.names)
    top = probes[0][1]
    np.testing.assert_allclose(top.forward(top.values)[0], output, atol=1e-14)
    assert locate(Evaluation(problem_of(layer, inputs), CheckOptions())).first is None


def test_a_copy_has_parameters_of_its_own():
    layer = fastrnn.LSTM(I, H, seed=0)
    twin = copied(layer, np.float64)
    twin.params["weight_ih_l0"][:] = 0
    assert layer.params["weight_ih_l0"].all()
    assert twin(np.ones((T, B, I)))[0].dtype == np.float64
