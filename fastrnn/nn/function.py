"""The call of a function of plain arrays: its parameters checked against each other, then run.

The functions themselves, one for each cell, are in fastrnn/functional.py.
"""

from typing import Any

from fastrnn import checks
from fastrnn.cells import Cell
from fastrnn.engine.buffers import plain
from fastrnn.engine.records import Weights
from fastrnn.engine.scan import NO_WEIGHTS
from fastrnn.nn.arguments import Pullback, bare, read_call, read_state
from fastrnn.nn.program import prepare
from fastrnn.nn.spec import Spec


def run_cell(
    name: str,
    cell: Cell,
    x,
    state,
    given: tuple,
    lengths,
    reverse,
    vjp: bool = False,
    *,
    reset=None,
    **checkpoint,
) -> tuple[Any, Pullback | None]:
    """Return `(output, state), pullback` of any cell, by any of its functions; checks everything.

    Args:
        name: of the function, for errors.
        cell: what a step computes.
        x: (T, B, I) floats, or (T, B) integers in [0, I).
        state: (B, H), or a tuple of one for each state; None, or None in it: zero.
        given: w_ih, w_hh, b_ih, b_hh, w_hr; biases and w_hr may be None.
        lengths: (B,) integers in [0, T], or None.
        reverse: read every row from its own end.
        vjp: return the pullback; else None.
        reset: (T, B) bool, or None.
        checkpoint: `checkpoint` and `memory`, with vjp: see RecurrentLayer.vjp.
    """
    spec, names, weights = _weights(name, cell, given)
    x, call, batch = read_call(name, spec, x, lengths, reset, unbatched=False)
    reverse = checks.boolean(name, "reverse", reverse)
    program = prepare(spec, call._replace(stacked=False, reverse=reverse, keep=vjp))
    initial = read_state(name, "state", "{}_0", state, program)
    every = program.checkpoint_every(name, **checkpoint, batch=batch) if vjp else 0
    output, final, tape = program.run([weights], x, initial, batch, (), every)
    return (output, bare(final)), Pullback(name, program, tape, [names]) if vjp else None


def _weights(owner: str, cell: Cell, given: tuple) -> tuple[Spec, list, tuple]:
    """Check the parameters against each other, and return what they make.

    w_ih decides the dtype and the hidden size. Returns the Spec; the name of each parameter in the
    order of records.Weights, None where it is missing; and the parameters, as kernels take them.
    """
    w_ih = checks.array(owner, "w_ih", given[0])
    dtype = checks.float_dtype(f"{owner}: w_ih", w_ih.dtype)
    gates = len(cell.gates)
    if w_ih.ndim != 2 or w_ih.shape[0] % gates or 0 in w_ih.shape:
        raise ValueError(
            f"{owner}: w_ih has shape {w_ih.shape}; expected ({gates} * hidden_size, input_size), "
            "sizes of at least 1."
        )
    rows, hidden = w_ih.shape[0], w_ih.shape[0] // gates
    w_hr = None if given[4] is None else checks.floats(owner, "w_hr", given[4], dtype)
    if w_hr is not None and (
        w_hr.ndim != 2 or w_hr.shape[1] != hidden or not 0 < w_hr.shape[0] <= hidden
    ):
        raise ValueError(
            f"{owner}: w_hr has shape {w_hr.shape}; expected (proj_size, hidden_size) = "
            f"(at most {hidden}, {hidden})."
        )
    emitted = hidden if w_hr is None else w_hr.shape[0]
    w_hh = checks.floats(owner, "w_hh", given[1], dtype)
    columns = "hidden_size" if w_hr is None else "proj_size"
    checks.shape(owner, "w_hh", w_hh, (rows, emitted), f"{gates} * hidden_size, {columns}")

    def bias(name, value):
        if value is None:
            return None
        checked = checks.floats(owner, name, value, dtype)
        checks.shape(owner, name, checked, (rows,), f"{gates} * hidden_size,")
        return checked

    weights = w_ih, w_hh, bias("b_ih", given[2]), bias("b_hh", given[3]), w_hr
    names = [None if w is None else n for n, w in zip(Weights._fields, weights, strict=True)]
    arrays = tuple(
        nothing if w is None else plain(w)
        for w, nothing in zip(weights, NO_WEIGHTS[dtype], strict=True)
    )
    projection = 0 if w_hr is None else emitted
    return Spec(cell, dtype, w_ih.shape[1], hidden, projection), names, arrays
