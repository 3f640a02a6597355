"""Properties of any gradient besides its values: right type, repeatable, linear, no side effects.

Each check is a function of an evaluation that returns a `Property`, or None if it does not apply.
Those that need a layer of this package are in sequences.py.
"""

import functools
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import as_gradient, copies
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays
from fastrnn.checking.rounding import gradient_noise, unsaturated_scale
from fastrnn.checking.tolerance import ULPS
from fastrnn.kernels.threads import _pool, get_num_threads, set_num_threads

_one_at_a_time = threading.Lock()  # two checks would restore each other's number of threads


class Property(NamedTuple):
    """The result of one check.

    Attributes:
        name: name of the property.
        ok: it holds.
        detail: what was found; if it does not hold, what is wrong and by how much.
    """

    name: str
    ok: bool
    detail: str


Check = Callable[[Evaluation], Property | None]


def types(evaluation: Evaluation) -> Property:
    """Every gradient has the shape and the dtype of its variable, and all numbers are finite."""
    wrong = [
        f"output {i}: {np.sum(np.isnan(output))} entries are not finite"
        for i, output in enumerate(evaluation.outputs)
        if output.dtype.kind == "f" and np.isnan(output).any()
    ]
    for variable, gradient in zip(evaluation.problem.variables, evaluation.gradient, strict=True):
        name, like = variable.name, variable.value
        if gradient is None:
            if name in evaluation.problem.required:
                wrong.append(f"{name}: there is none")
            continue
        array = np.asarray(gradient)
        if array.dtype.kind not in "fiu":
            wrong.append(f"{name}: {array.dtype}, expected {like.dtype}")
        elif array.shape != like.shape:
            what = " (transposed?)" if array.shape == like.shape[::-1] else ""
            wrong.append(f"{name}: shape {array.shape}, expected {like.shape}{what}")
        elif array.dtype != like.dtype and not isinstance(gradient, float | int):
            wrong.append(f"{name}: {array.dtype}, expected {like.dtype}")
        elif not np.isfinite(array).all():
            wrong.append(f"{name}: {np.sum(~np.isfinite(array))} entries are not finite")
    if all(gradient is None for gradient in evaluation.gradient):
        wrong.append("there is no gradient of any input")
    return Property("shapes and dtypes", not wrong, "; ".join(wrong) or "as the inputs'")


def untouched(evaluation: Evaluation) -> Property:
    """Neither the function nor its pullback overwrites its arguments, nor the pullback outputs."""
    problem, values = evaluation.problem, evaluation.problem.values
    outputs, pullback = (problem.unprotected or problem.vjp)(values)
    handed = copies(evaluation.cotangent)
    kept = [o.copy() for o in outputs]
    pullback(handed)
    names = [f"input {v.name}" for v in problem.variables]
    changed = _changed(names, values, problem.values)
    changed += _changed(_numbered("cotangent", handed), handed, evaluation.cotangent)
    changed += _changed(_numbered("output", outputs), outputs, kept)
    return Property("inputs untouched", not changed, ", ".join(changed) or "to the last bit")


def repeatable(evaluation: Evaluation) -> Property:
    """The same call gives the same numbers, to within nondet_tol, and so does the same pullback.

    A pullback that adds up in arrays it keeps fails here.
    """
    once, cotangent = evaluation.gradient, evaluation.cotangent
    others, fresh = evaluation.problem.vjp(evaluation.values)
    apart = {
        "outputs of a second call": _apart(evaluation.outputs, others),
        "the pullback called again": _apart(once, evaluation.raw(cotangent)),
        "the pullback of a second call": _apart(once, fresh(copies(cotangent))),
    }
    allowed = evaluation.options.nondet_tol
    wrong = [f"{what}: {by:.3g} apart" for what, by in apart.items() if not by <= allowed]
    return Property("repeatable", not wrong, "; ".join(wrong) or f"within {allowed:g}")


def linear(evaluation: Evaluation) -> Property:
    """pullback(2 u + w) = 2 pullback(u) + pullback(w), and zero gives zero."""
    u, w = evaluation.cotangent, evaluation.cotangents(evaluation.options.random(13))
    both = [(2 * a + b).astype(a.dtype) for a, b in zip(u, w, strict=True)]
    zeros = [np.zeros_like(c) for c in u]
    of_both, of_w, of_zero = (evaluation.gradients(c) for c in (both, w, zeros))
    # All share one forward pass, so only the pullback's own rounding differs.
    eps = max(evaluation.problem.eps, *(np.finfo(c.dtype).eps for c in u))
    wrong: list[str] = []
    bounds = unsaturated_scale(evaluation, u, evaluation.gradient)
    for i, variable in enumerate(evaluation.problem.variables):
        b = as_gradient(evaluation.gradient[i], variable.value)
        a, c, zero = of_both[i], of_w[i], of_zero[i]
        if a is None or b is None or c is None or zero is None:
            continue
        largest = max(np.abs(x).max(initial=0) for x in (a, b, c))
        allowed = 8 * ULPS * eps * (largest + bounds[i])
        away = np.abs(a - (2 * b + c)).max(initial=0)
        if not away <= allowed:
            wrong.append(f"{variable.name}: off by {away:.3g}")
        if zero.any():
            wrong.append(f"{variable.name}: not zero for a zero cotangent")
    return Property("linear in the cotangent", not wrong, "; ".join(wrong) or "and zero for zero")


def strided(evaluation: Evaluation) -> Property:
    """Inputs and cotangents may be views with gaps and negative strides."""
    return _with_layout(evaluation, "strided inputs", _with_gaps)


def read_only(evaluation: Evaluation) -> Property:
    """Inputs and cotangents may be read-only."""
    return _with_layout(evaluation, "read-only inputs", _locked)


def threads(evaluation: Evaluation) -> Property:
    """One thread of this package's pool gives the same bits as several."""
    with _one_at_a_time:
        before, chosen = get_num_threads(), _pool.chosen
        try:
            set_num_threads(1 if before > 1 else 2)
            outputs, pullback = evaluation.problem.vjp(evaluation.values)
            others = [*outputs, *pullback(copies(evaluation.cotangent))]
        finally:
            set_num_threads(before)
            _pool.chosen = chosen  # so that torch's number is followed again if it was before
    by = _apart([*evaluation.outputs, *evaluation.gradient], others)
    ok = by <= evaluation.options.nondet_tol
    return Property("any number of threads", ok, f"{by:.3g} apart" if by else "the same bits")


def second_order(evaluation: Evaluation) -> Property | None:
    """The gradient has a symmetric derivative, <u, H v> = <v, H u>, as every gradient has.

    H is the derivative of the gradient for a fixed cotangent; the forward pass plays no part.
    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
    """
    if not evaluation.options.second_order:
        return None
    return symmetric_hessian(evaluation)


ALL: tuple[Check, ...] = (
    types,
    untouched,
    repeatable,
    linear,
    strided,
    read_only,
    threads,
    second_order,
)


def guarded(check: Check, evaluation: Evaluation) -> Property | None:
    """Run one check; an exception of the target becomes a property that does not hold."""
    try:
        return check(evaluation)
    except Exception as error:
        name = check.__name__.replace("_", " ")
        text = str(error).partition("\n")[0]
        return Property(name, False, f"raises {type(error).__name__}: {text}")


def symmetric_hessian(evaluation: Evaluation) -> Property:
    """Compare <u, H v> with <v, H u> in random directions; see second_order."""
    problem, random = evaluation.problem, evaluation.options.random(15)
    cotangents = [c.astype(np.float64) for c in evaluation.cotangents(random)]
    spans = evaluation.spans
    u, v = (
        [d * s for d, s in zip(evaluation.random_direction(random), spans, strict=True)]
        for _ in range(2)
    )

    def gradient_along(direction, other):
        def line(s):
            moved = [x + s * d for x, d in zip(evaluation.precise, direction, strict=True)]
            _, pullback = problem.vjp(moved)
            given = [
                as_gradient(g, x) for g, x in zip(pullback(copies(cotangents)), moved, strict=True)
            ]
            return np.array(
                [sum(np.vdot(g, o) for g, o in zip(given, other, strict=True) if g is not None)]
            )

        size = np.sqrt(sum(d.size for d in direction))
        noise = derivatives.noise(line)
        return derivatives.richardson(line, derivatives.RICHARDSON_STEP / size, noise)

    one, two = gradient_along(v, u), gradient_along(u, v)
    away = float(np.abs(one.value - two.value)[0])
    allowed = 10 * float(one.error[0] + two.error[0]) + 1e-9 * float(np.abs(one.value)[0])
    if not np.isfinite(allowed):
        words = "cannot be measured: differences of the gradient have no limit"
        return Property("symmetric second derivative", False, words)
    detail = f"<u, H v> = {one.value[0]:.10g}, <v, H u> = {two.value[0]:.10g}"
    return Property("symmetric second derivative", away <= allowed, detail)


def _with_layout(evaluation: Evaluation, name: str, lay: Callable) -> Property:
    """Compare with a call whose inputs and cotangents have another memory layout, by `lay`."""
    problem, cotangents = evaluation.problem, evaluation.cotangent
    expected = [evaluation.outputs, evaluation.gradient]
    try:
        others, pullback = problem.vjp([lay(v) for v in evaluation.values])
        got = [others, pullback([lay(c) for c in cotangents])]
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises the last for a view
        text = str(error).partition("\n")[0]
        kind = problem.kind
        # A user's function may refuse them; our own layers promise not to.
        return Property(name, kind != "layer", f"refused, {type(error).__name__}: {text[:80]}")
    by = [_apart(e, g) for e, g in zip(expected, got, strict=True)]
    # Another layout may be another order of summation.
    ok = all(
        not apart or apart <= 4 * ULPS * evaluation.problem.eps * max(_largest(e), 1.0)
        for apart, e in zip(by, expected, strict=True)
    )
    if not ok:  # as may be the rounding of steep functions
        noise = evaluation.units.noise * (
            1.0 if evaluation.units.unit is None else evaluation.units.unit
        )
        fuzzy = float(noise.max(initial=0)), _largest(gradient_noise(evaluation, cotangents))
        ok = all(apart <= float(4 * ULPS * rough) for apart, rough in zip(by, fuzzy, strict=True))
    return Property(name, bool(ok), f"{max(by):.3g} apart" if any(by) else "the same bits")


def _largest(arrays) -> float:
    return max(
        (float(np.abs(np.asarray(a)).max(initial=0)) for a in arrays if a is not None), default=0.0
    )


def _with_gaps(array):
    if not array.ndim:
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    view = wide[..., ::-2][(slice(None, None, -1),) * (array.ndim - 1)]
    view[...] = array
    return view


def _locked(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


def _numbered(word: str, arrays: Arrays) -> list[str]:
    return [word] if len(arrays) == 1 else [f"{word} {i}" for i in range(len(arrays))]


def _changed(names, arrays, before) -> list[str]:
    return [
        name
        for name, a, b in zip(names, arrays, before, strict=True)
        if not np.array_equal(a, b, equal_nan=True)
    ]


def _apart(first, second) -> float:
    """Return the largest difference between two lists of arrays; None is zero."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None or b is not None]
    sizes = []
    for pair in pairs:
        a, b = (np.float64(0) if x is None else np.asarray(x) for x in pair)
        if np.array_equal(a, b):
            continue  # fast, and the usual case
        a, b = a.astype(np.float64), b.astype(np.float64)
        away = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        away = np.where(np.isnan(away), np.inf, away)
        sizes.append(float(away.max(initial=0)))
    return functools.reduce(max, sizes, 0.0)
