"""Containers come back to the user's functions as they were: classes, keys, order, attributes."""

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.targets import containers

Pair = namedtuple("Pair", "w b")
Outputs = namedtuple("Outputs", "a c")
RNG = np.random.default_rng(0)
W, B, X = RNG.standard_normal((3, 4))


class Tagged(dict):
    """A dict with an attribute, whose constructor wants more than members."""

    def __init__(self, tag, **members):
        super().__init__(**members)
        self.tag = tag


class Listed(list):
    pass


def affine(p, x):
    assert type(p) is Pair

    def pullback(d):
        assert type(d) is Outputs
        return Pair(d.a * x, d.a), d.a * p.w + d.c

    return Outputs(p.w * x + p.b, x * 1), pullback


def test_named_tuples():
    report = gradcheck(affine, (Pair(W, B), X))
    assert [v.name for v in report.variables] == ["p.w", "p.b", "x"]

    def wrong(p, x):
        output, pullback = affine(p, x)
        return output, lambda d: (Pair(d.a * x, 2 * d.a), pullback(d)[1])

    with pytest.raises(GradcheckError, match=r"wrong gradient of p\.b"):
        gradcheck(wrong, (Pair(W, B), X))


@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: (g,), tuple, lambda g: (tuple(g),)])
def test_one_named_tuple_may_come_back_bare_or_in_a_tuple(wrap):
    def f(p):
        return Outputs(p.w * 2, p.b**2), lambda d: wrap(Pair(2 * d.a, 2 * p.b * d.c))

    assert gradcheck(f, (Pair(W, B),)).ok


@pytest.mark.parametrize(
    "make",
    [
        dict,
        OrderedDict,
        lambda **members: defaultdict(list, members),
        lambda **members: Tagged("kept", **members),
    ],
    ids=["dict", "OrderedDict", "defaultdict", "Tagged"],
)
@pytest.mark.parametrize("factor", [1, 2])
def test_dicts(make, factor):
    kind = type(make())

    def forward(p):
        assert type(p) is kind
        assert list(p) == ["w", "b"]
        assert getattr(p, "tag", "kept") == "kept"
        return make(y=p["w"] * 2, z=p["b"] ** 2)

    def vjp(p, d):
        assert type(d) is kind
        assert list(d) == ["y", "z"]
        return {"b": factor * 2 * p["b"] * d["z"], "w": 2 * d["y"]}  # in any order

    target = make(w=W, b=B)
    for inputs in ((target,), target):
        report = gradcheck((forward, vjp), inputs, raise_exception=False)
        assert report.ok == (factor == 1)
        assert [v.name for v in report.variables] == ["p['w']", "p['b']"]
    function = gradcheck(lambda p: (forward(p), lambda d: vjp(p, d)), target, raise_exception=False)
    assert function.ok == (factor == 1)


@pytest.mark.parametrize("kind", [list, Listed])
def test_lists(kind):
    def f(p):
        assert type(p) is kind

        def pullback(d):
            assert type(d) is kind
            return [2 * d[0], 3 * d[1]]

        return kind([2 * p[0], 3 * p[1]]), pullback

    assert gradcheck(f, (kind([W, B]),)).ok


def test_nested_with_what_is_no_array():
    def f(p, s):
        [layer] = p["layers"]
        assert type(layer) is Pair
        assert (p["n"], p["nothing"]) == (3, None)

        def pullback(d):
            assert d["nothing"] is None
            o, (q,) = d["o"]
            return {"layers": [Pair(o * s, q)]}, o * layer.w

        return {"o": [layer.w * s, (layer.b,)], "nothing": None}, pullback

    report = gradcheck(f, ({"layers": [Pair(W, B)], "n": 3, "nothing": None}, X))
    assert [v.name for v in report.variables] == ["p['layers'][0].w", "p['layers'][0].b", "s"]


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda d: {"w": d, "v": d}, "a dict of 'w', 'v' for p"),
        (lambda d: d, "a ndarray for p"),
        (lambda d: (d, d), "a tuple of 2"),
    ],
)
def test_another_form_is_refused(gradient, words):
    with pytest.raises(TypeError, match=words):
        gradcheck(lambda p: (p["w"] * 1, gradient), {"w": W})


def test_rebuilding_leaves_the_original():
    value = {"a": [1, (2, Pair(3, 4))]}

    def build(v):
        if isinstance(v, int):
            return v + 10
        return containers.rebuilt(v, lambda _, m: build(m))

    assert build(value) == {"a": [11, (12, Pair(13, 14))]}
    assert value == {"a": [1, (2, Pair(3, 4))]}
    assert type(build(value)["a"][1][1]) is Pair


def test_what_is_a_container():
    assert containers.is_container([W])
    assert containers.is_container([[W]])
    assert not containers.is_container([1.0, 2.0])  # it forgot to be an array
    assert not containers.is_container(W)
    assert containers.shown(Pair(W, B), 1) == ".b"
    assert containers.shown({"k": W}, "k") == "['k']"
    assert containers.shown([W], 0) == "[0]"
