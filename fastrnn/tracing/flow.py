"""`gradient_flow`: does the gradient vanish or explode on its way back, and why.

Norms of what `trace` gives, beside what a theory of them needs: spectral radii (jacobian.py) and
the share of gates that let no gradient through. The picture is plot.py's.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.nn.program import Program
from fastrnn.tracing import plot
from fastrnn.tracing.jacobian import radii
from fastrnn.tracing.recorder import Recorder
from fastrnn.tracing.traces import record


class Curve(NamedTuple):
    """The norm of a gradient, over the units, at every step.

    Attributes:
        norm: of every step and sequence, with the axes of the output but for the last: (T, B),
            (B, T) with batch_first, (T,) unbatched; 0 where there is no step.
        back: (S,) by steps back from each sequence's last: the root mean square over those
            sequences that are long enough. Of the reverse direction the last step is that at t = 0.
        least: (S,) the smallest of those sequences.
        most: (S,) the largest.
        factor: the gradient's growth a step back: exp of the slope of a straight line through
            log(back), by least squares, where that is finite and not 0; nan with fewer than two.
    """

    norm: NDArray
    back: NDArray
    least: NDArray
    most: NDArray
    factor: float


class Saturation(NamedTuple):
    """How much of a gate passes no gradient, as shares of all its values.

    Attributes:
        low: of a sigmoid, near 0; of tanh, near -1; of ReLU, exactly 0.
        high: of a sigmoid, near 1; of tanh, near 1; of ReLU, 0.
        always: share of the units that are so at every step of every sequence: dead ReLUs.
    """

    low: float
    high: float
    always: float


@dataclass(frozen=True)
class PassFlow:
    """One layer in one direction.

    Attributes:
        d_states: state -> Curve of the gradient at it (see PassTrace).
        d_preactivations: gate -> Curve of the gradient at its pre-activation.
        spectral_radius: gate -> of its block of W_hh (W_hr W_hh under a projection). With one gate
            it is the network's; of several, none alone decides: see the next.
        jacobian_radius: spectral radius of the mean step Jacobian, d state_t / d state_(t-1), of
            an LSTM of h and c together. Below 1 a gradient shrinks on average, above it grows.
        jacobian_steps: steps (and sequences) in that mean; 2^20 / (G*H) at the most, drawn.
        saturation: gate -> Saturation.
        many: what is above takes more than the last output of each sequence (of the layers below
            the top one, nearly always): what is seen at a step is a sum of gradients from later
            ones, and its growth not that of a gradient on its way.
    """

    d_states: dict[str, Curve]
    d_preactivations: dict[str, Curve]
    spectral_radius: dict[str, float]
    jacobian_radius: float
    jacobian_steps: int
    saturation: dict[str, Saturation]
    many: bool


@dataclass(frozen=True)
class GradientFlow:
    """The result of `gradient_flow`; printed, it is a table.

    Attributes:
        layer: what it was.
        steps: T.
        sequences: B.
        threshold: beyond which |tanh|, and |2σ - 1| of a sigmoid, count as saturated.
        passes: "l0", "l0_reverse", "l1", ... -> PassFlow.
    """

    layer: str
    steps: int
    sequences: int
    threshold: float
    passes: dict[str, PassFlow]

    def __getitem__(self, name: str) -> PassFlow:
        if name not in self.passes:
            raise KeyError(f"{name!r}: the layer has {list(self.passes)}.")
        return self.passes[name]

    def __str__(self) -> str:
        lines = [f"gradient flow in {self.layer}: T = {self.steps}, B = {self.sequences}"]
        for name, one in self.passes.items():
            lines += ["", *_table(name, one, self.threshold)]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists and numbers, for JSON."""
        return _plain(asdict(self))

    def plot(self, path: Any) -> None:
        """Draw it: the norms on a log axis, by steps back from the last, and saturated gates.

        Args:
            path: of the file: .png, .svg, .pdf or .jpg.

        Raises:
            ModuleNotFoundError: matplotlib is not installed: the extra `plot`.
            ValueError: the file has another ending.
            OSError: it cannot be written.
        """
        plot.draw(self, path)


def gradient_flow(
    layer: Any,
    x: Any,
    d_output: Any = None,
    state: Any = None,
    lengths: Any = None,
    d_state: Any = None,
    *,
    threshold: float = 0.95,
) -> GradientFlow:
    """Measure how a gradient flows back through a layer.

    To see one gradient on its way, ask for the loss at the last step alone: d_output that is zero
    elsewhere, or d_state.

    Args:
        layer: an RNN, LSTM or GRU.
        x: as in a call of the layer; and so are state and lengths.
        d_output: the gradient at the output, or None: zero.
        state: the initial state.
        lengths: of the sequences.
        d_state: the gradient at the final state, or None: zero.
        threshold: beyond which |tanh|, and |2σ - 1| of a sigmoid, count as saturated, in (0, 1).

    Returns:
        A GradientFlow: `flow["l0"].d_states["h"].back`, `print(flow)`, `flow.plot("flow.png")`.

    Raises:
        TypeError, ValueError, IndexError: as a call of the layer; it is no layer; no gradient is
            given; the threshold is out of range.

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
    program, _, recorders = record("gradient_flow", layer, x, d_output, state, lengths, d_state)
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
            _many(recorder),
        )
    time, batch = program.call.time, program.call.batch
    return GradientFlow(repr(layer), time, batch, float(threshold), passes)


def _curve(recorder: Recorder, rows: NDArray, program: Program) -> Curve:
    norms = _norms(rows)
    steps = recorder.batch.steps
    most, least = np.zeros(steps), np.full(steps, np.inf)
    with np.errstate(invalid="ignore"):  # of what is not finite
        np.maximum.at(most, recorder.back, norms)
        np.minimum.at(least, recorder.back, norms)
        scale = np.where((most > 0) & np.isfinite(most), most, 1.0)
        squares = (norms / scale[recorder.back]) ** 2
    count = np.bincount(recorder.back, minlength=steps)
    back = scale * np.sqrt(np.bincount(recorder.back, squares, steps) / count)
    norm = program.caller_axes(recorder.spread(norms[:, None]))[..., 0]
    return Curve(norm, back, least, most, _factor(back))


def _norms(rows: NDArray) -> NDArray:
    """Return the norm of each row, also where squares of it are no numbers any more."""
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


def _many(recorder: Recorder) -> bool:
    """Return whether the output gets a gradient at more than each sequence's last step."""
    given = recorder.d_given
    return given is not None and bool(np.any(given[recorder.back > 0]))


def _table(name: str, one: PassFlow, threshold: float) -> list[str]:
    header = [
        name,
        "last step",
        "first step",
        "a step",
        "radius of W_hh",
        "near 0 or -1",
        "near 1",
        "always",
    ]
    rows = [header]
    for state, curve in one.d_states.items():
        rows.append([f"dL/d{state}", *_ends(curve), "", "", "", ""])
    for gate, curve in one.d_preactivations.items():
        saturated = [f"{share:.1%}" for share in one.saturation[gate]]
        rows.append([f"gate {gate}", *_ends(curve), f"{one.spectral_radius[gate]:.3g}", *saturated])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
    states = ", ".join(one.d_states)
    states = f"({states})" if len(one.d_states) > 1 else states
    if one.many:
        lines.append("many outputs have a gradient: steps add up")
    return [
        *lines,
        f"mean step Jacobian of {states}: spectral radius {one.jacobian_radius:.4g} "
        f"(mean of {one.jacobian_steps:,}); saturated: beyond {threshold:g}",
    ]


def _ends(curve: Curve) -> list[str]:
    if not len(curve.back):
        return ["", "", ""]
    first = f"{curve.back[-1]:.3g}"
    if first == "0" and curve.back.any():
        first = f"0 from {np.flatnonzero(curve.back)[-1] + 1} back on"
    factor = f"x {curve.factor:.4f}" if math.isfinite(curve.factor) else ""
    return [f"{curve.back[0]:.3g}", first, factor]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        fields = getattr(value, "_asdict", dict)()
        return _plain(fields) if fields else [_plain(member) for member in value]
    return value
