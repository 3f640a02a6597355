"""`gradient_flow`: does the gradient vanish or explode on its way back, and why.

It takes norms of what `trace` gives, and beside them what explains them: spectral radii
(jacobian.py) and the share of gate values that let no gradient through. What it returns is in
report.py.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.nn.program import Program
from fastrnn.tracing.jacobian import radii
from fastrnn.tracing.recorder import Recorder
from fastrnn.tracing.report import Curve, GradientFlow, PassFlow, Saturation
from fastrnn.tracing.traces import record


def gradient_flow(
    layer: Any,
    x: Any,
    d_output: Any = None,
    state: Any = None,
    lengths: Any = None,
    d_state: Any = None,
    *,
    reset: Any = None,
    threshold: float = 0.95,
) -> GradientFlow:
    """Measure how a gradient flows back through a layer.

    To follow a single gradient back, take a loss of the last step alone: a d_output that is zero
    elsewhere, or only d_state.

    Args:
        layer: an RNN, LSTM or GRU.
        x: the input, as in a call of the layer.
        d_output: the gradient at the output; None (default): zero.
        state: the initial state, as in a call of the layer; None (default): zero.
        lengths: the sequences' lengths, as in a call of the layer; None (default): T.
        d_state: the gradient at the final state; None (default): zero.
        reset: where a state begins anew, as in a call of the layer; steps back are counted from
            the last step before a reset. None (default): nowhere.
        threshold: |tanh|, or |2σ - 1| of a sigmoid, above which a value counts as saturated, in
            (0, 1); default 0.95.

    Returns:
        A GradientFlow: `flow["l0"].d_states["h"].back`, `print(flow)`, `flow.plot("flow.png")`.

    Raises:
        TypeError: layer is not a layer, or an argument has the wrong type.
        ValueError: no gradient is given, the threshold is out of range, or as in a call.
        IndexError: a one-hot index is out of range.

    Example:
        >>> from fastrnn.nn.layers import RNN
        >>> rnn, x = RNN(4, 3, seed=0), np.ones((50, 2, 4), np.float32)
        >>> flow = gradient_flow(rnn, x, d_state=np.ones((1, 2, 3), np.float32))
        >>> flow["l0"].d_states["h"].norm.shape, flow["l0"].d_states["h"].factor < 1
        ((50, 2), True)

    Source: Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013 (arXiv
    1211.5063); saturated gates: Karpathy, Johnson & Fei-Fei 2016 (arXiv 1506.02078).
    """
    if d_output is None and d_state is None:
        raise ValueError(
            "gradient_flow: no gradient is given; expected d_output, the gradient at the output, "
            "e.g. zeros but for d_output[-1] = 1, or d_state."
        )
    numeric = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
    if not numeric or not 0 < threshold < 1:
        raise ValueError(
            f"gradient_flow: threshold should be a number between 0 and 1, got {threshold!r}."
        )
    program, _, recorders = record(
        "gradient_flow", layer, x, d_output, state, lengths, d_state, reset
    )
    passes = {}
    for name, recorder in recorders.items():
        gates, found = recorder.cell.gates, radii(recorder)
        assert recorder.d_gates is not None
        d_gates = np.split(recorder.d_gates, len(gates), axis=1)
        passes[name] = PassFlow(
            {
                state: _curve(recorder, rows, program)
                for state, rows in zip(recorder.cell.states, recorder.d_states, strict=True)
            },
            {
                gate: _curve(recorder, rows, program)
                for gate, rows in zip(gates, d_gates, strict=True)
            },
            found.weight,
            found.jacobian,
            found.steps,
            {
                gate: _saturation(recorder.saved(gate), function, threshold)
                for gate, function in zip(gates, recorder.cell.activations, strict=True)
            },
            _many_outputs(recorder),
        )
    time, batch = program.call.time, program.call.batch
    return GradientFlow(repr(layer), time, batch, float(threshold), passes)


def _curve(recorder: Recorder, rows: NDArray, program: Program) -> Curve:
    norms = _norms(rows)
    steps = int(recorder.back.max(initial=-1)) + 1  # of the longest stretch without a reset
    largest, smallest = np.zeros(steps), np.full(steps, np.inf)
    with np.errstate(invalid="ignore"):  # norms may be infinite
        np.maximum.at(largest, recorder.back, norms)
        np.minimum.at(smallest, recorder.back, norms)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        squares = (norms / scale[recorder.back]) ** 2
    count = np.bincount(recorder.back, minlength=steps)
    back = scale * np.sqrt(np.bincount(recorder.back, squares, steps) / count)
    norm = program.caller_axes(recorder.spread(norms[:, None]))[..., 0]
    return Curve(norm, back, smallest, largest, _factor(back))


def _norms(rows: NDArray) -> NDArray:
    """Return the norm of each row, also where its square would overflow."""
    rows = rows.astype(np.float64)
    scale = np.abs(rows).max(axis=1, initial=0.0)
    scale[(scale == 0) | ~np.isfinite(scale)] = 1.0
    return scale * np.linalg.norm(rows / scale[:, None], axis=1)


def _factor(back: NDArray) -> float:
    steps = np.flatnonzero((back > 0) & np.isfinite(back))
    if len(steps) < 2:
        return math.nan
    with np.errstate(over="ignore"):
        return float(np.exp(np.polyfit(steps, np.log(back[steps]), 1)[0]))


def _saturation(values: NDArray, function: str, threshold: float) -> Saturation:
    if not values.size:
        return Saturation(math.nan, math.nan, math.nan)
    if function == "relu":
        low, high = values == 0, np.zeros(values.shape, bool)
    else:
        values = 2 * values - 1 if function == "sigmoid" else values
        low, high = values < -threshold, values > threshold
    always = low.all(axis=0) | high.all(axis=0)
    return Saturation(float(low.mean()), float(high.mean()), float(always.mean()))


def _many_outputs(recorder: Recorder) -> bool:
    """Return whether outputs before a sequence's last step have a gradient."""
    given = recorder.d_given
    return given is not None and bool(np.any(given[recorder.back > 0]))
