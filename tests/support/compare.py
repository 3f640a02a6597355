"""How tests compare arrays: `assert_close` to a tolerance, `assert_bits` bit for bit.

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


def assert_bits(got, expected, name="array"):
    """Assert that two results are the same bits: dtypes, shapes, values, and the sign of a zero.

    NaN agrees with any NaN: which of its bits survive arithmetic is up to the processor.

    Args:
        got: an array, None, or a tuple, list or dict of these, nested as deep as you like.
        expected: the same structure.
        name: what to call it in the report; members are called name[0], name['key'].

    Raises:
        AssertionError: with the path to the first member that differs, and how it differs.
    """
    if isinstance(expected, dict):
        assert isinstance(got, dict), f"{name}: got a {type(got).__name__}, expected a dict"
        assert list(got) == list(expected), f"{name}: keys {list(got)}, expected {list(expected)}"
        for key, member in expected.items():
            assert_bits(got[key], member, f"{name}[{key!r}]")
    elif isinstance(expected, tuple | list):
        assert type(got) is type(expected), f"{name}: {type(got)}, expected {type(expected)}"
        assert len(got) == len(expected), f"{name}: {len(got)} members, expected {len(expected)}"
        for i, member in enumerate(expected):
            assert_bits(got[i], member, f"{name}[{i}]")
    elif expected is None:
        assert got is None, f"{name}: got a {type(got).__name__}, expected None"
    else:
        expected = np.asarray(expected)
        assert getattr(got, "dtype", None) == expected.dtype, f"{name}: expected {expected.dtype}"
        assert_close(got, expected, atol=0, name=name)
        if expected.dtype.kind == "f":
            other = (np.signbit(got) != np.signbit(expected)) & ~np.isnan(expected)
            assert not other.any(), f"{name}: {other.sum()} zeros have the other sign"


def few_ulp(array) -> float:
    """Return 24 units in the last place of the largest entry.

    That is how far a row computed alone, or by a stream, may be from the same row in a batch: a
    short sequence of few rows is computed from weights that are not packed (workspace.Plan.thin),
    in another order of summation. Seen: 19 for a tanh network of 256 units, 8 for an LSTM.
    """
    array = np.asarray(array)
    return float(24 * np.spacing(np.abs(array).max(initial=0).astype(array.dtype)))
