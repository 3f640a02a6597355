"""The course of one check: every comparison and property in turn, and the report of them.

What is compared, and how, is in the modules that are called here; `gradcheck` itself, with its
arguments, is in check.py.
"""

import time

import numpy as np

from fastrnn.checking import (
    coordinates,
    derivatives,
    diagnosis,
    location,
    patterns,
    projections,
    properties,
    report,
    sequences,
)
from fastrnn.checking.arrays import as_gradient
from fastrnn.checking.comparison import Comparison
from fastrnn.checking.coordinates import Judged, ProgressCallback
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import Problem
from fastrnn.checking.report import GradcheckReport, VariableReport

_TOP = 5  # of the worst coordinates, in the report
_HIDDEN = 1e-8  # share of an array's largest gradient, below which projections see no error


@np.errstate(all="ignore")  # steps may leave the function's domain, and wrong gradients overflow
def checked(
    problem: Problem, options: CheckOptions, progress: ProgressCallback | None = None
) -> GradcheckReport:
    """Check a problem and return the report.

    Args:
        problem: what to check.
        options: how.
        progress: called with (done, total); None: nothing is called.

    Raises:
        ValueError: the outputs have no entries.
    """
    start = time.perf_counter()
    evaluation = Evaluation(problem, options)
    if not evaluation.size:
        raise ValueError(f"gradcheck: the outputs of {problem.name} have no entries.")
    method = evaluation.method
    result = GradcheckReport(
        problem.name,
        problem.kind,
        f"{method.name}: {method.why}",
        options.mode,
        options.seed,
        notes=list(problem.notes),
        environment=report.environment(),
    )
    for check in (*properties.ALL, *sequences.ALL):
        found = properties.guarded(check, evaluation)
        if found is not None:
            result.properties.append(found)
    if options.mode == "project":
        judged = _project(evaluation, result, progress)
    else:
        judged = coordinates.judge(evaluation, progress)
        result.variables = [_variable(evaluation, j) for j in judged]
    _conclude(evaluation, result, judged)
    result.seconds = time.perf_counter() - start
    return result


def _variable(evaluation: Evaluation, judged: Judged) -> VariableReport:
    """Sum up the comparisons of one variable's coordinates."""
    variable, compared, excess = judged.variable, judged.compared, judged.excess
    result = VariableReport(
        variable.name,
        variable.value.shape,
        int(compared.sum()),
        int(judged.kinks.sum()),
        int(judged.wrong.sum()),
        unclear=int(judged.unclear.sum()),
        why=judged.why,
    )
    if not judged.given:
        result.note = report.NO_GRADIENT
        return result
    if judged.unclear.any():
        result.note = f"{result.unclear:,} cannot be told"
    if compared.any():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        result.worst = report.coordinate(judged, index)
        result.cosine, result.ratio = patterns.angle(
            judged.analytic[0][compared], judged.numeric[0][compared]
        )
    result.gates = {
        gate: float(np.max(excess[rows], initial=0)) for gate, rows in variable.blocks() if gate
    }
    return result


def _project(evaluation: Evaluation, result: GradcheckReport, progress) -> list[Judged]:
    """Compare projections; if one is wrong, find the variables and in each a wrong coordinate."""
    projector = projections.Projector(evaluation)
    count, groups = evaluation.options.n_projections, evaluation.units.groups
    found = []
    for k in range(count):
        found += [projector.project(group=group) for group in range(groups)]
        if progress is not None:
            progress(k + 1, count)
    result.projections = [(p.analytic, p.numeric, p.tolerance) for p in found]
    result.miss_size = projections.detectable(found, result.miss)
    variables = evaluation.problem.variables
    result.variables = [VariableReport(v.name, v.value.shape) for v in variables]
    for one, scale in zip(result.variables, projector.scales, strict=True):
        one.note = "" if scale else report.NO_GRADIENT
    if all(p.kinked for p in found):
        result.unmeasured = (
            "every projection crosses a kink: nothing was checked; use other "
            "inputs, or mode='sample'"
        )
    if not any(p.wrong for p in found):
        return _hidden(evaluation, result, found)
    for i, one in enumerate(result.variables):
        alone = [np.full(x.shape, float(k == i)) for k, x in enumerate(evaluation.precise)]
        again = [projector.project(alone, group) for group in range(groups) for _ in range(3)]
        one.wrong = int(any(p.wrong for p in again))
        if one.wrong:
            group = next(k // 3 for k, p in enumerate(again) if p.wrong)
            pairs = [(p.analytic, p.numeric) for p in again[3 * group : 3 * group + 3]]
            result.hints += diagnosis.of_projections(evaluation, one.name, pairs)
            index = projections.culprit(projector, i, group)
            one.worst = None if index is None else _single(evaluation, i, index)
    result.ok = False
    return []


def _hidden(evaluation: Evaluation, result: GradcheckReport, found: list) -> list[Judged]:
    """Compare some of the coordinates that no projection can see, one by one.

    These are whole variables whose share is below the tolerance, and coordinates whose gradient is
    far below the others of their array.
    """
    plans = []
    for i, (gradient, span) in enumerate(zip(evaluation.gradient, evaluation.spans, strict=True)):
        given = as_gradient(gradient, span)
        if given is None:
            continue
        size = np.abs(given * span)
        hidden = (size > 0) & (size < _HIDDEN * size.max(initial=0))
        hidden |= evaluation.precise[i].astype(bool) & (span < 1)  # tiny beside their array
        if not size.any() or any(p.hides(i) for p in found):
            hidden[...] = True
        if hidden.any():
            plans.append((i, np.argwhere(hidden)))
    if not plans:
        return []
    comparison, random, judged = Comparison(evaluation), evaluation.options.random(11), []
    for i, places in plans:
        count = min(len(places), evaluation.options.n_samples)
        chosen = places[random.choice(len(places), count, replace=False)]
        one = coordinates.compared_at(comparison, i, [tuple(map(int, p)) for p in chosen])
        result.variables[i] = _variable(evaluation, one)
        judged.append(one)
    return judged


def _single(evaluation: Evaluation, i: int, index: tuple[int, ...]):
    """Return one coordinate, compared by itself."""
    judged = coordinates.compared_at(Comparison(evaluation), i, [index])
    return report.coordinate(judged, index)


def _conclude(evaluation: Evaluation, result: GradcheckReport, judged: list[Judged]) -> None:
    """Decide, name the worst coordinates, and search for the cause of a failure."""
    result.unmeasured = result.unmeasured or _unmeasured(evaluation, result, judged)
    result.ok = (
        result.ok
        and not result.unmeasured
        and all(p.ok for p in result.properties)
        and not any(v.wrong for v in result.variables)
    )
    result.top = _top(judged) or [v.worst for v in result.variables if v.worst is not None]
    result.top = sorted(result.top, key=lambda c: c.excess, reverse=True)[:_TOP]
    result.worst = result.top[0] if result.top else None
    if not any(v.wrong for v in result.variables):
        return
    if result.worst is not None:
        result.sweep = _sweep(evaluation, result.worst)
    if evaluation.options.localize:
        result.location = location.locate(evaluation)
    result.hints += diagnosis.hints(evaluation, judged, result.location)


def _unmeasured(evaluation: Evaluation, result: GradcheckReport, judged: list[Judged]) -> str:
    """Return why the gradient could not be checked, "" if it could."""
    if not evaluation.units.live.any():
        return (
            "no output has a derivative: all are integers, bools, infinite or NaN; return the "
            "floating numbers they are made of"
        )
    for v in result.variables:
        if v.kinks and not v.checked and not v.unclear:
            return f"{v.name}: every coordinate is at a kink: nothing was checked; use other inputs"
    if all(v.note == report.NO_GRADIENT for v in result.variables):
        return ""  # which is said among the properties
    unclear = [v for v in result.variables if v.unclear]
    if unclear:
        count = sum(v.unclear for v in unclear)
        return (
            f"{count:,} coordinate{'s' * (count > 1)} of {', '.join(v.name for v in unclear)} "
            f"cannot be told ({unclear[0].why}); use inputs of like size at which every one "
            "matters, or leave them out by wrt="
        )
    pairs = [(a, n) for a, n, _ in result.projections]
    pairs += [(np.nan_to_num(j.analytic), np.nan_to_num(j.numeric)) for j in judged if j.given]
    if pairs and not any(np.any(a) or np.any(n) for a, n in pairs):
        return (
            "no output changes with any input, and every gradient is 0: only 0 = 0 was compared; "
            "use other inputs, and floating outputs that depend on them smoothly"
        )
    return ""


def _sweep(evaluation: Evaluation, worst) -> list[tuple[float, float]]:
    """Return the V-curve at a coordinate."""
    i = [v.name for v in evaluation.problem.variables].index(worst.variable)
    cotangents = evaluation.cotangents(evaluation.options.random(3))
    gradient = evaluation.gradients(cotangents)[i]
    if gradient is None:
        return []
    line, unit = evaluation.at(i, worst.index, evaluation.lengths(i, worst.index)[-1])
    u = evaluation.units.contraction(cotangents) / unit
    return derivatives.sweep(line, u, float(gradient[worst.index]))


def _top(judged: list[Judged]):
    """Return the worst coordinates of all variables."""
    found = []
    for one in judged:
        excess = one.excess
        for number in np.argsort(excess, axis=None)[::-1][:_TOP]:
            index = tuple(int(i) for i in np.unravel_index(number, excess.shape))
            if one.compared[index]:
                found.append(report.coordinate(one, index))
    return found
