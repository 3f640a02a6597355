"""Linear against torch, in every number of axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrnn
from fastrnn.nn.linear import weight_gradients
from tests.support.bad_input import INDEX, B, H, I, X, floats
from tests.support.compare import assert_close
from tests.support.configurations import both_dtypes


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@both_dtypes
@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 5, 3), (0, 3), (4, 0, 3)], ids=str)
def test_equals_torch(shape, dtype, bias):
    torch = pytest.importorskip("torch")
    linear = fastrnn.Linear(3, 7, bias=bias, dtype=dtype, seed=0)
    theirs = torch.nn.Linear(3, 7, bias=bias, dtype=getattr(torch, np.dtype(dtype).name))
    theirs.load_state_dict({n: torch.tensor(p) for n, p in linear.state_dict().items()})
    rng = np.random.default_rng(0)
    x, d_y = rng.normal(size=shape).astype(dtype), rng.normal(size=(*shape[:-1], 7)).astype(dtype)
    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf)
    expected.backward(torch.tensor(d_y))
    y, pullback = linear.vjp(x)
    grads = pullback(d_y)
    tolerance = {"atol": 16 * np.finfo(dtype).eps, "rtol": 16 * np.finfo(dtype).eps}
    assert_close(y, expected.detach().numpy(), **tolerance)
    assert_close(linear(x), y, atol=0)
    assert_close(grads.input, leaf.grad.numpy(), **tolerance)
    assert grads.state is None
    assert list(grads.params) == list(linear.params)
    for name, param in theirs.named_parameters():
        assert_close(grads.params[name], param.grad.numpy(), **tolerance, name=name)
    for d in pullback(None).params.values():
        assert not d.any()


@both_dtypes
@given(
    rows=st.one_of(st.integers(1, 40), st.integers(1020, 1030)),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    threads=st.sampled_from([1, 2, 3]),
)
def test_gradients_of_the_weights_alone_are_the_pullbacks(dtype, rows, sizes, threads):
    before = fastrnn.get_num_threads()
    fastrnn.set_num_threads(threads)
    try:
        linear, rng = fastrnn.Linear(*sizes, dtype=dtype, seed=0), np.random.default_rng(rows)
        x = rng.normal(size=(rows, sizes[0])).astype(dtype)
        d_y = rng.normal(size=(rows, sizes[1])).astype(dtype)
        expected = linear.vjp(x)[1](d_y).params
        d_weight, d_bias = weight_gradients(x, d_y)
    finally:
        fastrnn.set_num_threads(before)
    assert_close(d_weight, expected["weight"], atol=0)
    assert_close(d_bias, expected["bias"], atol=0)


def test_a_pullback_is_pure_and_arguments_are_left_alone():
    linear = fastrnn.Linear(3, 2, seed=0)
    x = np.ones((4, 3), np.float32)
    x.flags.writeable = False
    y, pullback = linear.vjp(np.flip(x))
    d_y = np.ones_like(y)
    first, other, again = pullback(d_y), pullback(2 * d_y), pullback(d_y)
    assert_close(2 * first.input, other.input, atol=0)
    assert_close(first.params["weight"], again.params["weight"], atol=0)
    assert (d_y == 1).all()


def test_params_are_live_and_seeded():
    linear, same = fastrnn.Linear(4, 2, seed=3), fastrnn.Linear(4, 2, seed=3)
    x = np.ones(4, np.float32)
    assert_close(linear(x), same(x), atol=0)
    linear.params["bias"] += 1
    assert_close(linear(x), same(x) + 1, atol=1e-6)
    assert np.abs(linear.params["weight"]).max() <= 0.5
    assert repr(linear) == "Linear(4, 2)"
    for name in linear.params:
        linear.params[name] = linear.params[name].astype(np.float64)
        with pytest.raises(ValueError, match=f"Linear: {name} is float64"):
            linear(x)
        linear.params[name] = linear.params[name].astype(np.float32)


LINEAR = fastrnn.Linear(I, H, seed=0)


BAD = {
    "list": ([1.0] * I, TypeError, "Linear: input is a list"),
    "float64": (X.astype(float), ValueError, "Linear: input is float64"),
    "size": (floats(B, I + 1), ValueError, "last axis must be in_features = 5"),
    "0-d": (np.float32(1), ValueError, r"input has shape \(\)"),
    "integers": (INDEX, TypeError, "Linear: input is int64"),
}


@pytest.mark.parametrize(("x", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(request, x, error, message):
    _, pullback = LINEAR.vjp(X)
    request.getfixturevalue("no_kernel")
    for call in (LINEAR, LINEAR.vjp):
        with pytest.raises(error, match=message):
            call(x)
    with pytest.raises(ValueError, match=r"Linear: d_output has shape \(4,\)"):
        pullback(floats(4))
