"""Small functions with a right and with a wrong gradient, for the tests of the checker."""

import numpy as np

X = np.random.default_rng(0).standard_normal((3, 4))


def square(x):
    return x * x, lambda d: 2 * x * d


def wrong_square(x):
    """Wrong by a part in 20,000."""
    return x * x, lambda d: 2.0001 * x * d


def product(a, b):
    return a @ b, lambda d: (d @ b.T, a.T @ d)
