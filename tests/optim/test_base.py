"""What optimisers share: live parameters, saved states, and arrays that are refused."""

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.nn.gradients import Gradients
from fastrnn.optim.base import dicts, in_place, number
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import both_dtypes
from tests.support.optimisers import copy, draw, every_rule


@every_rule
@both_dtypes
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
    assert {param.dtype for group in params for param in group.values()} == {np.dtype(dtype)}
    assert_bits(resumed_params, params)
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


def test_params_stay_live():
    params = {"w": np.ones(2)}
    opt = optim.SGD(params, lr=1.0)
    params["w"][...] = 5.0
    opt.step({"w": np.ones(2)})
    assert_close(params["w"], np.full(2, 4.0), atol=0)


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


def test_a_dict_is_a_list_of_one():
    group = {"w": np.ones(2)}
    assert dicts("here", group) == [group]
    assert dicts("here", (group, {})) == [group, {}]
    with pytest.raises(TypeError, match="here is a str"):
        dicts("here", "w")
    assert in_place("here", group)[0]["w"] is group["w"]


def test_numbers_have_bounds():
    assert number("here", np.float32(0.5), below=1) == 0.5
    for value in (-1, np.nan, 1):
        with pytest.raises(ValueError, match=r"here is .*; expected 0 <= value < 1"):
            number("here", value, below=1)
    for value in (True, None, "1"):
        with pytest.raises(TypeError, match=r"here is .*; expected a number"):
            number("here", value)
