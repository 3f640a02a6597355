"""The one way in which tests compare arrays: shape, kind of dtype and values, with a useful report.

Deliberately not `np.testing.assert_allclose`, whose tolerance is relative to each entry by itself.
"""

from __future__ import annotations

import numpy as np


def assert_close(got, expected, *, atol, rtol=0.0, name="array"):
    """Assert that two arrays agree everywhere to `max(atol, rtol * max|expected|)`.

    The error is measured against the size of the whole array: an entry that is small by
    cancellation cannot have more correct digits than the terms it came from. NaN agrees with NaN
    only, an infinity with the same infinity only.

    Args:
        got: an array; complex and empty ones too.
        expected: anything that `np.asarray` takes, of the same shape and kind (float, int, ...).
        atol: absolute tolerance.
        rtol: tolerance relative to the largest finite entry of `expected`.
        name: what to call the array in the report.

    Raises:
        AssertionError: with the shapes, or the worst index and both values.
    """
    assert isinstance(got, np.ndarray | np.generic), f"{name}: got a {type(got).__name__}, no array"
    expected = np.asarray(expected)
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, expected {expected.shape}"
    kinds = (got.dtype.kind, expected.dtype.kind)
    assert kinds[0] == kinds[1], f"{name}: dtype {got.dtype}, expected {expected.dtype}"
    if not expected.size:
        return
    finite = np.abs(expected[np.isfinite(expected)])
    tolerance = max(atol, rtol * finite.max(initial=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(np.subtract(got, expected, dtype=np.result_type(got, expected, np.float64)))
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    worst = np.unravel_index(np.argmax(error), error.shape)
    assert error[worst] <= tolerance, (
        f"{name}: shape {got.shape}, {np.sum(error > tolerance)} of {error.size} entries differ "
        f"by more than {tolerance:.3g}\nworst at {tuple(map(int, worst))}: got {got[worst]!r}, "
        f"expected {expected[worst]!r}, error {error[worst]:.3g}"
    )


def few_ulp(array) -> float:
    """Return 24 units in the last place of the largest entry.

    As far as a row alone, or a stream, may be from the same row in a batch, where a short
    sequence of few rows is computed from weights that are not packed (workspace.Plan.thin):
    another order of summation. Seen: 19 for a tanh network of 256 units, 8 for an LSTM.
    """
    array = np.asarray(array)
    return float(24 * np.spacing(np.abs(array).max(initial=0).astype(array.dtype)))
