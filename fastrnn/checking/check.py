"""`gradcheck`: the one call. What it does in what order; each part is a file of its own."""

import sys
import time
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.checking import (
    coordinates,
    derivatives,
    diagnosis,
    location,
    projections,
    properties,
    report,
    sequences,
)
from fastrnn.checking.coordinates import Judged, Progress
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import Options
from fastrnn.checking.problem import Problem, flat, restricted
from fastrnn.checking.report import GradcheckError, GradcheckReport, VariableReport
from fastrnn.checking.targets.fastrnn import problem_of_own
from fastrnn.checking.targets.numpy import problem_of_function, problem_of_pair
from fastrnn.nn.module import Module

_TOP = 5


def gradcheck(
    target,
    inputs,
    *,
    wrt=None,
    method="auto",
    mode="full",
    eps=None,
    atol=None,
    rtol=None,
    n_samples=12,
    n_projections=5,
    seed=0,
    nondet_tol=0.0,
    check_kinks=True,
    localize=True,
    second_order=False,
    raise_exception=True,
    progress=None,
) -> GradcheckReport:
    """Check a hand-written gradient against derivatives of the function itself, and more.

    Args:
        target: one of
            a function of the inputs that returns `(output, pullback)`; `pullback(d_output)`
            returns a tuple of gradients, one for each input, None for an input that has none, or
            the bare array where there is one input. Several outputs are a tuple, and so are
            their cotangents;
            a pair `(forward, vjp)`: `forward(*inputs) -> output`, and `vjp(*inputs, d_output)`
            returns the gradients;
            a layer, a cell or a Linear of this package: input, state and all parameters;
            a torch function, or a torch.nn.Module with all its parameters (inputs: tensors).
        inputs: a tuple of arrays, or one array. float32 or float64 arrays are variables, integer
            arrays and None are passed on. For a layer `(x,)`, `(x, state)` or
            `(x, state, lengths)`.
        wrt: names of the variables to check (see `report.variables`); None: all of them.
        method: "complex" step, "richardson" extrapolation of central differences with an estimate
            of its error, plain "central" differences; "auto": the complex step where the function
            is analytic and takes complex numbers, else richardson.
        mode: "full": every coordinate; "sample": n_samples of every parameter, gate, layer,
            direction and segment of time; "project": n_projections random directions through all
            coordinates at once, for models of any size.
        eps: the (first) step; None: that of the method. In units of max(|x|, 1/4), rounded up to
            a power of two.
        atol: absolute tolerance, as torch's; None, and rtol None: what the measured noise of
            both sides and the estimated error of the derivative allow.
        rtol: tolerance relative to the derivative.
        n_samples: see mode.
        n_projections: see mode.
        seed: of cotangents, directions and samples, and of dropout.
        nondet_tol: how far apart two equal calls may be.
        check_kinks: skip and count coordinates at which the function has no derivative.
        localize: after a failure, find the first wrong time step and its gate.
        second_order: check also that the derivative of the gradient is symmetric.
        raise_exception: raise where the check fails; False: return the report.
        progress: called with (done, of how many) coordinates.

    Returns:
        A GradcheckReport: `ok`, `worst`, `table()`, `to_json()`, `plot(path)`.

    Raises:
        GradcheckError: an AssertionError, the check failed; `error.report` is the report.
        TypeError, ValueError: an argument is not what it has to be.

    float32 gradients are compared with the derivative of the same function in float64.

    Example:
        >>> def square(x):
        ...     return x * x, lambda d: 2 * x * d
        >>> gradcheck(square, (np.array([1.0, 2.0]),)).ok
        True

    Sources: derivatives.py (complex step, Richardson, noise), projections.py (random directions).
    """
    __tracebackhide__ = True  # pytest then shows the report, and not where it was raised
    options = Options(
        method,
        mode,
        eps,
        atol,
        rtol,
        n_samples,
        n_projections,
        seed,
        nondet_tol,
        check_kinks,
        localize,
        second_order,
    )
    checks.boolean("gradcheck", "raise_exception", raise_exception)
    _refuse_uncallable(progress)
    problem = restricted(problem_of(target, inputs, options.seed), wrt)
    for variable in problem.variables:
        if not np.isfinite(variable.value).all():
            raise ValueError(
                f"gradcheck: {variable.name} has entries that are not finite, where nothing has a "
                "derivative; leave it out by wrt=, or use other inputs."
            )
    result = checked(problem, options, progress)
    if raise_exception and not result.ok:
        raise GradcheckError(result)
    return result


def _refuse_uncallable(progress: Any) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"gradcheck: progress is {progress!r}; expected a function, or None.")


def problem_of(target: Any, inputs: Any, seed: int = 0) -> Problem:
    """Return what is to be checked as a Problem; see `gradcheck`."""
    torch = sys.modules.get("torch")
    if isinstance(inputs, np.ndarray) or (
        torch and isinstance(inputs, torch.Tensor | torch.nn.utils.rnn.PackedSequence)
    ):
        inputs = (inputs,)
    if not isinstance(inputs, tuple | list):
        raise TypeError(
            f"gradcheck: inputs is a {type(inputs).__name__}; expected a tuple of arrays, "
            "e.g. (x,)."
        )
    inputs = tuple(inputs)
    if isinstance(target, Module):
        problem = problem_of_own(target, inputs, seed)
    elif torch and (isinstance(target, torch.nn.Module) or _holds(inputs, torch.Tensor)):
        from fastrnn.checking.targets.torch_module import problem_of_torch

        problem = problem_of_torch(target, inputs, seed)
    elif isinstance(target, tuple) and len(target) == 2 and all(map(callable, target)):
        problem = problem_of_pair(*target, inputs)
    elif callable(target):
        problem = problem_of_function(target, inputs)
    else:
        raise TypeError(
            f"gradcheck: target is a {type(target).__name__}; expected a function that returns "
            "(output, pullback), a pair (forward, vjp), a layer, or a torch function or module."
        )
    if not problem.variables:
        raise ValueError(
            f"gradcheck: no input of {problem.name} is a float array, so there is no gradient to "
            "check."
        )
    empty = [variable.name for variable in problem.variables if not variable.value.size]
    if empty:
        raise ValueError(f"gradcheck: {', '.join(empty)} has no entries; use larger inputs.")
    return problem


def _holds(value: Any, kind: type) -> bool:
    """Return whether there is one of this kind in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(_holds(member, kind) for member in value)
    return isinstance(value, kind)


@np.errstate(all="ignore")  # steps leave the domain of a function, and what is wrong overflows
def checked(problem: Problem, options: Options, progress: Progress | None = None):
    """Check a problem and return the report."""
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
    """Sum up what was found of one variable, coordinate by coordinate."""
    variable, looked, excess = judged.variable, judged.looked_at, judged.excess
    result = VariableReport(
        variable.name,
        variable.value.shape,
        int(looked.sum()),
        int(judged.kinks.sum()),
        int(judged.wrong.sum()),
    )
    if not judged.given:
        result.note = "no gradient given"
        return result
    if judged.kinks.any() and not looked.any():
        result.note = "every coordinate is at a kink: nothing was checked; use other inputs"
        result.wrong = int(judged.kinks.sum())
    if looked.any():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        result.worst = report.coordinate(judged, index)
        result.cosine, result.ratio = diagnosis.angle(
            judged.analytic[0][looked], judged.numeric[0][looked]
        )
    result.gates = {
        gate: float(np.max(excess[rows], initial=0)) for gate, rows in variable.blocks() if gate
    }
    return result


def _project(evaluation: Evaluation, result: GradcheckReport, progress) -> list[Judged]:
    """Compare projections; of those that are wrong, find a variable and a coordinate."""
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
    assert gradient is not None  # else its scale were 0
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
    """Decide, name the worst, and look closer where something is wrong."""
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
            if one.looked_at[index]:
                found.append(report.coordinate(one, index))
    return found
