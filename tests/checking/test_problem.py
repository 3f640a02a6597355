"""Problems: names of coordinates, flat outputs, and the restriction to some variables."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.problem import Variable, chosen, flat, restricted
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X, product

RNG = np.random.default_rng(0)


def test_wrt_chooses():
    def product(a, b):
        return a @ b, lambda d: (d @ b.T, 0 * b)

    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 2))
    assert gradcheck(product, (a, b), wrt="a").ok
    assert not gradcheck(product, (a, b), wrt=("b",), raise_exception=False).ok
    layer = fastrnn.LSTM(2, 3, seed=0)
    report = gradcheck(layer, (np.ones((4, 2, 2), np.float32),), wrt=("h_0", "weight_hh_l0"))
    assert [v.name for v in report.variables] == ["h_0", "weight_hh_l0"]


def test_none_is_an_error_only_of_what_was_asked_for():
    def f(x, mask):
        return x * mask, lambda d: (d * mask, None)

    report = gradcheck(f, (X, np.ones((3, 4))))
    assert report.variables[1].note == "no gradient given"
    with pytest.raises(GradcheckError, match="mask: there is none"):
        gradcheck(f, (X, np.ones((3, 4))), wrt=("x", "mask"))


def test_coordinates_have_the_users_names():
    weight = Variable("w", np.zeros((8, 3)), ("unit", "from"), ("i", "f", "g", "o"))
    assert weight.called((3, 2)) == "w[gate f, unit 1, from 2]"
    assert Variable("x", np.zeros((2, 2))).called((0, 1)) == "x[0, 1]"
    assert Variable("s", np.array(0.0)).called(()) == "s"
    assert [gate for gate, _ in weight.blocks()] == ["i", "f", "g", "o"]
    assert [len(np.arange(8)[rows]) for _, rows in weight.blocks()] == [2, 2, 2, 2]
    assert Variable("x", np.zeros(2)).blocks() == [("", slice(None))]


def test_flat_outputs_are_copies_with_zeros_for_integers():
    outputs = [np.array([[1.0, 2.0]]), np.array([7, 8]), np.array(3.0)]
    vector = flat(outputs)
    assert vector.tolist() == [1, 2, 0, 0, 3]
    vector[0] = 9
    assert outputs[0][0, 0] == 1
    assert flat([]).shape == (0,)
    assert not np.shares_memory(flat(outputs[:1]), outputs[0])


def test_a_restricted_problem_keeps_the_rest_constant():
    whole = problem_of(product, (X, X.T.copy()))
    part = restricted(whole, "b")
    [b] = part.variables
    outputs, pullback = part.vjp([2 * b.value])
    assert np.array_equal(outputs[0], X @ (2 * X.T))
    [d_b] = pullback([np.ones((3, 3))])
    assert np.array_equal(d_b, X.T @ np.ones((3, 3)))
    assert part.required == ("b",)
    assert restricted(whole, None) is not part
    assert [v.name for v in restricted(whole, None).variables] == ["a", "b"]


def test_variables_are_chosen_in_their_own_order():
    variables = tuple(Variable(name, X) for name in "abc")
    assert [v.name for v in chosen(variables, ("c", "a"))] == ["a", "c"]
    assert chosen(variables, None) == variables
    for wrt, error in (((), ValueError), ("d", ValueError), ((1,), TypeError), (3, TypeError)):
        with pytest.raises(error, match="wrt"):
            chosen(variables, wrt)


def test_eps_is_that_of_the_least_precise_variable():
    problem = problem_of(lambda a, b: (a * b, None), (X.astype(np.float32), X))
    assert problem.eps == np.finfo(np.float32).eps
    assert [value.dtype for value in problem.values] == [np.float32, np.float64]
    assert {value.dtype for value in problem.precise} == {np.dtype(np.float64)}
