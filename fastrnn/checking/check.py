"""`gradcheck`: its arguments, what they mean, and what is refused before anything runs.

The check itself is in verdict.py, the kinds of target in targets/.
"""

from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import restricted
from fastrnn.checking.report import GradcheckError, GradcheckReport
from fastrnn.checking.targets.dispatch import problem_of
from fastrnn.checking.verdict import checked


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
    """Check a hand-written gradient against numeric derivatives of the function, and more.

    Args:
        target: one of
            a function of the inputs that returns `(output, pullback)`; `pullback(d_output)`
            returns a tuple of gradients, one for each input, None for an input that has none, or
            the bare one where there is one input. Several outputs are a tuple, list or dict, and
            their cotangents come in the same form;
            a pair `(forward, vjp)`: `forward(*inputs) -> output`, and `vjp(*inputs, d_output)`
            returns the gradients;
            a layer, a cell or a Linear of this package: input, state and all parameters;
            a torch function, or a torch.nn.Module with all its parameters (inputs: tensors).
        inputs: a tuple of arrays, or one array. float32 or float64 arrays are variables, integer
            arrays and None are passed on. Each may be a tuple, named tuple, list or dict of
            arrays, nested at will; the gradients come back in its form. For a layer `(x,)`,
            `(x, state)` or `(x, state, lengths)`.
        wrt: names of the variables to check (as in `report.variables`); None: all of them.
        method: "complex" step, "richardson" extrapolation of central differences with an estimate
            of its error, plain "central" differences; "auto": the complex step where the function
            is analytic and takes complex numbers, else richardson.
        mode: "full": every coordinate; "sample": n_samples of every parameter, gate, layer,
            direction and segment of time; "project": n_projections random directions through all
            coordinates at once, for models of any size.
        eps: the (first) step of the derivative, in units of max(|x|, 1/4) rounded up to a power
            of two (of |x| for the complex step); None: the method's own, and other units where
            that says nothing.
        atol: absolute tolerance, as in torch. With atol and rtol None, the tolerance follows from
            the measured rounding noise of both sides and the estimated error of the derivative;
            where it would not be well below what is compared, the check fails and says so.
        rtol: tolerance relative to the derivative.
        n_samples: number of coordinates of each stratum, in mode "sample".
        n_projections: number of random directions, in mode "project".
        seed: seed of cotangents, directions and samples, and of dropout.
        nondet_tol: largest difference accepted between two equal calls.
        check_kinks: skip and count coordinates at which the function has no derivative.
        localize: after a failure, find the first wrong time step and its gate.
        second_order: also check that the derivative of the gradient is symmetric.
        raise_exception: raise if the check fails; False: return the report.
        progress: called with (done, total) as coordinates are checked; None: nothing is called.

    Returns:
        A GradcheckReport: `ok`, `worst`, `table()`, `to_json()`, `plot(path)`.

    Raises:
        GradcheckError: an AssertionError: the gradient is wrong, or cannot be checked; which, and
            why, is in the message; `error.report` is the report.
        TypeError, ValueError: an argument has the wrong type or value.

    float32 gradients are compared with the derivative of the same function in float64.

    Example:
        >>> def square(x):
        ...     return x * x, lambda d: 2 * x * d
        >>> gradcheck(square, (np.array([1.0, 2.0]),)).ok
        True

    Sources: derivatives.py (complex step, Richardson, noise), projections.py (random directions).
    """
    __tracebackhide__ = True  # makes pytest show the report in place of this function's lines
    options = CheckOptions(
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
    _check_callable(progress)
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


def _check_callable(progress: Any) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"gradcheck: progress is {progress!r}; expected a function, or None.")
