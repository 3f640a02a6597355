"""One pass under observation: what forward kept of every step, and what backward leaves behind.

Everything is in rows: the real steps of all sequences, numbered as the kernels do (forward.py).
`spread` gives them the axes (T, B, ...). What the numbers mean to a user is in traces.py.
"""

from typing import Any

import numpy as np

from fastrnn.engine.plan import Plan
from fastrnn.nn.program import Program
from fastrnn.nn.tape import Tape


class Recorder:
    """The rows of one layer in one direction.

    Args:
        program: of the call.
        tape: of its run.
        final: the states it returned, an array each.
        slot: which direction of which layer.
    """

    def __init__(self, program: Program, tape: Tape, final: tuple[np.ndarray, ...], slot: int):
        scan, spec = program.spec.scans()[slot], program.spec
        self.cell, self.size, self._slot = scan.cell, scan.sizes, slot
        self.weights = [w if w.size else None for w in tape.weights[slot]]
        depth, self._direction = divmod(slot, spec.directions)
        self._column = self._direction * spec.emitted
        self._saved = tape.residuals[slot].saved
        self._output = program.output_rows(tape, depth, self._column)
        self._x = tape.inputs[depth - 1] if depth else program.time_major(tape.x)
        self.batch = batch = tape.batch
        # Of this direction, (B, ...), as are those that it started from.
        self._final = [s[slot] for s in _members(program.states(final), self.cell)]
        self._initial = [s[slot] if s.size else None for s in _members(tape.initial, self.cell)]
        self._shape = self._x.shape[:2]
        steps = np.arange(batch.steps)
        self._running = np.searchsorted(-batch.lengths, -steps)  # sequences of more than s steps
        self._first = np.concatenate([[0], np.cumsum(self._running)])  # row of each step
        self.step = np.repeat(steps, self._running)
        sequence = np.arange(batch.rows) - self._first[self.step]
        ends = batch.lengths[sequence]
        self._left = ends - 1 - self.step  # steps of the sequence after this one
        self.b = batch.order[sequence]
        self.t = self._left if scan.reverse else self.step
        self.cut = self._find_cuts(scan.reverse)  # a reset cuts this step off from the one before
        self.back = self._steps_to_the_end(sequence)  # or to the last step before a reset
        self._after = self._first[np.minimum(self.step + 1, batch.steps)] + sequence  # next step's
        self._before = self._first[np.maximum(self.step - 1, 0)] + sequence
        self.d_gates: np.ndarray | None = None  # (rows, G*H), and of each state, once watched
        self.d_states: list[np.ndarray] = []
        self.d_given: np.ndarray | None = None  # (rows, E) at the output of each step

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Return rows as (T, B, ...), 0 where there is no step."""
        whole = np.zeros((*self._shape, *rows.shape[1:]), rows.dtype)
        whole[self.t, self.b] = rows
        return whole

    def saved(self, name: str) -> np.ndarray:
        """Return what each step kept under this name, (rows, H)."""
        rows, count, hidden_p = self._saved.shape
        lanes = self.size.lanes
        blocks = self._saved.reshape(rows, hidden_p // lanes, count, lanes)
        whole = blocks[:, :, self.cell.saved.index(name)].reshape(rows, hidden_p)
        return whole[:, : self.size.hidden]

    def states_after(self) -> list[np.ndarray]:
        """Return each state as every step left it."""
        after = [self._emitted()]
        for i, name in enumerate(self.cell.states[1:], 1):
            rows, last = self.saved(name), self._left == 0
            after.append(rows[np.where(last, 0, self._after)])
            after[i][last] = self._final[i][self.b[last]]
        lost = np.flatnonzero((self.back == 0) & (self._left > 0))  # the reset has overwritten them
        if len(lost) and len(after) > 1:
            before = self.states_before(lost)
            again = self.cell.equations(*self.preactivations(lost, before[0]), *before)
            for state, computed in zip(after[1:], again[1:], strict=True):
                state[lost] = computed
        return after

    def preactivations(self, rows: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a_x and a_h of some rows, (rows, G*H) float64, computed again; h: before them."""
        w_ih, w_hh, b_ih, b_hh, _ = (
            None if w is None else np.asarray(w, np.float64) for w in self.weights
        )
        assert w_ih is not None
        assert w_hh is not None
        x = self.input()[rows]
        a_x = w_ih.T[x] if x.ndim == 1 else x.astype(np.float64) @ w_ih.T
        a_h = h @ w_hh.T
        return a_x if b_ih is None else a_x + b_ih, a_h if b_hh is None else a_h + b_hh

    def states_before(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return each state as some steps found it, float64."""
        emitted, first = self._emitted()[self._before[rows]], self.step[rows] == 0
        initial = self._initial[0]
        emitted[first] = 0 if initial is None else initial[self.b[rows][first]]
        emitted[self.cut[rows]] = 0
        others = [self.saved(name)[rows] for name in self.cell.states[1:]]
        return [state.astype(np.float64) for state in (emitted, *others)]

    def _find_cuts(self, reverse: bool) -> np.ndarray:
        cuts = self.batch.cuts != 0
        if not cuts.size:
            return np.zeros(len(self.t), np.bool_)
        if not reverse:
            return cuts[self.t, self.b]
        later = np.minimum(self.t + 1, len(cuts) - 1)  # what is read before
        return cuts[later, self.b] & (self.step > 0)

    def _steps_to_the_end(self, sequence: np.ndarray) -> np.ndarray:
        in_turn = np.lexsort((self.step, sequence))
        cut, left = self.cut[in_turn], self._left[in_turn]
        ends = np.flatnonzero(np.append(cut[1:], True) | (left == 0))
        back, numbers = np.empty_like(left), np.arange(len(left))
        back[in_turn] = ends[np.searchsorted(ends, numbers)] - numbers
        return back

    def _emitted(self) -> np.ndarray:
        """Return h after each step: it lies in the output."""
        flat, at, time, row = self._output
        begins = at + self.t * time + self.b * row
        return flat.reshape(-1)[begins[:, None] + np.arange(self.size.emitted)]

    def input(self) -> np.ndarray:
        """Return what each step read: (rows, I), or integers (rows,)."""
        return self._x[self.t, self.b]

    def watch(self, d_output: np.ndarray | None, d_final: Any) -> "Recorder":
        """Get ready for a backward pass, with the gradients it is given (see Program.pull)."""
        size, rows, dtype = self.size, len(self.t), self.size.dtype
        widths = [size.emitted] + [size.hidden] * (len(self.cell.states) - 1)
        self.d_states = [np.zeros((rows, width), dtype) for width in widths]
        self.d_gates = np.zeros((rows, len(self.cell.gates) * size.hidden), dtype)
        last = self._left == 0
        for rows_of, member in zip(self.d_states, _members(d_final, self.cell), strict=True):
            if member.size:
                rows_of[last] = member[self._slot, self.b[last]]
        self.d_given = None
        if d_output is not None:
            self.d_given = d_output[self.t, self.b, self._column : self._column + size.emitted]
        self._views: tuple = ()
        return self

    def __call__(self, s: int, plan: Plan, work: np.ndarray) -> None:
        """Copy what lies in the work space when step s is done.

        That is the gradient of its pre-activations, and that of the states before it but for what
        the output of the step before gets.
        """
        d_gates, d_states = self._views = self._views or self._look(plan, work)
        n, first = self._running[s], self._first[s]
        assert self.d_gates is not None
        self.d_gates[first : first + n] = d_gates[:n]
        if s:
            first = self._first[s - 1]
            for rows, view in zip(self.d_states, d_states, strict=True):
                rows[first : first + n] = view[:n]

    def _look(self, plan: Plan, work: np.ndarray) -> tuple:
        size, count, states = self.size, len(self.batch.lengths), len(self.cell.states)

        def rows(region, number, width):
            view = plan.view(work, region)
            pitch = len(view) // number
            return view[: number * pitch].reshape(number, pitch)[:, :width]

        d_gates = rows(
            "d_a_h" if self.cell.shared else "d_a_x", plan.block_rows, size.gates * size.hidden
        )
        d_states = plan.view(work, "d_states")[: states * count * size.hidden_p]
        d_states = d_states.reshape(states, count, size.hidden_p)[1:, :, : size.hidden]
        return d_gates, [rows("d_emitted", count, size.emitted), *d_states]

    def finish(self) -> None:
        """Add to the gradients of h what the output at each step gets."""
        if self.d_given is not None:
            self.d_states[0] += self.d_given


def _members(states: tuple[np.ndarray, np.ndarray], cell: Any) -> list[np.ndarray]:
    """Return an array for each state, also where all but the first are of size 0."""
    h, carried = states
    return [h, *(carried if len(carried) else [carried] * (len(cell.states) - 1))]
