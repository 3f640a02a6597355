"""The update rules against torch.optim, step by step; dtypes, and hyper-parameters refused."""

import math

import numpy as np
import pytest

from fastrnn import optim
from tests.support.compare import assert_bits, assert_close
from tests.support.optimisers import copy, draw, every_rule, pairs


@every_rule
def test_equals_torch(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = draw(rng)
    theirs = [
        {k: torch.tensor(a, requires_grad=True) for k, a in group.items()} for group in params
    ]
    leaves = [t for group in theirs for t in group.values()]
    opt, expected = (
        getattr(optim, name)(params, **options),
        getattr(torch.optim, name)(leaves, **options),
    )
    for step in range(20):
        if step == 10:
            opt.lr = expected.param_groups[0]["lr"] = 0.05
        grads = draw(rng)
        for _, tensor, grad in pairs(theirs, grads):
            tensor.grad = torch.tensor(grad)
        opt.step(grads)
        expected.step()
        for key, param, tensor in pairs(params, theirs):
            assert_close(
                param, tensor.detach().numpy(), atol=1e-12, rtol=1e-12, name=f"{key} at {step}"
            )


@every_rule
def test_steps_in_place_and_leaves_gradients_alone(name, options):
    rng = np.random.default_rng(0)
    params, grads = draw(rng, np.float32), draw(rng, np.float32)
    params[0]["weight_ih_l0"] = np.ones((3, 8), np.float32).T[::2]  # any strides
    ours, before, grads_before = copy(params), copy(params), copy(grads)
    arrays = [a for group in params for a in group.values()]
    opt = getattr(optim, name)(params, **options)
    contiguous = getattr(optim, name)(ours, **options)
    opt.lr = contiguous.lr = np.float64(0.1)  # a schedule may compute it: no reason to upcast
    opt.step(grads)
    contiguous.step(grads)
    for array, (key, param, old) in zip(arrays, pairs(params, before), strict=True):
        assert param is array
        assert param.dtype == np.float32
        assert param.size == 0 or not np.array_equal(param, old), key
    assert_bits(grads, grads_before)
    assert_bits(params, ours)


def test_nan_and_overflow_pass_silently_to_the_parameter():
    params = {"w": np.zeros(3, np.float32)}
    optim.Adam(params).step({"w": np.array([np.nan, 1.0, 3e38], np.float32)})
    assert np.isnan(params["w"][0])
    assert np.isfinite(params["w"][1:]).all()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("SGD", {"lr": -0.1}, ValueError, r"SGD: lr is -0.1; expected 0 <= value"),
        ("SGD", {"lr": math.nan}, ValueError, r"SGD: lr is nan; expected 0 <= value"),
        ("SGD", {"lr": "0.1"}, TypeError, r"SGD: lr is '0.1'; expected a number"),
        ("SGD", {"momentum": -1}, ValueError, r"SGD: momentum is -1"),
        ("SGD", {"weight_decay": -1}, ValueError, r"SGD: weight_decay is -1"),
        ("SGD", {"nesterov": True}, ValueError, r"SGD: nesterov with momentum = 0 and .*expected"),
        (
            "SGD",
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            ValueError,
            r"nesterov with momentum = 0.9 and dampening = 0.1; expected momentum > 0 and",
        ),
        ("RMSprop", {"alpha": -1}, ValueError, r"RMSprop: alpha is -1"),
        ("RMSprop", {"eps": -1}, ValueError, r"RMSprop: eps is -1"),
        (
            "Adam",
            {"betas": (1.0, 0.9)},
            ValueError,
            r"Adam: betas\[0\] is 1.0; expected 0 <= value < 1",
        ),
        (
            "AdamW",
            {"betas": (0.9, -1)},
            ValueError,
            r"AdamW: betas\[1\] is -1; expected 0 <= value < 1",
        ),
        ("Adam", {"betas": (0.9,)}, ValueError, r"Adam: betas is \(0.9,\); expected two numbers"),
    ],
)
def test_refuses_hyper_parameters(name, options, error, message):
    with pytest.raises(error, match=message):
        getattr(optim, name)({"w": np.ones(2)}, **options)
