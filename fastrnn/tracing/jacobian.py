"""Spectral radii: of W_hh, gate by gate, and of the mean step Jacobian.

A step is elementwise but for W_hh, so its Jacobian d state_t / d state_(t-1) is made of diagonals
and W_hh: the diagonals are derivatives of the cell's own specification (`Cell.equations`), by
complex steps, exact to the last digits, all units at once. In float64.

Why radii: a product of many Jacobians grows or shrinks as the spectral radius says where they are
all alike (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063). They
are not quite alike, so the mean's radius is a guide, and the measured gradient the truth.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.tracing.recorder import Recorder

_STEP = 1e-100  # of a derivative in complex numbers: nothing cancels
_MOST = 1 << 20  # pre-activations in a mean


class Radii(NamedTuple):
    """Spectral radii of one layer in one direction; nan where weights are not finite."""

    weight: dict[str, float]  # gate -> of its block of W_hh, times W_hr under a projection
    jacobian: float  # of the mean over steps and sequences of d state_t / d state_(t-1)
    steps: int  # in the mean


def radii(recorder: Recorder) -> Radii:
    """Return the spectral radii of a pass.

    Args:
        recorder: of the pass, after a forward pass. Where it has more steps than 2^20 / (G*H),
            that many, drawn with a fixed seed, stand for all.
    """
    weights = [None if w is None else np.asarray(w, np.float64) for w in recorder.weights]
    w_hh, w_hr, gates = weights[1], weights[4], recorder.cell.gates
    assert w_hh is not None
    blocks = dict(zip(gates, np.split(w_hh, len(gates)), strict=True))
    of_weight = {gate: _radius(b if w_hr is None else w_hr @ b) for gate, b in blocks.items()}
    rows, most = len(recorder.t), max(1, _MOST // len(w_hh))
    chosen = np.arange(rows)
    if rows > most:
        chosen = np.random.default_rng(0).choice(rows, most, replace=False)
    if not rows:
        return Radii(of_weight, float("nan"), 0)
    with np.errstate(all="ignore"):  # of states that are not finite
        mean = mean_jacobian(recorder, chosen)
    return Radii(of_weight, _radius(mean), len(chosen))


def mean_jacobian(recorder: Recorder, chosen: np.ndarray) -> np.ndarray:
    """Return the mean of d state_t / d state_(t-1), all states side by side: (S, S).

    Args:
        recorder: of a pass.
        chosen: rows, the steps to take the mean of.
    """
    w_ih, w_hh, b_ih, b_hh, w_hr = (
        None if w is None else np.asarray(w, np.float64) for w in recorder.weights
    )
    assert w_ih is not None
    assert w_hh is not None
    cell, hidden = recorder.cell, recorder.size.hidden
    before = [s[chosen].astype(np.float64) for s in recorder.states_before()]
    x = recorder.input()[chosen]
    a_x = w_ih.T[x] if x.ndim == 1 else x.astype(np.float64) @ w_ih.T
    a_h = before[0] @ w_hh.T
    a_x, a_h = (a if b is None else a + b for a, b in ((a_x, b_ih), (a_h, b_hh)))

    def derivatives(number, units=slice(None)):
        """Return the mean derivative of each new state by some units of one argument."""
        arguments = [a.astype(complex) for a in (a_h, *before)]
        arguments[number][:, units] += 1j * _STEP
        return [s.imag.mean(0) / _STEP for s in cell.equations(a_x, *arguments)]

    columns = np.zeros((len(cell.states), hidden, w_hh.shape[1]))  # of the emitted state
    for gate in range(len(cell.gates)):
        units = slice(gate * hidden, (gate + 1) * hidden)
        for i, diagonal in enumerate(derivatives(0, units)):
            columns[i] += diagonal[:, None] * w_hh[units]
    whole = [[c] for c in columns]
    for k in range(len(cell.states)):
        if k == 0 and w_hr is not None:
            continue  # what is projected comes back through W_hh alone
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
