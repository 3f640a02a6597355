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
from fastrnn.checking.coordinates import Judged, ProgressCallback
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import Problem, flat
from fastrnn.checking.report import GradcheckReport, VariableReport

_TOP = 5  # of the worst coordinates, in the report


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
    )
    if not judged.given:
        result.note = "no gradient given"
        return result
    if judged.kinks.any() and not compared.any():
        result.note = "every coordinate is at a kink: nothing was checked; use other inputs"
        result.wrong = int(judged.kinks.sum())
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
    count, found = evaluation.options.n_projections, []
    for k in range(count):
        found.append(projector.project())
        if progress is not None:
            progress(k + 1, count)
    result.projections = [(p.analytic, p.numeric, p.tolerance) for p in found]
    result.miss_size = projections.detectable(found, result.miss)
    variables = evaluation.problem.variables
    result.variables = [VariableReport(v.name, v.value.shape) for v in variables]
    for one, scale in zip(result.variables, projector.scales, strict=True):
        one.note = "" if scale else "no gradient given"
    if all(p.kinked for p in found):
        result.ok = False
        result.notes.append(
            "every projection crosses a kink: nothing was checked; use other "
            "inputs, or mode='sample'"
        )
    if not any(p.wrong for p in found):
        return []
    result.ok = False
    for i, one in enumerate(result.variables):
        alone = [np.full(x.shape, float(k == i)) for k, x in enumerate(evaluation.precise)]
        again = [projector.project(alone) for _ in range(3)]
        one.wrong = int(any(p.wrong for p in again))
        if one.wrong:
            pairs = [(p.analytic, p.numeric) for p in again]
            result.hints += diagnosis.of_projections(evaluation, one.name, pairs)
            index = projections.culprit(projector, i)
            one.worst = None if index is None else _single(evaluation, i, index)
    return []


def _single(evaluation: Evaluation, i: int, index: tuple[int, ...]):
    """Return one coordinate, compared by itself."""
    cotangents = evaluation.cotangents(evaluation.options.random(7))
    gradient = evaluation.gradients(cotangents)[i]
    assert gradient is not None  # without a gradient its scale is 0, and no projection is wrong
    line, unit = evaluation.at(i, index)
    found = evaluation.derivative(line)
    numeric = float(flat(cotangents).astype(np.float64) @ found.value) / unit
    allowed = coordinates.tolerance(
        evaluation, i, gradient[None], np.array([numeric]), found.error / unit, 0.0
    )
    return report.compared(
        evaluation.problem.variables[i],
        index,
        float(gradient[index]),
        numeric,
        float(allowed[0]),
        float(np.abs(gradient).max()),
    )


def _conclude(evaluation: Evaluation, result: GradcheckReport, judged: list[Judged]) -> None:
    """Decide, name the worst coordinates, and search for the cause of a failure."""
    result.ok = (
        result.ok
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


def _sweep(evaluation: Evaluation, worst) -> list[tuple[float, float]]:
    """Return the V-curve at a coordinate."""
    i = [v.name for v in evaluation.problem.variables].index(worst.variable)
    cotangents = evaluation.cotangents(evaluation.options.random(3))
    gradient = evaluation.gradients(cotangents)[i]
    if gradient is None:
        return []
    line, unit = evaluation.at(i, worst.index)
    u = flat(cotangents).astype(np.float64) / unit
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
