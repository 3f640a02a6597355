"""How finely a gradient can be computed at all: its rounding noise, and what saturation costs.

Both are measured by calling the target. What tolerance follows from them is in tolerance.py.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import as_gradient
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays

_JUMP = 1e4
# Not a power of two: near 1, the roundings of x * x at its multiples would lie on a line.
_JITTER = {np.dtype(np.float32): 1.618 * 2.0**-20, np.dtype(np.float64): 1.618 * 2.0**-40}


def gradient_noise(evaluation: Evaluation, cotangents: Arrays) -> Arrays:
    """Return the standard deviation of the rounding noise in each entry of the gradients.

    Measured like the outputs' noise (derivatives.noise), in the dtype that is checked.

    Args:
        evaluation: of the target.
        cotangents: one for each output.
    """
    found = [
        evaluation.gradients(cotangents, values)
        for values in jittered(evaluation, evaluation.options.random(2), range(1, 8))
    ]
    result = []
    for i, variable in enumerate(evaluation.problem.variables):
        known = [g for gradients in found if (g := gradients[i]) is not None]
        if len(known) < len(found):
            result.append(np.zeros(variable.value.shape))
            continue
        own = derivatives.spread(np.stack(known))
        own = np.where(np.isfinite(own), own, 0.0)
        usual, largest = np.median(own), np.abs(np.nan_to_num(known[0])).max()
        # Larger differences are not rounding: the gradient jumps, at a kink.
        result.append(np.minimum(own, 4 * usual + _JUMP * evaluation.problem.eps * largest))
    return result


def jittered(
    evaluation: Evaluation, random: np.random.Generator, places: Iterable[int]
) -> Iterator[Arrays]:
    """Yield the point moved by some rounding errors, along one line of random signs.

    Multiples of one sign stay on one side of a kink that the point is on.

    Args:
        evaluation: of the target.
        random: to draw the signs from.
        places: multiples of the move.
    """
    signs = [np.sign(random.standard_normal(x.shape)) for x in evaluation.values]
    for k in places:
        yield [
            x + (k * _JITTER[x.dtype] * n * s).astype(x.dtype)
            for x, n, s in zip(evaluation.values, evaluation.near, signs, strict=True)
        ]


def unsaturated_scale(evaluation: Evaluation, cotangents: Arrays, gradients: list) -> list[float]:
    """Return, for each variable, an upper bound on its gradient if no unit were saturated.

    A factor such as 1 - y**2, computed from the output y, is exact only to the last place of 1,
    so a gradient is exact only to the last places of this bound: the gradient arriving at a unit
    times its largest factor. What arrives is a cotangent or, in a recurrence, a sum of them, as
    large as the gradient of a bias or a state: the smallest of the gradients' largest entries
    stands for it. The factor is the largest entry of any other input. Outputs that saturate are
    at most 1.

    Args:
        evaluation: of the target.
        cotangents: one for each output.
        gradients: what the target returned for them.
    """
    given = [as_gradient(g, x) for g, x in zip(gradients, evaluation.values, strict=True)]
    sizes = [float(np.max(np.abs(g))) for g in given if g is not None]
    smallest = min((s for s in sizes if s and np.isfinite(s)), default=0.0)
    bounded = [
        np.abs(c) * np.minimum(np.abs(o), 1)
        for c, o in zip(cotangents, evaluation.outputs, strict=True)
    ]
    arriving = max([smallest, *(float(np.nan_to_num(b).max(initial=0)) for b in bounded)])
    largest = [float(np.max(np.abs(x))) for x in evaluation.values]
    others = [[*largest[:i], *largest[i + 1 :]] for i in range(len(largest))]
    return [arriving * max([1.0, *factors]) for factors in others]
