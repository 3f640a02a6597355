"""fastrnn/init.py: what is drawn is what the papers say, and nothing else is touched.

(test_init.py is about `fastrnn/__init__.py`.)
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrnn
from fastrnn import init
from fastrnn.cells import CELLS
from tests.support.configurations import every_cell, layer_class

FLOATS = (np.float32, np.float64)
WITH_SEED = (init.uniform, init.glorot, init.orthogonal, init.identity)
every_function = pytest.mark.parametrize(
    "function", [*WITH_SEED, init.forget_bias], ids=lambda f: f.__name__
)
TARGETS = {
    "layer": lambda cell, dtype, **o: layer_class(cell)[0](
        7, 40, num_layers=2, bidirectional=True, **layer_class(cell)[1], dtype=dtype, **o
    ),
    "cell": lambda cell, dtype, **o: layer_class(cell, suffix="Cell")[0](
        7, 40, **layer_class(cell)[1], dtype=dtype, **o
    ),
    "linear": lambda cell, dtype, **o: fastrnn.Linear(7, 40, dtype=dtype, **o),
}


def takes(function, target):
    """Whether a function is for a target of that kind."""
    gates = getattr(getattr(target, "cell", None), "gates", ())
    return {"identity": len(gates) == 1, "forget_bias": "f" in gates}.get(function.__name__, True)


def blocks(target, name):
    return np.split(target.params[name].astype(np.float64), len(target.cell.gates))


@every_function
@every_cell
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_in_place_and_by_the_seed(function, cell, kind, dtype):
    target = TARGETS[kind](cell, dtype, seed=0)
    if not takes(function, target):
        with pytest.raises(
            TypeError, match=f"init.{function.__name__}: layer is a {target._owner}"
        ):
            function(target)
        return
    arrays = dict(target.params)
    assert function(target) is target
    assert all(target.params[name] is array for name, array in arrays.items())
    assert all(array.dtype == dtype and np.isfinite(array).all() for array in arrays.values())
    if function in WITH_SEED:
        first, second, other = (
            function(TARGETS[kind](cell, dtype, seed=0), seed=seed).params for seed in (3, 3, 4)
        )
        assert all(np.array_equal(first[name], second[name]) for name in arrays)
        assert any(not np.array_equal(first[name], other[name]) for name in arrays)
        drawn = [v.ravel()[:20].tobytes() for v in first.values() if len(np.unique(v)) > 2]
        assert len(set(drawn)) == len(drawn)  # no array repeats the stream of another


@every_cell
def test_uniform_has_the_bounds_and_the_deviation_of_torch(cell):
    for kind, n in (("layer", 40), ("cell", 40), ("linear", 7)):
        target = init.uniform(TARGETS[kind](cell, np.float64), seed=0)
        for value in target.params.values():
            assert np.abs(value).max() <= n**-0.5
        weights = np.concatenate([v.ravel() for v in target.params.values()])
        assert np.isclose(weights.std(), n**-0.5 / 3**0.5, rtol=0.1)
        assert abs(weights.mean()) < 4 * weights.std() / len(weights) ** 0.5


@every_cell
@given(data=st.data())
def test_glorot_has_a_bound_for_each_gate(cell, data):
    I, H = data.draw(st.integers(1, 30), "I"), data.draw(st.integers(2, 30), "H")  # noqa: E741
    kind, options = layer_class(cell)
    P = data.draw(st.integers(1, H - 1), "P") if "c" in cell.states else 0
    options |= {"proj_size": P} if P else {}
    layer = init.glorot(kind(I, H, dtype=np.float64, **options), seed=0)
    for name, fans in (("weight_ih_l0", H + I), ("weight_hh_l0", H + (P or H))):
        bound = (6 / fans) ** 0.5
        for block in blocks(layer, name):
            assert np.abs(block).max() <= bound
            if block.size > 200:
                assert np.isclose(block.std(), bound / 3**0.5, rtol=0.2)
    if P:
        assert np.abs(layer.params["weight_hr_l0"]).max() <= (6 / (P + H)) ** 0.5
    assert not any(np.any(v) for name, v in layer.params.items() if name.startswith("bias"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
@pytest.mark.parametrize("gain", [1.0, 0.3])
@every_cell
def test_orthogonal_blocks(cell, gain, dtype, tolerance):
    for kind in ("layer", "cell"):
        target = TARGETS[kind](cell, dtype, seed=1)
        before = target.state_dict()
        init.orthogonal(target, gain, seed=0)
        for name, value in target.params.items():
            if not name.startswith("weight_hh"):
                assert np.array_equal(value, before[name])
                continue
            for block in blocks(target, name):
                assert np.abs(block @ block.T / gain**2 - np.eye(40)).max() < tolerance
                assert np.abs(block.T @ block / gain**2 - np.eye(40)).max() < tolerance


@pytest.mark.parametrize("P", [1, 3, 8])
def test_orthogonal_under_a_projection_and_for_linear(P):
    lstm = init.orthogonal(fastrnn.LSTM(4, 9, proj_size=P, dtype=np.float64), seed=0)
    for block in blocks(lstm, "weight_hh_l0"):
        assert block.shape == (9, P)
        assert np.abs(block.T @ block - np.eye(P)).max() < 1e-12
    for shape in ((P, 9), (9, P)):
        linear = init.orthogonal(fastrnn.Linear(*shape, dtype=np.float64, seed=2), seed=0)
        singular = np.linalg.svd(linear.params["weight"], compute_uv=False)
        assert np.abs(singular - 1).max() < 1e-12
        bias = fastrnn.Linear(*shape, dtype=np.float64, seed=2).params["bias"]
        assert np.array_equal(linear.params["bias"], bias)


def test_orthogonal_is_uniform():
    """Of 2 x 2 matrices: every angle, and reflections as often as rotations."""
    random = np.random.default_rng(0)
    drawn = np.array([init._orthonormal(random, 2, 2) for _ in range(4000)])
    assert abs(np.mean(np.linalg.det(drawn) > 0) - 0.5) < 0.03
    angles = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    counts = np.histogram(angles, 8, (-np.pi, np.pi))[0]
    assert np.all(np.abs(counts - 500) < 100)


def test_identity_keeps_the_state():
    rnn = init.identity(fastrnn.RNN(300, 50, num_layers=2, nonlinearity="relu"), seed=0)
    assert np.array_equal(rnn.params["weight_hh_l0"], np.eye(50, dtype=np.float32))
    assert np.isclose(rnn.params["weight_ih_l0"].std(), 0.001, rtol=0.05)
    assert not rnn.params["bias_ih_l1"].any()
    assert not rnn.params["bias_hh_l0"].any()
    h_0 = np.random.default_rng(0).uniform(0, 1, (2, 1, 50)).astype(np.float32)
    one = init.identity(fastrnn.RNN(3, 50, nonlinearity="relu"), std=0.0)
    _, h_n = one(np.ones((100, 1, 3), np.float32), h_0[:1])
    assert np.array_equal(h_n, h_0[:1])
    assert np.array_equal(init.identity(one, 0.25).params["weight_hh_l0"], np.eye(50) / 4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_forget_bias_is_the_sum(dtype):
    for make in (TARGETS["layer"], TARGETS["cell"]):
        lstm = make(fastrnn.LSTM.cell, dtype, seed=0)
        before = lstm.state_dict()
        init.forget_bias(lstm, 2.0)
        names = [name for name in lstm.params if name.startswith("bias_ih")]
        assert len(names) in (1, 4)
        for name in names:
            other = name.replace("_ih", "_hh")
            total = lstm.params[name] + lstm.params[other]
            assert np.array_equal(total[40:80], np.full(40, 2.0, dtype))
            for bias in (name, other):
                changed = lstm.params[bias] != before[bias]
                assert changed[40:80].all()
                assert not np.delete(changed, np.s_[40:80]).any()
        assert all(np.array_equal(lstm.params[n], before[n]) for n in before if "bias" not in n)


@every_function
@pytest.mark.parametrize("wrong", [None, 3, "lstm", np.zeros(3), fastrnn.LSTM, {"weight": 1}])
def test_what_is_no_layer_is_refused(function, wrong):
    with pytest.raises(TypeError, match=rf"init\.{function.__name__}: layer is a"):
        function(wrong)


def test_numbers_are_checked():
    rnn, lstm = fastrnn.RNN(2, 3), fastrnn.LSTM(2, 3)
    for wrong, error in (
        ("1", TypeError),
        (True, TypeError),
        (np.nan, ValueError),
        (-np.inf, ValueError),
    ):
        with pytest.raises(error, match="gain should be"):
            init.orthogonal(rnn, wrong)
        with pytest.raises(error, match="std should be"):
            init.identity(rnn, std=wrong)
        with pytest.raises(error, match="value should be"):
            init.forget_bias(lstm, wrong)
    with pytest.raises(ValueError, match="std must be at least 0"):
        init.identity(rnn, std=-1.0)
    with pytest.raises(ValueError, match="bias=False"):
        init.forget_bias(fastrnn.LSTM(2, 3, bias=False))
    with pytest.raises(TypeError, match="A GRU remembers where z is near 1"):
        init.forget_bias(fastrnn.GRU(2, 3))


def test_nothing_is_changed_by_a_refusal():
    rnn = fastrnn.RNN(2, 3, seed=0)
    before = rnn.state_dict()
    for call in (
        lambda: init.identity(rnn, std=-1.0),
        lambda: init.orthogonal(rnn, np.nan),
        lambda: init.forget_bias(rnn),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert all(np.array_equal(rnn.params[name], before[name]) for name in before)


def test_every_cell_is_covered():
    assert {len(cell.gates) for cell in CELLS} == {1, 3, 4}
