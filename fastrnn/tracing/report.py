"""What `gradient_flow` returns: the numbers, with names, as a table and as plain dicts.

How they are measured is in flow.py, how they are drawn in plot.py.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.tracing import plot


class Curve(NamedTuple):
    """The norm of a gradient, over the units, at every step.

    Attributes:
        norm: norm at each step of each sequence, (T, B), or (B, T) with batch_first, or (T,)
            unbatched; 0 past a sequence's end.
        back: (S,) root mean square over the sequences, by steps back from each sequence's last
            step; sequences that are too short do not count. In the reverse direction the last
            step is t = 0.
        smallest: (S,) the smallest norm of those sequences.
        largest: (S,) the largest.
        factor: growth of the gradient per step back: exp of the slope of a straight line fitted
            to log(back) by least squares where that is finite; nan with fewer than two values.
    """

    norm: NDArray
    back: NDArray
    smallest: NDArray
    largest: NDArray
    factor: float


class Saturation(NamedTuple):
    """How much of a gate lets no gradient through, as shares of its values.

    Attributes:
        low: share of values near 0 (sigmoid), near -1 (tanh), or exactly 0 (ReLU).
        high: share of values near 1 (sigmoid and tanh); 0 for ReLU.
        always: share of units saturated at every step of every sequence, such as dead ReLUs.
    """

    low: float
    high: float
    always: float


@dataclass(frozen=True)
class PassFlow:
    """One layer in one direction.

    Attributes:
        d_states: state -> Curve of the gradient at that state (see PassTrace).
        d_preactivations: gate -> Curve of the gradient at its pre-activation.
        spectral_radius: gate -> spectral radius of its block of W_hh (W_hr W_hh with a
            projection). With one gate this is the network's; with several, none alone decides:
            see jacobian_radius.
        jacobian_radius: spectral radius of the mean step Jacobian, d state_t / d state_(t-1), for
            an LSTM of h and c together. Below 1 a gradient shrinks on average, above it grows.
        jacobian_steps: number of steps in that mean, at most 2^20 / (G*H), drawn at random.
        saturation: gate -> Saturation.
        many_outputs: more than the last output of each sequence has a gradient (in layers below
            the top one, nearly always). The gradient at a step is then a sum of those from later
            steps, and its growth is not that of one gradient on its way back.
    """

    d_states: dict[str, Curve]
    d_preactivations: dict[str, Curve]
    spectral_radius: dict[str, float]
    jacobian_radius: float
    jacobian_steps: int
    saturation: dict[str, Saturation]
    many_outputs: bool


@dataclass(frozen=True)
class GradientFlow:
    """The result of `gradient_flow`; printed, it is a table.

    Attributes:
        layer: the layer's repr.
        steps: T.
        sequences: B.
        threshold: |tanh|, or |2σ - 1| of a sigmoid, above which a value counts as saturated.
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
        """Draw the norms on a log axis, by steps back from the last, and the saturated gates.

        Args:
            path: the file to write: .png, .svg, .pdf or .jpg.

        Raises:
            ModuleNotFoundError: matplotlib is not installed (the extra `plot`).
            ValueError: the file has another ending.
            OSError: the file cannot be written.
        """
        plot.draw(self, path)


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
    if one.many_outputs:
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
