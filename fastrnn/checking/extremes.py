"""Errors at the ends of the number line, to measure gradient checkers: a supplement of mutants.py.

Plain functions whose outputs, inputs or single coordinates are of sizes from 1e-200 to 1e200, or
whose outputs are integers, infinite or float32, each with an error in its gradient that a norm, a
fixed step or a tolerance relative to something else would not see. Without the error they are
right, and are not to be called wrong.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastrnn.checking.mutants import TargetAndInputs

SCALES = (1e-200, 1e-100, 1e-12, 1e12, 1e100, 1e200)
Change = Callable[[Any], Any]  # of a gradient, to another one


class Extreme(NamedTuple):
    """One error.

    Attributes:
        where: the kind of function.
        words: what is extreme, and what is wrong.
        make: (random, change) -> target and inputs.
        change: what is done to the right gradient.
    """

    where: str
    words: str
    make: Callable[[np.random.Generator, Change], TargetAndInputs]
    change: Change

    def problem(self, seed: int) -> TargetAndInputs:
        """Return a target with the error, and random inputs for it."""
        return self.make(np.random.default_rng([seed, 17]), self.change)


def right(seed: int) -> TargetAndInputs:
    """Return one of the targets that can be checked without an error, and random inputs for it.

    Args:
        seed: of the choice and the values.
    """
    random = np.random.default_rng([seed, 19])
    make = list(FAMILIES.values())[random.integers(len(FAMILIES))]
    return make(random, lambda gradient: gradient)


def _elementwise(function, derivative, x, change) -> TargetAndInputs:
    def target(x):
        return function(x), lambda d: change(d * derivative(x))

    return target, (x,)


def _scaled_output(scale, random, change):
    return _elementwise(
        lambda x: scale * np.sin(x), lambda x: scale * np.cos(x), random.standard_normal(5), change
    )


def _scaled_real_output(scale, random, change):
    """Without complex numbers, so that differences are taken."""
    return _elementwise(
        lambda x: scale * np.abs(x) * x,
        lambda x: 2 * scale * np.abs(x),
        random.standard_normal(5),
        change,
    )


def _scaled_input(scale, random, change):
    x = scale * (0.5 + random.random(5))
    return _elementwise(lambda x: np.log(x / scale), lambda x: 1 / x, x, change)


def _scaled_coordinate(scale, random, change):
    """One coordinate whose gradient is `scale` times that of the others."""
    sizes = np.array([1.0, 1.0, 1.0, 1.0, scale])
    return _elementwise(
        lambda x: sizes * np.sin(x), lambda x: sizes * np.cos(x), random.standard_normal(5), change
    )


def _mixed_input(total, random, change):
    x = np.array([1e8, 1.0, 1e-8]) * (0.5 + random.random(3))

    def target(x):
        y = x * x
        return y.sum() if total else y, lambda d: change(2 * x * d)

    return target, (x,)


def _mixed_outputs(scale, random, change):
    """The gradient of the small output is wrong, beside that of the large one."""

    def target(x):
        outputs = [scale * np.sin(x), np.cos(x) / scale]  # own pullbacks take tuples apart

        def pullback(d):
            return d[0] * scale * np.cos(x) + change(-d[1] * np.sin(x) / scale)

        return outputs, pullback

    return target, (random.standard_normal(4),)


def _overflowing_squares(random, change):
    return _elementwise(np.exp, np.exp, np.array([400.0, 1.0]) + random.random(2), change)


def _float32_scalar(random, change):
    def target(a):
        return np.float32((a * a).sum()), lambda d: change(2 * a * d)

    return target, ((random.standard_normal((3, 2)) + 2).astype(np.float32),)


def _infinite_outputs(random, change):
    """A masked log-softmax."""
    mask = np.array([0, 0, -np.inf, 0, -np.inf])

    def target(x):
        z = x + mask
        y = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return y, lambda d: change(d - np.exp(y) * d.sum(axis=1, keepdims=True))

    return target, (random.standard_normal((3, 5)),)


def _integers(convert, random, change):
    return _elementwise(
        lambda x: convert(10 * x), lambda x: np.full(x.shape, 10.0), random.random(4) + 0.1, change
    )


FAMILIES: dict[str, Callable[[np.random.Generator, Change], TargetAndInputs]] = {
    **{f"outputs of {s:g}": partial(_scaled_output, s) for s in SCALES},
    **{f"real outputs of {s:g}": partial(_scaled_real_output, s) for s in SCALES},
    **{f"inputs of {s:g}": partial(_scaled_input, s) for s in SCALES},
    **{f"a coordinate of {s:g}": partial(_scaled_coordinate, s) for s in SCALES},
    **{f"outputs of {s:g} and {1 / s:g}": partial(_mixed_outputs, s) for s in SCALES[3:]},
    "coordinates of 1e8 and 1e-8": partial(_mixed_input, False),
    "coordinates of 1e8 and 1e-8, summed": partial(_mixed_input, True),
    "squares that overflow": _overflowing_squares,
    "a float32 scalar": _float32_scalar,
    "infinite outputs": _infinite_outputs,
}
# Of these nothing can be said, right or wrong.
UNTOLD: dict[str, Callable[[np.random.Generator, Change], TargetAndInputs]] = {
    "integer outputs": partial(_integers, lambda y: y.astype(int)),
    "bools as outputs": partial(_integers, lambda y: y > 5),
    "rounded outputs": partial(_integers, np.round),
    "constant outputs": partial(_integers, lambda y: 0 * y + 1),
}


def _twice(gradient):
    return 2 * gradient


def _last_twice(gradient):
    changed = np.array(gradient)
    changed[..., -1] *= 2
    return changed


def _last_dropped(gradient):
    changed = np.array(gradient)
    changed[..., -1] = 0
    return changed


def _one_part(gradient):
    return gradient + 1e-12 * np.abs(gradient).max()


def _far_off(size, gradient):
    changed = np.array(gradient)
    changed[..., -1] += size * np.abs(gradient).max()
    return changed


def _planted():
    lone = ("a coordinate", "coordinates of")
    for name, make in FAMILIES.items():
        if name == "infinite outputs":  # whose last entries have no gradient
            yield Extreme(name, "twice as large", make, _twice)
            continue
        yield Extreme(name, "twice as large", make, _twice)
        yield Extreme(name, "the last coordinate twice as large", make, _last_twice)
        if name.startswith(lone):
            yield Extreme(name, "the last coordinate dropped", make, _last_dropped)
    for name in ("outputs of 1e-100", "outputs of 1e+100", "inputs of 1e-100", "inputs of 1e+100"):
        yield Extreme(name, "one part in 1e12", FAMILIES[name], _one_part)
        for size in (1e12, 1e100):
            yield Extreme(name, f"off by {size:g}", FAMILIES[name], partial(_far_off, size))
    for name, make in UNTOLD.items():
        yield Extreme(name, "a gradient of its own", make, lambda gradient: gradient)


EXTREMES = tuple(_planted())
