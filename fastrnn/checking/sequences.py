"""Properties of layers that read sequences: padding, independent rows, causality.

Only for this package's own layers and cells, which can be called with other lengths and with None
for a cotangent. Properties of any gradient are in properties.py.
"""

import numpy as np

from fastrnn.checking.arrays import copies
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.properties import Check, Property


def missing_cotangents(evaluation: Evaluation) -> Property | None:
    """None for a cotangent gives the same gradients as zeros."""
    if not evaluation.problem.none_is_zero or len(evaluation.outputs) < 2:
        return None
    cotangents, wrong = evaluation.cotangent, []
    _, pullback = evaluation.problem.vjp(evaluation.values)
    for i in (0, len(cotangents) - 1):  # the output and a state
        zeros = [np.zeros_like(c) if k == i else c for k, c in enumerate(cotangents)]
        nones = [None if k == i else c for k, c in enumerate(cotangents)]
        for variable, a, b in zip(
            evaluation.problem.variables, pullback(zeros), pullback(nones), strict=True
        ):
            if not np.array_equal(a, b):
                wrong.append(f"output {i}: {variable.name} differs")
    return Property("None is a zero cotangent", not wrong, "; ".join(wrong) or "the same bits")


def training_is_inference(evaluation: Evaluation) -> Property | None:
    """A call and the forward half of vjp compute the same function."""
    if evaluation.problem.kind != "layer":
        return None
    called = evaluation.problem.forward(evaluation.values)
    away = max(
        (
            float(np.abs(a - b).max(initial=0))
            for a, b in zip(called, evaluation.outputs, strict=True)
        ),
        default=0.0,
    )
    largest = max((float(np.abs(o).max(initial=0)) for o in called), default=0.0)
    ok = away <= 64 * evaluation.problem.eps * max(largest, 1e-300)
    return Property("vjp computes what a call does", ok, f"{away:.3g} apart")


def equations(evaluation: Evaluation) -> Property | None:
    """The cell's equations, which the complex step differentiates, are what the kernels compute."""
    if evaluation.problem.kind != "layer" or evaluation.method.name != "complex":
        return None
    kernels = evaluation.problem.forward(evaluation.precise)
    plain = evaluation.problem.forward([v.astype(complex) for v in evaluation.precise])
    away = max(
        (float(np.abs(a - np.real(b)).max(initial=0)) for a, b in zip(kernels, plain, strict=True)),
        default=0.0,
    )
    largest = max((float(np.abs(o).max(initial=0)) for o in kernels), default=0.0)
    ok = away <= 1e-12 * max(largest, 1.0)
    return Property("kernels compute the equations", ok, f"{away:.3g} apart")


def padding(evaluation: Evaluation) -> Property | None:
    """The input past a row's end changes nothing, and its gradient is 0."""
    steps = evaluation.problem.steps
    if steps is None or steps.x is None or steps.batch is None:
        return None
    x = evaluation.values[steps.x]
    rows, time = x.shape[steps.batch], x.shape[steps.time]
    random = evaluation.options.random(21)
    lengths = random.integers(0, time + 1, rows)
    own = steps.function
    past_end = np.arange(time)[:, None] >= lengths  # (T, B)
    past_end = past_end.T if steps.time == 1 else past_end
    other = [v.copy() for v in evaluation.values]
    other[steps.x][past_end] = random.standard_normal((int(past_end.sum()), x.shape[2]))
    with own.with_sequences(lengths):
        outputs, pullback = evaluation.problem.vjp(evaluation.values)
        cotangents = [random.standard_normal(o.shape).astype(o.dtype) for o in outputs]
        first = [*outputs, *pullback(copies(cotangents))]
        outputs, pullback = evaluation.problem.vjp(other)
        second = [*outputs, *pullback(copies(cotangents))]
    wrong = []
    if not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        wrong.append("the input in padded steps changes the result")
    if first[len(outputs) + steps.x][past_end].any():
        wrong.append("the gradient in padded steps is not 0")
    if first[0][past_end].any():
        wrong.append("the output in padded steps is not 0")
    return Property(
        "padding is not read", not wrong, "; ".join(wrong) or f"lengths {lengths.tolist()[:8]}"
    )


def episodes(evaluation: Evaluation) -> Property | None:
    """Nothing crosses a reset: no number on the way there, no gradient on the way back."""
    steps = evaluation.problem.steps
    if steps is None or steps.x is None or not steps.function.takes_reset:
        return None
    x, random = evaluation.values[steps.x], evaluation.options.random(25)
    if x.shape[steps.time] < 2:
        return None
    at = int(random.integers(1, x.shape[steps.time]))
    reset = np.zeros(x.shape[:-1], bool)
    np.moveaxis(reset, steps.time, 0)[at] = True
    other = [v.copy() for v in evaluation.values]
    earlier = np.moveaxis(other[steps.x], steps.time, 0)[:at]
    earlier[...] = random.standard_normal(earlier.shape)
    after = []
    with steps.function.with_sequences(reset=reset):
        for values in (evaluation.values, other):
            outputs, pullback = evaluation.problem.vjp(values)
            after.append(np.moveaxis(outputs[0], steps.time, 0)[at:].copy())
        cotangents = [np.zeros_like(o) for o in outputs]
        later = np.moveaxis(cotangents[0], steps.time, 0)[at:]
        later[...] = random.standard_normal(later.shape)
        given = np.moveaxis(pullback(cotangents)[steps.x], steps.time, 0)[:at]
    wrong = []
    if not np.array_equal(*after):
        wrong.append("the input before a reset changes the output after it")
    if given.any():
        wrong.append("an output after a reset has a gradient before it")
    return Property("nothing crosses a reset", not wrong, "; ".join(wrong) or f"at step {at}")


def rows_apart(evaluation: Evaluation) -> Property | None:
    """A row of the batch depends on no other row, so no gradient crosses rows."""
    steps = evaluation.problem.steps
    if steps is None or steps.x is None or steps.batch is None:
        return None
    x = evaluation.values[steps.x]
    if x.shape[steps.batch] < 2:
        return None
    row = int(evaluation.options.random(22).integers(x.shape[steps.batch]))
    cotangents = evaluation.cotangents(evaluation.options.random(23))
    axes = [steps.batch] + [1] * (len(cotangents) - 1)  # states have the batch second
    for c, axis in zip(cotangents, axes, strict=True):
        np.moveaxis(c, axis, 0)[np.arange(c.shape[axis]) != row] = 0
    given = evaluation.raw(cotangents)[steps.x]
    others = np.delete(np.asarray(given), row, axis=steps.batch)
    ok = not others.any()
    return Property(
        "rows do not mix",
        ok,
        "no gradient from one row of the batch to another"
        if ok
        else f"the loss of row {row} has a gradient in other rows",
    )


def causal(evaluation: Evaluation) -> Property | None:
    """No output depends on a later input, in a layer of one direction."""
    steps = evaluation.problem.steps
    if steps is None or steps.x is None or not steps.causal:
        return None
    time = evaluation.values[steps.x].shape[steps.time]
    if time < 2:
        return None
    cotangents = [np.zeros_like(c) for c in evaluation.outputs]
    at = int(evaluation.options.random(24).integers(time - 1))
    np.moveaxis(cotangents[0], steps.time, 0)[at] = 1
    given = np.asarray(evaluation.raw(cotangents)[steps.x])
    later = np.moveaxis(given, steps.time, 0)[at + 1 :]
    ok = not later.any()
    return Property(
        "causal",
        ok,
        "no gradient from an output to later inputs"
        if ok
        else f"the output of step {at} has a gradient in later inputs",
    )


ALL: tuple[Check, ...] = (
    missing_cotangents,
    training_is_inference,
    equations,
    padding,
    episodes,
    rows_apart,
    causal,
)
