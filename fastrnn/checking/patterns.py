"""The patterns that a wrong gradient of one variable may show: a factor, a layout, a part.

Each function returns short texts, or nothing where its pattern is not there. Which variables are
looked at, and patterns of a single time step, are in diagnosis.py.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.arrays import norm
from fastrnn.checking.coordinates import Judged
from fastrnn.checking.evaluation import Evaluation

Array = NDArray[Any]


def angle(analytic: Array, numeric: Array) -> tuple[float, float]:
    """Return the cosine between two gradients and the ratio of their norms; nan where zero."""
    a, n = norm(analytic), norm(numeric)
    cosine = float(np.vdot(analytic / a, numeric / n)) if a and n else np.nan
    return cosine, float(a / n) if n else np.nan


def of_variable(evaluation: Evaluation, one: Judged, judged: list[Judged]) -> list[str]:
    """Return the patterns in the gradient of one variable, the simplest first.

    Args:
        evaluation: of the target.
        one: the comparison of this variable.
        judged: those of all variables.
    """
    compared = one.compared
    analytic = np.where(compared, one.analytic[0], 0.0)
    numeric = np.where(compared, one.numeric[0], 0.0)
    close = closeness(evaluation.problem.eps)
    if not np.isfinite(analytic).all():
        return ["not finite"]
    if not analytic.any():
        return ["zero: no gradient arrives here"]
    if not numeric.any():
        return ["not zero, though the outputs do not depend on it"]
    cosine, ratio = angle(analytic, numeric)
    if cosine > 0 and close(analytic, numeric):
        size = norm(analytic - numeric) / norm(numeric)
        return [f"nearly right, by {size:.1g} of itself: precision lost, or a small term?"]
    if compared.sum() > 1 and close(analytic * np.sign(cosine), numeric * ratio):
        return [of_ratio(evaluation, np.sign(cosine) * ratio)]
    if compared.all():
        texts = [
            t
            for t in (
                _of_layout(one, analytic, numeric, close),
                _of_others(one, analytic, judged, close),
            )
            if t
        ]
        if texts:
            return texts
    return _of_parts(evaluation, one, analytic, numeric, close)


def closeness(eps: float) -> Callable[[Array, Array], bool]:
    """Return the function that says whether two arrays are equal but for rounding of size eps."""

    def close(a: Array, b: Array) -> bool:
        return norm(a - b) <= max(2e-6, 1e3 * eps) * norm(b)

    return close


def of_ratio(evaluation: Evaluation, ratio: float) -> str:
    """Return what a constant factor between gradient and derivative may come from."""
    sign = "the opposite sign" if ratio < 0 else ""
    size = abs(ratio)

    def near(value: float) -> bool:
        return abs(size - value) <= 1e-5 * value

    if near(1.0):
        return sign
    also = f"{sign} and " if sign else ""
    if near(2.0):
        return f"{also}twice as large: counted twice?"
    if near(0.5):
        return f"{also}half as large: a factor of 2 missing, or one of two paths?"
    for what, p in _dropouts(evaluation):
        if near(1 / (1 - p)) or near(1 - p):
            return f"{also}{size:.6g} times as large, 1/(1-p) or 1-p of {what} {p}: its scale?"
    for what, length in _lengths(evaluation):
        if near(length):
            return f"{also}{length} times as large, {what}: a sum where there is a mean?"
        if near(1 / length):
            return f"{also}1/{length} as large, {what}: a mean where there is a sum?"
    p = round(1 - min(size, 1 / size), 2)
    if 0 < p < 1 and (near(1 / (1 - p)) or near(1 - p)):
        return f"{also}{size:.6g} times as large: 1/(1-p) or 1-p of a dropout of {p}?"
    return f"{also}{size:.6g} times as large everywhere"


def _dropouts(evaluation: Evaluation) -> list[tuple[str, float]]:
    steps = evaluation.problem.steps
    p = float(getattr(getattr(steps and steps.function, "target", None), "dropout", 0.0) or 0.0)
    return [("dropout", p)] if 0 < p < 1 else []


def _lengths(evaluation: Evaluation) -> list[tuple[str, int]]:
    """Return lengths that a sum may have: axes of inputs and outputs, numbers of entries."""
    arrays = [(f"output {i}" if i else "the output", o) for i, o in enumerate(evaluation.outputs)]
    arrays += [(v.name, v.value) for v in evaluation.problem.variables]
    found = [
        (f"axis {axis} of {name}", n)
        for name, array in arrays
        for axis, n in enumerate(array.shape)
        if n > 2
    ]
    for name, array in arrays:
        leading = int(np.prod(array.shape[:-1])) if array.ndim > 1 else 0
        if leading > 2:
            found.append((f"the leading axes of {name}", leading))
        if array.size > 2:
            found.append((f"the entries of {name}", array.size))
    return found


def _of_layout(one: Judged, analytic: Array, numeric: Array, close) -> str:
    """Right numbers in the wrong places."""
    blocks = [rows for _, rows in one.variable.blocks()]
    if analytic.ndim == 2:
        parts = [(analytic[rows], numeric[rows]) for rows in blocks]
        if all(a.shape[0] == a.shape[1] and close(a.T, n) for a, n in parts):
            return "transposed" + (", gate by gate" if len(blocks) > 1 else "")
        if analytic.shape[0] == analytic.shape[1] and close(analytic.T, numeric):
            return "transposed"
        if close(analytic.T.reshape(analytic.shape), numeric):
            return "transposed in memory: the right shape, the wrong order"
    if 1 < len(blocks) <= 4:
        names = [name for name, _ in one.variable.blocks()]
        for order in itertools.permutations(range(len(blocks))):
            moved = np.concatenate([numeric[blocks[g]] for g in order])
            if list(order) != sorted(order) and close(analytic, moved):
                stands = ", ".join(names[g] for g in order)
                return f"gates in the order {stands}; expected {', '.join(names)}"
    if analytic.ndim and len(analytic) > 2:
        for shift in (1, -1):
            n, a = (numeric[:-1], analytic[1:]) if shift > 0 else (numeric[1:], analytic[:-1])
            if a.any() and close(a, n):
                return f"shifted by one along its first axis ({shift:+d})"
        if close(analytic[::-1], numeric):
            return "reversed along its first axis"
    return ""


def _of_others(one: Judged, analytic: Array, judged: list[Judged], close) -> str:
    """The gradient of another variable."""
    for other in judged:
        if other is one or other.numeric.shape != one.numeric.shape or not other.compared.all():
            continue
        if close(analytic, other.numeric[0]):
            return f"the gradient of {other.variable.name}: exchanged?"
    return ""


def _of_parts(evaluation: Evaluation, one: Judged, analytic: Array, numeric: Array, close) -> list:
    """Which gates, steps or rows are wrong, if only some are."""
    found, wrong = [], one.wrong
    blocks = one.variable.blocks()
    bad = [(name, rows) for name, rows in blocks if wrong[rows].any()] if wrong.ndim else []
    if len(blocks) > 1 and len(bad) < len(blocks):
        found.append(
            f"only gate {', '.join(name for name, _ in bad)} of "
            f"{', '.join(name for name, _ in blocks)} is wrong"
        )
    for name, rows in bad if len(blocks) > 1 else ():
        a, n = analytic[rows], numeric[rows]
        cosine, ratio = angle(a, n)
        if not a.any():
            found.append(f"gate {name} is zero")
        elif close(a * np.sign(cosine), n * ratio) and not close(a, n):
            found.append(f"gate {name}: {of_ratio(evaluation, np.sign(cosine) * ratio)}")
    shared = (
        [
            axis
            for axis in range(min(wrong.ndim - 1, evaluation.outputs[0].ndim - 1))
            if wrong.shape[axis] == evaluation.outputs[0].shape[axis] > 1
        ]
        if len(blocks) == 1
        else []
    )
    for axis in shared:
        places = np.flatnonzero(wrong.any(axis=tuple(k for k in range(wrong.ndim) if k != axis)))
        word = one.variable.axes[axis] if axis < len(one.variable.axes) else f"axis {axis}:"
        if 0 < len(places) < wrong.shape[axis]:
            text = f"wrong only at {word} {_ranges(places)}"
            if axis == (one.variable.time or 0) and len(places) == wrong.shape[axis] - 1:
                text += ", right at one end: what is carried from step to step?"
            found.append(text)
    return found


def _ranges(places: Array) -> str:
    """Return numbers as text, runs of them as ranges: 0-3, 7."""
    groups = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups[:4])
