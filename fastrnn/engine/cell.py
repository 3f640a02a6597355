"""What a cell is to the rest of the package: `Cell`, and `bind`, which makes one.

The loops over time are in forward.py; a cell brings what happens at one step.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastrnn.engine import backward, forward, recompute, single_step
from fastrnn.kernels.tile import WIDEST


class Cell(NamedTuple):
    """What the engine, the tests, the bench and the CLI need to know about one recurrent unit."""

    name: str  # "lstm": test ids, names of the compiled kernels
    gates: tuple[str, ...]  # H-row blocks of weight_ih and weight_hh, in torch's order
    activations: tuple[str, ...]  # what each gate applies: "sigmoid", "tanh" or "relu"
    states: tuple[str, ...]  # states[0] is emitted, and is what weight_hh multiplies
    # What each step keeps for backward, H wide each. All gates, by their names: activated. All
    # states but the first, by theirs: as they were before the step.
    saved: tuple[str, ...]
    shared: bool  # d_a_h is d_a_x: one buffer serves both
    width: int  # vectors in a panel of packed weights: whole groups of gates
    equations: Callable  # (a_x, a_h, *states) -> states: one step in NumPy, the specification
    forward: Callable  # compiled: many steps (forward.bind_forward)
    stream: Callable  # compiled: one more step
    backward: Callable  # compiled: BPTT (backward.bind_backward)
    replay: Callable  # compiled: what forward keeps for it, once more (recompute.bind_replay)
    one_forward: Callable  # compiled: a single step (single_step.py), without plans
    one_backward: Callable  # compiled: its gradient


def bind(
    name: str,
    *,
    gates: tuple[str, ...],
    activations: tuple[str, ...],
    states: tuple[str, ...],
    saved: tuple[str, ...],
    shared: bool,
    equations: Callable,
    step: Callable,
    step_backward: Callable,
) -> Cell:
    """Put the loops over time around one step and return the cell.

    Args:
        name: unique; the cache on disk knows the kernels by it.
        gates: see Cell.
        activations: see Cell.
        states: see Cell.
        saved: see Cell.
        shared: see Cell.
        equations: see Cell.
        step: jitted, (a_x, a_h, state) -> (state, saved): tuples of vectors, of len(gates),
            len(gates), len(states) -> len(states), len(saved).
        step_backward: jitted, (saved, h, d_state) -> (d_a_x, d_a_h, d_state): h is states[0]
            before the step (undefined under a projection); the last result is the gradient
            at the state before the step, but for the part that comes through a_h.
    """
    width = max(1, WIDEST // len(gates)) * len(gates)
    counts = len(gates), len(states), len(saved)
    step_tile = forward.bind_tile(name, step, *counts)
    step_row = backward.bind_row(name, step_backward, len(states), len(saved))
    run, stream, begin = forward.bind_forward(name, step_tile, *counts, width)
    return Cell(
        name, gates, activations, states, saved, shared, width, equations, run, stream,
        backward.bind_backward(name, step_row, *counts),
        recompute.bind_replay(name, step_tile, begin, *counts, width),
        *single_step.bind_one_step(name, step_tile, step_row, *counts),
    )  # fmt: skip
