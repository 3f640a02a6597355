"""Gradient clipping against torch, norms that are not finite among them, and wrong arguments."""

import math

import numpy as np
import pytest

from fastrnn.nn.gradients import Gradients
from fastrnn.optim import clip_grad_norm, clip_grad_value
from tests.support.compare import assert_close
from tests.support.configurations import both_dtypes


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e-3, 1.0, 1e3, math.nan, math.inf])
@both_dtypes
def test_clip_grad_norm_equals_torch(scale, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=5).astype(dtype)
    if math.isfinite(scale):
        w *= scale
        b *= scale
    else:
        b[1] = scale
    leaves = [torch.zeros_like(torch.tensor(array)).requires_grad_() for array in (w, b)]
    for leaf, array in zip(leaves, (w, b), strict=True):
        leaf.grad = torch.tensor(array)
    expected = torch.nn.utils.clip_grad_norm_(leaves, 1e-3).item()
    norm = clip_grad_norm([{"w": w}, {"b": b}], 1e-3)
    eps = float(np.finfo(dtype).eps)
    assert type(norm) is float
    assert norm == pytest.approx(expected, rel=4 * eps, nan_ok=True)
    for array, leaf in zip((w, b), leaves, strict=True):
        assert array.dtype == dtype
        assert_close(array, leaf.grad.numpy(), atol=0, rtol=4 * eps)


def test_clip_grad_norm_accumulates_in_float64():
    grads = {"w": np.full(3, 1e30, np.float32)}
    assert clip_grad_norm(grads, 1.0) == pytest.approx(math.sqrt(3) * 1e30)
    assert_close(grads["w"], np.full(3, 1 / math.sqrt(3)), atol=1e-6)


def test_clip_grad_norm_of_nothing():
    assert clip_grad_norm({}, 1.0) == 0.0
    assert clip_grad_norm([{"w": np.zeros(0)}], 1.0) == 0.0


def test_clip_grad_value():
    grads = [{"w": np.array([-3.0, 0.5, np.nan, np.inf], np.float32)}, {"b": np.array(7.0)}]
    clip_grad_value(grads, np.float64(2))
    assert grads[0]["w"].dtype == np.float32
    assert_close(grads[0]["w"], np.array([-2, 0.5, np.nan, 2]), atol=0)
    assert_close(grads[1]["b"], np.array(2.0), atol=0)
    clip_grad_value(grads, 1e300)


ARRAYS = [
    (np.ones(2), TypeError, r" is a ndarray; expected a dict of arrays, or a list of dicts"),
    (Gradients(None, None, {}), TypeError, r" is a Gradients; expected .*`params`"),
    ([{}, {"w": 1.0}], TypeError, r"\[1\]\['w'\] is a float; expected a NumPy array"),
    ({"w": np.ones(2, int)}, ValueError, r"\['w'\] is int64; expected float32 or float64"),
    ({"w": np.broadcast_to(1.0, 2)}, ValueError, r"\['w'\] is read-only"),
]


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
@pytest.mark.parametrize(("value", "error", "message"), ARRAYS)
def test_refuses_arrays_that_cannot_be_changed(clip, value, error, message):
    with pytest.raises(error, match=f"^{clip.__name__}: grads{message}"):
        clip(value, 1.0)


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
def test_refuses_a_negative_limit(clip):
    with pytest.raises(ValueError, match=r"_\w+ is -1; expected 0 <= value"):
        clip({"w": np.ones(2)}, -1)
    with pytest.raises(TypeError, match=r"is None; expected a number"):
        clip({"w": np.ones(2)}, None)
