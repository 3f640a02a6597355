"""The optimisers against torch.optim, step by step; resuming, dtypes, and wrong arguments."""

import math

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.nn.gradients import Gradients
from tests.support.compare import assert_close

RULES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.3, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.0, 0.5), "weight_decay": 0.3}),
    ("AdamW", {"amsgrad": True}),
]
IDS = ["-".join([name, *options]) for name, options in RULES]
every_rule = pytest.mark.parametrize(("name", "options"), RULES, ids=IDS)
SHAPES = [
    {"weight_ih_l0": (4, 3), "bias_ih_l0": (4,)},
    {"weight": (2, 4), "scalar": (), "none": (0, 2)},
]


def draw(rng, dtype=np.float64):
    return [
        {k: np.asarray(rng.normal(size=s), dtype) for k, s in group.items()} for group in SHAPES
    ]


def copy(groups):
    return [{k: a.copy() for k, a in group.items()} for group in groups]


def pairs(groups, others):
    for group, other in zip(groups, others, strict=True):
        for name in group:
            yield name, group[name], other[name]


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
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resumes_bit_for_bit_through_safetensors(name, options, dtype, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    params = draw(rng, dtype)
    opt = getattr(optim, name)(params, **options)
    for _ in range(3):
        opt.step(draw(rng, dtype))
    safetensors.save_file(opt.state_dict(), tmp_path / "state")
    resumed_params = copy(params)
    resumed = getattr(optim, name)(resumed_params, **options)
    resumed.load_state_dict(safetensors.load_file(tmp_path / "state"))
    for _ in range(3):
        grads = draw(rng, dtype)
        opt.step(grads)
        resumed.step(grads)
    for key, param, other in pairs(params, resumed_params):
        assert param.dtype == dtype
        assert_close(other, param, atol=0, name=key)
    state = resumed.state_dict()
    assert state["step"] == 6
    assert all(buffer.dtype == dtype for key, buffer in state.items() if key != "step")


def test_state_dict_is_flat_and_a_copy():
    opt = optim.Adam({"w": np.ones(2)})
    state = opt.state_dict()
    assert list(state) == ["step", "exp_avg.0.w", "exp_avg_sq.0.w"]
    opt.step({"w": np.ones(2)})
    assert state["step"] == 0
    assert not state["exp_avg.0.w"].any()


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
    for key, grad, old in pairs(grads, grads_before):
        assert_close(grad, old, atol=0, name=key)
    for key, param, other in pairs(params, ours):
        assert_close(param, other, atol=0, name=key)


def test_params_stay_live():
    params = {"w": np.ones(2)}
    opt = optim.SGD(params, lr=1.0)
    params["w"][...] = 5.0
    opt.step({"w": np.ones(2)})
    assert_close(params["w"], np.full(2, 4.0), atol=0)


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


READ_ONLY = np.ones(2)
READ_ONLY.flags.writeable = False
ARRAYS = [
    (
        np.ones(2),
        TypeError,
        r" is a ndarray; expected a dict of arrays, or a list of dicts, such as",
    ),
    ([np.ones(2)], TypeError, r" is a list; expected a dict of arrays"),
    (Gradients(None, None, {}), TypeError, r" is a Gradients; expected .*`params`"),
    ({"w": [1.0]}, TypeError, r"\['w'\] is a list; expected a NumPy array"),
    ([{}, {"w": 1.0}], TypeError, r"\[1\]\['w'\] is a float; expected a NumPy array"),
    ({"w": np.ones(2, int)}, ValueError, r"\['w'\] is int64; expected float32 or float64"),
    ({"w": READ_ONLY}, ValueError, r"\['w'\] is read-only; expected an array to change in place"),
]


@pytest.mark.parametrize(("value", "error", "message"), ARRAYS)
def test_refuses_arrays_that_cannot_be_changed(value, error, message):
    with pytest.raises(error, match="^SGD: params" + message):
        optim.SGD(value)


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        (Gradients(None, None, {}), TypeError, r"grads is a Gradients; expected"),
        ([{"a": np.ones(2), "b": np.ones(3)}] * 2, ValueError, r"grads has 2 dicts; expected 1"),
        ({"a": np.ones(2)}, KeyError, r"grads: missing \['b'\], unknown \[\]"),
        ({"a": np.ones(2), "b": np.ones(3), "c": 0}, KeyError, r"missing \[\], unknown \['c'\]"),
        (
            {"a": np.ones(2), "b": np.ones(2)},
            ValueError,
            r"grads\['b'\] has shape \(2,\); expected \(3,\)",
        ),
        (
            {"a": np.ones(2), "b": np.ones(3, np.float32)},
            ValueError,
            r"grads\['b'\] is float32; expected float64; convert it, e.g. .astype\(np.float64\)",
        ),
        ({"a": np.ones(2), "b": None}, TypeError, r"grads\['b'\] is a NoneType"),
    ],
)
def test_a_refused_step_changes_nothing(grads, error, message):
    params = {"a": np.ones(2), "b": np.ones(3)}
    opt = optim.Adam(params)
    with pytest.raises(error, match=message):
        opt.step(grads)
    assert opt.steps == 0
    assert_close(params["a"], np.ones(2), atol=0)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"step": None}, KeyError, r"RMSprop: state: missing \['step'\]"),
        ({"square_avg.1.w": np.ones(2)}, KeyError, r"unknown \['square_avg.1.w'\]"),
        ({"square_avg.0.w": np.ones(3)}, ValueError, r"state\['square_avg.0.w'\] has shape \(3,\)"),
        ({"square_avg.0.w": np.ones(2, np.float32)}, ValueError, r"is float32; expected float64"),
        ({"step": 3}, TypeError, r"state\['step'\] is a int; expected a NumPy array"),
    ],
)
def test_a_refused_state_loads_nothing(changed, error, message):
    opt = optim.RMSprop({"w": np.ones(2)})
    state = {k: a for k, a in (opt.state_dict() | changed).items() if a is not None}
    with pytest.raises(error, match=message):
        opt.load_state_dict(state)
    assert opt.steps == 0
