"""tanh and the logistic sigmoid of vectors, in float32 and float64: to 0.9 and 2 ulp.

Both come from one exponential: y = m ln 2 + r with whole m and |r| <= ln(2)/2, and the series of
e^r - 1, long enough for the type. NaN stays NaN; nothing overflows. Softmax is in losses.py.
"""

from fastrnn.kernels.jit import jit
from fastrnn.kernels.simd import at_most, copysign, fma, is_double, power_of_two, reciprocal


@jit
def _exponential(y):
    """Return (p, low, q): e**y = q (1 + p + low), q a power of two, low the rounding error of p.

    y must lie where q is a normal number: about -87 to 88 in float32, -708 to 709 in float64.
    """
    # Adding 1.5 * 2**(bits of the mantissa) rounds to a whole number and leaves it in the low
    # bits. ln 2 is subtracted in two parts; the first has so few bits that nothing is lost.
    if is_double(y):
        shifted = fma(y, 1.4426950408889634, 6755399441055744.0)
        m = shifted - 6755399441055744.0
        first = fma(m, -6.93147180369123816490e-01, y)
        second = m * -1.90821492927058770002e-10
    else:
        shifted = fma(y, 1.4426950408889634, 12582912.0)
        m = shifted - 12582912.0
        first = fma(m, -6.9313812256e-01, y)
        second = m * -9.0580006145e-06
    r = first + second
    r_low = (first - r) + second
    if is_double(y):
        series = fma(r, 1 / 6227020800, 1 / 479001600)
        series = fma(series, r, 1 / 39916800)
        series = fma(series, r, 1 / 3628800)
        series = fma(series, r, 1 / 362880)
        series = fma(series, r, 1 / 40320)
        series = fma(series, r, 1 / 5040)
        series = fma(series, r, 1 / 720)
    else:
        series = fma(r, 1 / 5040, 1 / 720)
    series = fma(series, r, 1 / 120)
    series = fma(series, r, 1 / 24)
    series = fma(series, r, 1 / 6)
    series = fma(series, r, 1 / 2)
    curved = series * (r * r)
    p = r + curved
    return p, ((r - p) + curved) + fma(r_low, p, r_low), power_of_two(shifted)


@jit
def sigmoid(x):
    """Return 1 / (1 + e**-x)."""
    most = 708.0 if is_double(x) else 87.0
    p, _, q = _exponential(-at_most(-at_most(-x, most), most))
    return reciprocal(1.0 + fma(p, q, q))


@jit
def tanh(x):
    """Return tanh x = -(e**y - 1) / (e**y + 1), y = -2|x|, with the sign of x.

    Each sum keeps its rounding error, and the quotient is corrected by all of them: the gradient
    1 - tanh(x)**2 leaves nothing but the error of tanh(x) where that is near 1.
    """
    most = 708.0 if is_double(x) else 87.0
    p, p_low, q = _exponential(-at_most(2.0 * copysign(x, 1.0), most))
    less = q - 1.0
    less_low = q - (less + 1.0)
    above = fma(q, p, less)
    above_low = fma(q, p_low, fma(q, p, less - above)) + less_low
    below = above + 2.0
    below_low = ((2.0 - below) + above) + above_low
    inverse = reciprocal(below)
    ratio = above * inverse
    remainder = fma(-ratio, below, above) + fma(-ratio, below_low, above_low)
    return copysign(fma(remainder, inverse, ratio), x)
