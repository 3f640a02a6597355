"""Plain functions as targets: their names, nesting and gates, and what is refused."""

from functools import partial

import numba
import numpy as np
import pytest

from fastrnn import functional as F
from fastrnn import reference
from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.targets.dispatch import problem_of
from fastrnn.checking.targets.numpy import leaves, rebuilt

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))


def square(x):
    return x * x, lambda d: 2 * x * d


def product(a, b):
    return a @ b, lambda d: (d @ b.T, a.T @ d)


def two(x):
    return (np.sin(x), {"sum": x.sum()}["sum"]), lambda d: np.cos(x) * d[0] + d[1]


def names(problem):
    return [variable.name for variable in problem.variables]


def test_one_input_one_output():
    assert gradcheck(square, (X,)).ok
    assert gradcheck(square, X).ok


def test_several_inputs_are_known_by_their_names():
    report = gradcheck(product, (X, X.T.copy()))
    assert [v.name for v in report.variables] == ["a", "b"]


def test_several_outputs_and_their_cotangents_are_tuples():
    assert gradcheck(two, (X,)).ok


def test_a_pair_of_forward_and_vjp():
    assert gradcheck((np.sin, lambda x, d: np.cos(x) * d), (X,)).ok
    with pytest.raises(GradcheckError):
        gradcheck((np.sin, lambda x, d: -np.cos(x) * d), (X,))
    pair = (lambda a, b: a @ b, lambda a, b, d: (d @ b.T, a.T @ d))
    assert gradcheck(pair, (X, X.T.copy())).ok


def test_a_numba_kernel():
    @numba.njit
    def forward(x, w):
        h, total = 0.0, 0.0
        for t in range(x.shape[0]):
            h = np.tanh(x[t] * w[0] + h * w[1])
            total += h
        return total

    @numba.njit
    def backward(x, w, d):
        n = x.shape[0]
        h = np.zeros(n + 1)
        for t in range(n):
            h[t + 1] = np.tanh(x[t] * w[0] + h[t] * w[1])
        d_x, d_w, d_h = np.zeros(n), np.zeros(2), 0.0
        for t in range(n - 1, -1, -1):
            d_a = (d + d_h) * (1 - h[t + 1] ** 2)
            d_x[t], d_h = d_a * w[0], d_a * w[1]
            d_w[0] += d_a * x[t]
            d_w[1] += d_a * h[t]
        return d_x, d_w

    def vjp(x, w, d):
        return backward(x, w, float(d))

    x, w = RNG.standard_normal(6), np.array([0.5, 0.8])
    report = gradcheck((forward, vjp), (x, w))
    assert report.method.startswith("complex")  # Numba compiles it for complex numbers
    assert [v.name for v in report.variables] == ["x", "w"]
    with pytest.raises(GradcheckError) as caught:
        gradcheck((forward, lambda x, w, d: (vjp(x, w, d)[0], 0.5 * vjp(x, w, d)[1])), (x, w))
    assert "half as large" in caught.value.report.hints[-1]


def test_a_gradient_that_others_wrote():
    optimize = pytest.importorskip("scipy.optimize")
    pair = (optimize.rosen, lambda x, d: d * optimize.rosen_der(x))
    assert gradcheck(pair, (RNG.standard_normal(7),)).ok


def test_layer_norm_in_numpy_float32():
    def layer_norm(x, scale):
        mean, deviation = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
        n = (x - mean) / deviation

        def pullback(d):
            d_n = d * scale
            d_x = d_n - d_n.mean(-1, keepdims=True) - n * (d_n * n).mean(-1, keepdims=True)
            return d_x / deviation, (d * n).sum(0)

        return n * scale, pullback

    inputs = RNG.standard_normal((5, 8)).astype(np.float32), np.ones(8, np.float32)
    report = gradcheck(layer_norm, inputs)
    assert report.ok
    assert max(v.worst.ulp for v in report.variables) < 16


@pytest.mark.parametrize("module", [F, reference])
@pytest.mark.parametrize("projection", [False, True])
def test_functions_that_return_gradients_by_name(module, projection):
    H, E = 3, 2 if projection else 3
    w = [RNG.standard_normal(s) for s in ((12, 4), (12, E), (12,), (12,))]
    w += [RNG.standard_normal((E, H))] if projection else []
    state = (RNG.standard_normal((2, E)), RNG.standard_normal((2, H)))
    target = partial(module.lstm_vjp, lengths=np.array([5, 2]))
    report = gradcheck(target, (RNG.standard_normal((5, 2, 4)), state, *w), mode="sample")
    assert [v.name for v in report.variables][:4] == ["x", "state[0]", "state[1]", "w_ih"]
    assert list(report.variables[3].gates) == ["i", "f", "g", "o"]


def test_integers_and_none_are_passed_on():
    def f(x, index, nothing):
        assert nothing is None
        return x[index], lambda d: (np.bincount(index, d, len(x)), None, None)

    problem = problem_of(f, (RNG.standard_normal(4), np.array([1, 1, 3]), None))
    assert names(problem) == ["x"]
    assert gradcheck(f, (RNG.standard_normal(4), np.array([1, 1, 3]), None)).ok


def test_gates_are_known_from_a_recurrent_weight():
    def f(x, w_hh, b_hh):
        return x, lambda d: (d, None, None)

    problem = problem_of(f, (X, np.ones((9, 3)), np.ones(9)))
    assert problem.variables[1].called((4, 2)) == "w_hh[gate z, 1, 2]"
    assert problem.variables[2].called((8,)) == "b_hh[gate n, 2]"
    assert problem_of(f, (X, np.ones((3, 3)), np.ones(3))).variables[1].gates == ()


def test_leaves_and_rebuilt_are_inverse():
    nested = (np.ones(2), (np.zeros(3), np.ones(())), None)
    again = rebuilt(nested, leaves(nested))
    assert again[2] is None
    assert again[1][0] is nested[1][0]
