"""Likely causes of a wrong gradient: known errors leave known patterns.

These are hints. Nothing here decides whether a gradient is right, and none of it runs unless one
was found to be wrong. The patterns of one variable are in patterns.py.
"""

import itertools

import numpy as np

from fastrnn.checking.coordinates import Judged
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.location import Location
from fastrnn.checking.patterns import angle, closeness, of_ratio, of_variable

_NAMED = 4  # variables named in a hint
_PLACES = 24  # coordinates of a variable that are compared again


def hints(evaluation: Evaluation, judged: list[Judged], location: Location | None) -> list[str]:
    """Return what the errors look like, one line each.

    Args:
        evaluation: of the target.
        judged: the comparisons of its variables, in modes full and sample.
        location: where in time it goes wrong, or None if that is unknown.
    """
    found: dict[str, list[str]] = {}
    wrong = [one for one in judged if one.wrong.any()]
    for one in wrong:
        texts = of_variable(evaluation, one, judged) or _of_first_output(evaluation, one)
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
        name: name of the variable.
        pairs: (analytic, numeric) along directions in that variable.
    """
    analytic, numeric = map(np.array, zip(*pairs, strict=True))
    if not analytic.any():
        return [f"zero: no gradient arrives here ({name})"]
    if not numeric.all():
        return []
    ratios = analytic / numeric
    if np.ptp(ratios) > 1e-5 * abs(ratios[0]) or abs(ratios[0] - 1) < 1e-5:
        return []
    return [f"{of_ratio(evaluation, float(ratios[0]))} ({name})"]


def _of_first_output(evaluation: Evaluation, one: Judged) -> list[str]:
    """Return a constant factor that is visible for a loss of the first output alone.

    A factor lost on the way from one output is hidden by the gradients from the others.
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
        and closeness(evaluation.problem.eps)(analytic * np.sign(cosine), numeric * ratio)
        and abs(np.sign(cosine) * ratio - 1) > 1e-5
    ):
        text = of_ratio(evaluation, np.sign(cosine) * ratio)
        return [f"for a loss of the first output alone {text}"]
    return []


def _of_step(evaluation: Evaluation, location: Location, wrong: list[Judged]) -> list[str]:
    """Return the pattern at the first wrong step, which no error of a later step blurs."""
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
    close, start, found = closeness(evaluation.problem.eps), f"at step {location.first[0]}", []
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
            found.append(f"{where}: {of_ratio(evaluation, np.sign(cosine) * ratio)}")
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


def _listed(names: list[str]) -> str:
    """Return names, the first few of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
