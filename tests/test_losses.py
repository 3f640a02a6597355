"""The losses against torch, against their own definition, and against what users get wrong."""

import math

import numpy as np
import pytest

from fastrnn.losses import mse, softmax_cross_entropy
from tests.support.compare import assert_close
from tests.support.configurations import both_dtypes

reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])
masks = pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


def draw(shape, dtype=np.float64, scale=3.0):
    return (scale * np.random.default_rng(0).normal(size=shape)).astype(dtype)


def draw_targets(shape, classes):
    return np.random.default_rng(1).integers(0, classes, shape)


def draw_mask(shape):
    return np.random.default_rng(2).random(shape) < 0.6


def textbook_cross_entropy(logits, targets, keep, reduction):
    """One position at a time, in float64."""
    scale = 1 / keep.sum() if reduction == "mean" else 1
    loss, d_logits = 0.0, np.zeros(logits.shape)
    for position in zip(*np.nonzero(keep), strict=True):
        exp = np.exp(logits[position].astype(np.float64))
        softmax = exp / exp.sum()
        loss -= scale * np.log(softmax[targets[position]])
        softmax[targets[position]] -= 1
        d_logits[position] = scale * softmax
    return loss, d_logits


@both_dtypes
@reductions
@masks
def test_softmax_cross_entropy_equals_its_definition(dtype, reduction, masked):
    logits, targets, mask = draw((4, 3, 7), dtype), draw_targets((4, 3), 7), draw_mask((4, 3))
    keep = mask if masked else np.ones((4, 3), bool)
    loss, d_logits = softmax_cross_entropy(logits, targets, mask if masked else None, reduction)
    expected, d_expected = textbook_cross_entropy(logits, targets, keep, reduction)
    assert type(loss) is float
    assert d_logits.dtype == dtype
    assert loss == pytest.approx(expected, rel=TOLERANCE[dtype])
    assert_close(d_logits, d_expected, atol=TOLERANCE[dtype], name="d_logits")


@reductions
@masks
def test_softmax_cross_entropy_equals_torch(reduction, masked):
    torch = pytest.importorskip("torch")
    logits, targets, mask = draw((5, 6, 9)), draw_targets((5, 6), 9), draw_mask((5, 6))
    leaf = torch.tensor(logits, requires_grad=True)
    right = torch.tensor(np.where(mask, targets, -100) if masked else targets)
    expected = torch.nn.functional.cross_entropy(leaf.movedim(2, 1), right, reduction=reduction)
    expected.backward()
    ignored = np.where(mask, targets, -100) if masked else targets
    loss, d_logits = softmax_cross_entropy(logits, ignored, mask if masked else None, reduction)
    assert loss == pytest.approx(expected.item(), rel=1e-14)
    assert_close(d_logits, leaf.grad.numpy(), atol=1e-14, name="d_logits")


@reductions
@pytest.mark.parametrize("mask_axes", [None, 2, 3])
def test_mse_equals_torch(reduction, mask_axes):
    torch = pytest.importorskip("torch")
    pred, target = draw((4, 3, 2)), draw((4, 3, 2), scale=1.0)[::-1]
    mask = None if mask_axes is None else draw_mask(pred.shape[:mask_axes])
    leaf = torch.tensor(pred, requires_grad=True)
    kept = torch.tensor(np.ones((4, 3, 2), bool) if mask is None else mask)
    expected = torch.nn.functional.mse_loss(
        leaf[kept], torch.tensor(target.copy())[kept], reduction=reduction
    )
    expected.backward()
    loss, d_pred = mse(pred, target, mask, reduction)
    assert type(loss) is float
    assert loss == pytest.approx(expected.item(), rel=1e-14)
    assert_close(d_pred, leaf.grad.numpy(), atol=1e-14, rtol=1e-14, name="d_pred")


def test_mse_accumulates_in_float64():
    loss, d_pred = mse(np.full(3, 1e30, np.float32), np.zeros(3, np.float32), reduction="sum")
    assert loss == pytest.approx(3e60, rel=1e-6)
    assert_close(d_pred, np.full(3, 2e30), atol=0, rtol=1e-6)


@both_dtypes
def test_gradients_have_the_dtype_of_the_argument(dtype):
    pred = draw((3, 2), dtype)
    for order in ("=", ">"):
        swapped = pred.astype(pred.dtype.newbyteorder(order))
        assert mse(swapped, swapped)[1].dtype == dtype
        assert softmax_cross_entropy(swapped, np.zeros(3, int))[1].dtype == dtype


@both_dtypes
def test_extreme_logits_neither_overflow_nor_lose_the_loss(dtype):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype)
    loss, d_logits = softmax_cross_entropy(logits, np.array([1, 0, 2]), reduction="sum")
    assert loss == pytest.approx(2e4 + 2 * math.log(3), rel=1e-7)
    third = 1 / 3
    expected = [[1, -1, 0], [third - 1, third, third], [third, third, third - 1]]
    assert_close(d_logits, np.array(expected), atol=1e-6)


def test_a_class_of_minus_infinity_has_no_probability():
    logits = np.array([[0.0, -np.inf, 0.0]])
    loss, d_logits = softmax_cross_entropy(logits, np.array([2]))
    assert loss == pytest.approx(math.log(2))
    assert_close(d_logits, np.array([[0.5, 0.0, -0.5]]), atol=1e-15)
    assert softmax_cross_entropy(logits, np.array([1]))[0] == math.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_that_counts_is_seen(value):
    logits = draw((3, 4))
    logits[1, 2] = value
    loss, d_logits = softmax_cross_entropy(logits, np.zeros(3, int))
    assert math.isnan(loss)
    assert np.isnan(d_logits[1]).all()
    assert np.isfinite(d_logits[[0, 2]]).all()
    assert not math.isfinite(mse(logits, np.zeros((3, 4)))[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_the_mask_drops_may_be_anything(value):
    mask = np.array([True, False, True])
    logits, targets = draw((3, 4)), np.array([1, -100, 3])
    clean = softmax_cross_entropy(logits[mask], targets[mask])
    pred, target = draw((3, 4)), draw((3, 4), scale=1.0)
    clean_mse = mse(pred[mask], target[mask])
    logits[1] = pred[1] = target[1] = value
    for (got, d_got), (loss, d_clean) in [
        (softmax_cross_entropy(logits, targets, mask), clean),
        (mse(pred, target, mask), clean_mse),
    ]:
        assert got == loss
        assert not d_got[1].any()
        assert_close(d_got[mask], d_clean, atol=0)


@reductions
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_nothing_that_counts_is_a_loss_of_zero(reduction, shape):
    pred, mask = np.full((*shape, 4), np.nan), np.zeros(shape, bool)
    for loss, gradient in [
        softmax_cross_entropy(pred, np.zeros(shape, int), mask, reduction),
        mse(pred, pred, mask, reduction),
    ]:
        assert loss == 0.0
        assert_close(gradient, np.zeros((*shape, 4)), atol=0)


def test_one_position_needs_no_axis():
    loss, d_logits = softmax_cross_entropy(np.zeros(4), np.int64(2))
    assert loss == pytest.approx(math.log(4))
    assert_close(d_logits, np.array([0.25, 0.25, -0.75, 0.25]), atol=1e-15)
    loss, d_pred = mse(np.float64(3), np.float64(1))
    assert loss == 4.0
    assert_close(d_pred, np.array(4.0), atol=0)


def test_arguments_are_not_modified_and_may_be_read_only_views():
    logits, targets, mask = draw((6, 4))[::-2].T[:3].T, draw_targets(3, 3), draw_mask(3)
    expected = softmax_cross_entropy(logits.copy(), targets, mask)[1]
    before = [array.copy() for array in (logits, targets, mask)]
    for array in (logits, targets, mask):
        array.flags.writeable = False
    assert_close(softmax_cross_entropy(logits, targets, mask)[1], expected, atol=0)
    softmax_cross_entropy(logits, targets)
    mse(logits, logits, mask)
    for array, copy in zip((logits, targets, mask), before, strict=True):
        assert_close(array, copy, atol=0)


def test_accepts_torch_tensors():
    torch = pytest.importorskip("torch")
    logits, targets = draw((3, 4)), draw_targets(3, 4)
    tensors = torch.tensor(logits), torch.tensor(targets)
    loss, d_logits = softmax_cross_entropy(*tensors)
    assert loss == softmax_cross_entropy(logits, targets)[0]
    assert isinstance(d_logits, np.ndarray)
    with pytest.raises(TypeError, match=r"logits cannot become a NumPy array: .*detach"):
        softmax_cross_entropy(tensors[0].requires_grad_(), targets)


LOGITS, TARGETS = np.zeros((4, 3, 5)), np.zeros((4, 3), int)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ([[0.0]], TARGETS),
            TypeError,
            r"logits is a list; expected an array; .*np.asarray\(logits",
        ),
        ((LOGITS, [0]), TypeError, r"targets is a list; expected an array"),
        ((1.0, TARGETS), TypeError, r"logits is a float; expected an array"),
        ((TARGETS, TARGETS), TypeError, r"logits is int64; expected float32 or float64"),
        ((LOGITS.astype(np.float16), TARGETS), TypeError, r"logits is float16; expected float32"),
        ((LOGITS, TARGETS * 1.0), TypeError, r"targets is float64; expected integers"),
        ((LOGITS, TARGETS == 0), TypeError, r"targets is bool; expected integers"),
        ((np.float64(0), TARGETS), ValueError, r"logits has shape \(\); expected \(\.\.\., V\)"),
        (
            (LOGITS, TARGETS.T),
            ValueError,
            r"targets has shape \(3, 4\); expected logits.shape\[:-1\] = \(4, 3\); one class index",
        ),
        ((LOGITS, TARGETS, TARGETS), TypeError, r"mask is int64; expected bool"),
        ((LOGITS, TARGETS, [True]), TypeError, r"mask is a list"),
        (
            (LOGITS, TARGETS, np.ones(4, bool)),
            ValueError,
            r"mask has shape \(4,\); expected targets.shape = \(4, 3\)",
        ),
        (
            (LOGITS, TARGETS, None, "none"),
            ValueError,
            r"reduction must be 'mean' or 'sum', got 'none'",
        ),
        (
            (LOGITS, TARGETS + 5),
            IndexError,
            r"targets\[0, 0\] is 5; expected 0 <= target < logits.shape\[-1\] = 5; .*mask",
        ),
        ((LOGITS, TARGETS - 100), IndexError, r"targets\[0, 0\] is -100"),
        ((np.zeros(3), np.int64(3)), IndexError, r"targets is 3; expected"),
    ],
)
def test_softmax_cross_entropy_refuses(arguments, error, message):
    with pytest.raises(error, match="^softmax_cross_entropy: " + message):
        softmax_cross_entropy(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.0], LOGITS), TypeError, r"pred is a list"),
        ((LOGITS, TARGETS), TypeError, r"target is int64; expected float32 or float64"),
        (
            (LOGITS, LOGITS.astype(np.float32)),
            TypeError,
            r"target is float32 but pred is float64; convert one, e.g. target.astype\(np.float64\)",
        ),
        (
            (LOGITS, LOGITS[..., :1]),
            ValueError,
            r"target has shape \(4, 3, 1\); expected pred.shape = \(4, 3, 5\)",
        ),
        ((LOGITS, LOGITS, TARGETS), TypeError, r"mask is int64; expected bool"),
        (
            (LOGITS, LOGITS, np.ones((3, 5), bool)),
            ValueError,
            r"mask has shape \(3, 5\); expected pred.shape = \(4, 3, 5\) or its leading axes",
        ),
        ((LOGITS, LOGITS, None, None), ValueError, r"reduction must be 'mean' or 'sum', got None"),
    ],
)
def test_mse_refuses(arguments, error, message):
    with pytest.raises(error, match="^mse: " + message):
        mse(*arguments)
