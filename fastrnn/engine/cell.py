"""What a cell is to the engine: `Cell`, and `bind`, which makes one from the equations of a step.

A cell brings what happens at one step; the loops over time, and how the loops share threads and
memory, are the engine's and the same for all cells. The cells themselves are in fastrnn/cells.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from fastrnn.engine.backward import bind_backward
from fastrnn.engine.forward import bind_forward
from fastrnn.engine.operands import bind_operands
from fastrnn.engine.recompute import bind_recompute
from fastrnn.engine.single_step import bind_single_step
from fastrnn.engine.step import bind_row, bind_tile
from fastrnn.kernels.tile import MAX_VECTORS


@dataclass(frozen=True, eq=False, repr=False)  # one object a cell: a key of caches
class Cell:
    """One recurrent unit.

    Attributes:
        name: unique; the names of the compiled kernels start with it.
        gates: names of the blocks of H rows in weight_ih and weight_hh, in torch's order.
        activations: what each gate applies: "sigmoid", "tanh" or "relu".
        states: their names. The first is the emitted one, which weight_hh multiplies.
        saved: what each step keeps for the gradient, H values each. All gates, by their names:
            activated. All states but the first, by theirs: as they were before the step.
        shared: d_a_h is d_a_x: one buffer serves both.
        width: vectors in a packed panel: whole groups of gates.
        equations: (a_x, a_h, *states) -> states, one step in NumPy: the specification.
        forward: compiled, many steps (forward.py).
        stream: compiled, one more step with weights that stay packed.
        backward: compiled, BPTT (backward.py).
        recompute: compiled, what forward saved, once more (recompute.py).
        single_forward: compiled, a single step without plans (single_step.py).
        single_backward: compiled, its gradient.
    """

    name: str
    gates: tuple[str, ...]
    activations: tuple[str, ...]
    states: tuple[str, ...]
    saved: tuple[str, ...]
    shared: bool
    width: int
    equations: Callable
    forward: Callable
    stream: Callable
    backward: Callable
    recompute: Callable
    single_forward: Callable
    single_backward: Callable

    def __repr__(self) -> str:
        return f"Cell({self.name!r})"

    def __reduce__(self):
        """Return how a pickle finds the cell: by its name, once its module is imported."""
        return _found, (self.equations.__module__, self.name)


_bound: dict[str, Cell] = {}  # by name


def _found(module: str, name: str) -> Cell:
    importlib.import_module(module)
    return _bound[name]


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
        name: see Cell; the cache on disk knows the kernels by it.
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
    width = max(1, MAX_VECTORS // len(gates)) * len(gates)
    counts = len(gates), len(states), len(saved)
    step_tile = bind_tile(name, step, *counts)
    step_row = bind_row(name, step_backward, len(states), len(saved), shared)
    operands_in = bind_operands(name, len(states))
    forward, stream = bind_forward(name, step_tile, operands_in, *counts, width)
    single_forward, single_backward = bind_single_step(name, step_tile, step_row, *counts, shared)
    cell = Cell(
        name,
        gates,
        activations,
        states,
        saved,
        shared,
        width,
        equations,
        forward,
        stream,
        bind_backward(name, step_row, *counts, shared),
        bind_recompute(name, step_tile, operands_in, *counts, width),
        single_forward,
        single_backward,
    )
    _bound[name] = cell
    return cell
