"""Spectral radii: of W_hh, gate by gate, and of the mean step Jacobian.

A step is elementwise except for W_hh, so its Jacobian d state_t / d state_(t-1) is made of W_hh and
diagonal matrices. The diagonals are derivatives of the cell's own specification (`Cell.equations`),
by complex steps, which are exact to the last digits, for all units at once and in float64.

Why radii: if the Jacobians of all steps were equal, their product would grow or shrink as the
spectral radius says (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv
1211.5063). They are not quite equal, so the radius of the mean is a guide; the measured gradient
(flow.py) is the truth.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.tracing.recorder import Recorder

_STEP = 1e-100  # of the complex step, in which nothing cancels
_MAX_PREACTIVATIONS = 1 << 20  # in a mean


class Radii(NamedTuple):
    """Spectral radii of one layer in one direction; nan if weights are not finite."""

    weight: dict[str, float]  # gate -> of its block of W_hh, times W_hr under a projection
    jacobian: float  # of the mean over steps and sequences of d state_t / d state_(t-1)
    steps: int  # in the mean


def radii(recorder: Recorder) -> Radii:
    """Return the spectral radii of a pass.

    Args:
        recorder: of the pass, after its forward pass. If it has more than 2^20 / (G*H) steps, the
            mean is over that many of them, drawn with a fixed seed.
    """
    weights = [None if w is None else np.asarray(w, np.float64) for w in recorder.weights]
    w_hh, w_hr, gates = weights[1], weights[4], recorder.cell.gates
    assert w_hh is not None
    blocks = dict(zip(gates, np.split(w_hh, len(gates)), strict=True))
    of_weight = {gate: _radius(b if w_hr is None else w_hr @ b) for gate, b in blocks.items()}
    chosen = np.flatnonzero(~recorder.cut)  # across a reset there is no derivative
    rows, max_rows = len(chosen), max(1, _MAX_PREACTIVATIONS // len(w_hh))
    if rows > max_rows:
        chosen = np.random.default_rng(0).choice(chosen, max_rows, replace=False)
    if not rows:
        return Radii(of_weight, float("nan"), 0)
    with np.errstate(all="ignore"):  # states may not be finite
        mean = mean_jacobian(recorder, chosen)
    return Radii(of_weight, _radius(mean), len(chosen))


def mean_jacobian(recorder: Recorder, chosen: np.ndarray) -> np.ndarray:
    """Return the mean of d state_t / d state_(t-1), all states side by side: (S, S).

    Args:
        recorder: of a pass.
        chosen: rows, i.e. steps, to average over.
    """
    _, w_hh, _, _, w_hr = (
        None if w is None else np.asarray(w, np.float64) for w in recorder.weights
    )
    assert w_hh is not None
    cell, hidden = recorder.cell, recorder.size.hidden
    before = recorder.states_before(chosen)
    a_x, a_h = recorder.preactivations(chosen, before[0])

    def derivatives(number, units=slice(None)):
        """Return the mean derivative of each new state with respect to units of one argument."""
        arguments = [a.astype(complex) for a in (a_h, *before)]
        arguments[number][:, units] += 1j * _STEP
        return [s.imag.mean(0) / _STEP for s in cell.equations(a_x, *arguments)]

    columns = np.zeros((len(cell.states), hidden, w_hh.shape[1]))  # of h, through W_hh
    for gate in range(len(cell.gates)):
        units = slice(gate * hidden, (gate + 1) * hidden)
        for i, diagonal in enumerate(derivatives(0, units)):
            columns[i] += diagonal[:, None] * w_hh[units]
    whole = [[c] for c in columns]
    for k in range(len(cell.states)):
        if k == 0 and w_hr is not None:
            continue  # a projected h enters the next step through W_hh alone
        for i, diagonal in enumerate(derivatives(1 + k)):
            if k == 0:
                whole[i][0] = whole[i][0] + np.diag(diagonal)
            else:
                whole[i].append(np.diag(diagonal))
    if w_hr is not None:
        whole[0] = [w_hr @ part for part in whole[0]]
    return np.block(whole)


def _radius(matrix: np.ndarray) -> float:
    if not np.isfinite(matrix).all():
        return float("nan")
    return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
