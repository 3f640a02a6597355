"""tanh and the logistic sigmoid of vectors, in float32 and float64, to about 2 ulp.

Both come from one exponential: y = m ln 2 + r with whole m and |r| <= ln(2)/2, and the series of
e^r - 1, long enough for the type. NaN stays NaN; nothing overflows. Softmax is in losses.py.
"""

from fastrnn._jit import jit
from fastrnn.kernels.simd import at_most, copysign, fma, is_double, power_of_two


@jit
def _exponential(y):
    """Return (p, q) such that e**y = q (1 + p), q a power of two, p accurate near 0.

    y must lie where q is a normal number: about -87 to 88 in float32, -708 to 709 in float64.
    """
    # Adding 1.5 * 2**(bits of the mantissa) rounds to a whole number and leaves it in the low
    # bits. ln 2 is subtracted in two parts: the first product is exact inside the fma.
    if is_double(y):
        shifted = fma(y, 1.4426950408889634, 6755399441055744.0)
        m = shifted - 6755399441055744.0
        r = fma(m, -2.3190468138462996e-17, fma(m, -0.6931471805599453, y))
        series = fma(r, 1 / 6227020800, 1 / 479001600)
        series = fma(series, r, 1 / 39916800)
        series = fma(series, r, 1 / 3628800)
        series = fma(series, r, 1 / 362880)
        series = fma(series, r, 1 / 40320)
        series = fma(series, r, 1 / 5040)
        series = fma(series, r, 1 / 720)
    else:
        shifted = fma(y, 1.4426950408889634, 12582912.0)
        m = shifted - 12582912.0
        r = fma(m, 1.904654323148236e-09, fma(m, -0.693147182464599609375, y))
        series = fma(r, 1 / 5040, 1 / 720)
    series = fma(series, r, 1 / 120)
    series = fma(series, r, 1 / 24)
    series = fma(series, r, 1 / 6)
    series = fma(series, r, 1 / 2)
    return fma(series, r * r, r), power_of_two(shifted)


@jit
def sigmoid(x):
    """Return 1 / (1 + e**-x)."""
    most = 708.0 if is_double(x) else 87.0
    p, q = _exponential(-at_most(-at_most(-x, most), most))
    return 1.0 / (1.0 + fma(p, q, q))


@jit
def tanh(x):
    """Return tanh x = -(e**y - 1) / (e**y + 1), y = -2|x|, with the sign of x."""
    most = 708.0 if is_double(x) else 87.0
    p, q = _exponential(-at_most(-2.0 * copysign(x, -1.0), most))
    less = fma(p, q, q - 1.0)
    return copysign(less / (less + 2.0), x)
