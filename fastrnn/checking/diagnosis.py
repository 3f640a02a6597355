"""What a wrong gradient looks like: known errors leave known patterns.

Hints only. Nothing here decides whether a gradient is right, and none of it runs before one was
found wrong.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.coordinates import Judged
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.location import Location

Array = NDArray[Any]
_NAMED = 4
_PLACES = 24  # coordinates of a variable that are looked at again


def angle(analytic: Array, numeric: Array) -> tuple[float, float]:
    """Return the cosine between two gradients and the ratio of their norms; nan where zero."""
    a, n = np.linalg.norm(analytic), np.linalg.norm(numeric)
    cosine = float(np.vdot(analytic, numeric) / (a * n)) if a and n else np.nan
    return cosine, float(a / n) if n else np.nan


def hints(evaluation: Evaluation, judged: list[Judged], location: Location | None) -> list[str]:
    """Return what the errors look like, one line each.

    Args:
        evaluation: of the target.
        judged: its variables, in modes full and sample.
        location: where in time it goes wrong, if that is known.
    """
    found: dict[str, list[str]] = {}
    wrong = [one for one in judged if one.wrong.any()]
    for one in wrong:
        texts = _of_variable(evaluation, one, judged) or _of_first_output(evaluation, one)
        for text in texts:
            found.setdefault(text, []).append(one.variable.name)
    lines = [f"{text} ({_listed(names)})" for text, names in found.items()]
    return (_of_step(evaluation, location, wrong) if location else []) + lines


def of_projections(
    evaluation: Evaluation, name: str, pairs: list[tuple[float, float]]
) -> list[str]:
    """Return a constant factor between the projections of one gradient, in mode project.

    Args:
        evaluation: of the target.
        name: of the variable.
        pairs: (analytic, numeric) along directions in it.
    """
    analytic, numeric = map(np.array, zip(*pairs, strict=True))
    if not analytic.any():
        return [f"zero: no gradient arrives here ({name})"]
    if not numeric.all():
        return []
    ratios = analytic / numeric
    if np.ptp(ratios) > 1e-5 * abs(ratios[0]) or abs(ratios[0] - 1) < 1e-5:
        return []
    return [f"{_of_ratio(evaluation, float(ratios[0]))} ({name})"]


def _of_first_output(evaluation: Evaluation, one: Judged) -> list[str]:
    """Return a constant factor that shows for a loss of the first output alone.

    Where a factor is lost on the way from one output, gradients from the others hide it.
    """
    if len(evaluation.outputs) < 2:
        return []
    cotangents = evaluation.cotangents(evaluation.options.random(40))
    cotangents[1:] = [np.zeros_like(c) for c in cotangents[1:]]
    names = [variable.name for variable in evaluation.problem.variables]
    i = names.index(one.variable.name)
    gradient = evaluation.gradients(cotangents)[i]
    if gradient is None:
        return []
    places = [tuple(map(int, place)) for place in np.argwhere(one.wrong)[:_PLACES]]
    numeric = np.array([evaluation.entry(i, place, cotangents) for place in places])
    analytic = np.array([gradient[place] for place in places])
    cosine, ratio = angle(analytic, numeric)
    if (
        len(places) > 1
        and numeric.any()
        and _closeness(evaluation.problem.eps)(analytic * np.sign(cosine), numeric * ratio)
        and abs(np.sign(cosine) * ratio - 1) > 1e-5
    ):
        text = _of_ratio(evaluation, np.sign(cosine) * ratio)
        return [f"for a loss of the first output alone {text}"]
    return []


def _of_step(evaluation: Evaluation, location: Location, wrong: list[Judged]) -> list[str]:
    """Return what the first wrong step looks like: there, no later error blurs the pattern."""
    if location.first is None or location.delta is None:
        names = _listed([one.variable.name for one in wrong])
        if not location.widened or not names:
            return []
        steps = evaluation.problem.steps
        if getattr(getattr(steps and steps.function, "target", None), "num_layers", 1) > 1:
            return [
                "every layer by itself has right gradients at its pre-activations: what is "
                f"passed from layer to layer, or made of them, is wrong ({names})"
            ]
        return [
            "the gradient at every pre-activation is right: what it is multiplied by, or "
            f"summed over, is wrong ({names})"
        ]
    analytic, numeric = map(np.array, location.delta)
    close, start, found = _closeness(evaluation.problem.eps), f"at step {location.first[0]}", []
    for order in itertools.permutations(range(len(analytic))) if len(analytic) < 5 else ():
        if list(order) != sorted(order) and close(analytic, numeric[list(order)]):
            stands = ", ".join(location.gates[g] for g in order)
            return [f"{start}, gates in the order {stands}; expected {', '.join(location.gates)}"]
    for gate, a, n in zip(location.gates, analytic, numeric, strict=True):
        where = f"{start}, gate {gate}" if gate else start
        cosine, ratio = angle(a, n)
        if close(a, n):
            continue
        if not a.any():
            found.append(f"{where}: zero")
        elif n.any() and a.size > 1 and close(a * np.sign(cosine), n * ratio):
            found.append(f"{where}: {_of_ratio(evaluation, np.sign(cosine) * ratio)}")
    back = location.first[0] if location.reverse else location.length - 1 - location.first[0]
    if back > 0 and not found:
        found.append(
            f"right at later steps, wrong at step {location.first[0]} in gates "
            f"{', '.join(location.first[1])}: what is carried from step to step?"
            if any(location.gates)
            else f"right at later steps, wrong at step "
            f"{location.first[0]}: what is carried from step to step?"
        )
    return found


def _of_variable(evaluation: Evaluation, one: Judged, judged: list[Judged]) -> list[str]:
    looked = one.looked_at
    analytic = np.where(looked, one.analytic[0], 0.0)
    numeric = np.where(looked, one.numeric[0], 0.0)
    close = _closeness(evaluation.problem.eps)
    if not np.isfinite(analytic).all():
        return ["not finite"]
    if not analytic.any():
        return ["zero: no gradient arrives here"]
    if not numeric.any():
        return ["not zero, though the outputs do not depend on it"]
    cosine, ratio = angle(analytic, numeric)
    if cosine > 0 and close(analytic, numeric):
        size = np.linalg.norm(analytic - numeric) / np.linalg.norm(numeric)
        return [f"nearly right, by {size:.1g} of itself: precision lost, or a small term?"]
    if looked.sum() > 1 and close(analytic * np.sign(cosine), numeric * ratio):
        return [_of_ratio(evaluation, np.sign(cosine) * ratio)]
    if looked.all():
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


def _closeness(eps: float):
    def close(a: Array, b: Array) -> bool:
        return bool(np.linalg.norm(a - b) <= max(2e-6, 1e3 * eps) * np.linalg.norm(b))

    return close


def _of_ratio(evaluation: Evaluation, ratio: float) -> str:
    """Name a constant factor."""
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
    """Return what a sum may run over: axes of the inputs and outputs, the number of outputs."""
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
    """The gradient of another variable, or with another added."""
    for other in judged:
        if other is one or other.numeric.shape != one.numeric.shape or not other.looked_at.all():
            continue
        if close(analytic, other.numeric[0]):
            return f"the gradient of {other.variable.name}: exchanged?"
    return ""


def _of_parts(evaluation: Evaluation, one: Judged, analytic: Array, numeric: Array, close) -> list:
    """Which gates, steps or rows are wrong, if not all of them are."""
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
            found.append(f"gate {name}: {_of_ratio(evaluation, np.sign(cosine) * ratio)}")
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


def _listed(names: list[str]) -> str:
    """Return names, the first few of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _ranges(places: Array) -> str:
    """Return numbers as 0-3, 7."""
    groups = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups[:4])
