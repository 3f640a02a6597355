"""Layers and functions whose pre-activations are an input: the same outputs, the deltas of BPTT."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.location import locate
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.targets.dispatch import problem_of
from fastrnn.checking.targets.preactivations import widened_layers
from tests.support.configurations import every_cell
from tests.support.layer_targets import OPTIONS, B, H, I, T, made, sequence


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


def test_the_gradient_at_a_preactivation_is_the_delta_that_the_tracer_sees():
    layer = fastrnn.LSTM(I, H, 2, bidirectional=True, dtype=np.float64, seed=0)
    x = sequence(layer)
    d_output = np.random.default_rng(1).standard_normal((T, B, 2 * H))
    own = problem_of(layer, (x,)).steps.function
    traced = fastrnn.trace(layer, x, d_output)["l1"].d_preactivations
    expected = np.concatenate([traced[gate] for gate in layer.cell.gates], axis=2)
    _, problem, gates, reverse = next(p for p in widened_layers(own) if p[0] == "layer 1")
    assert (gates, reverse) == (layer.cell.gates, False)
    outputs, pullback = problem.vjp(problem.values)
    [delta] = pullback([d_output, *[np.zeros_like(o) for o in outputs[1:]]])
    np.testing.assert_allclose(delta, expected, atol=1e-14)
