"""One pass under observation: what forward kept of every step, and what backward leaves behind.

Everything is in rows: the real steps of all sequences, numbered as the kernels do (forward.py).
`spread` gives them the axes (T, B, ...). What the numbers mean to a user is in traces.py.
"""

from typing import Any

import numpy as np

from fastrnn.engine import backward, workspace
from fastrnn.functional import members
from fastrnn.nn.stack import StackCall


class Recorder:
    """The rows of one layer in one direction.

    Args:
        call: after `run(keep=True)`.
        final: the states it returned.
        index: of the pass.
    """

    def __init__(self, call: StackCall, final: Any, index: int):
        layer, directions = call.layer, 1 + call.layer.bidirectional
        self.cell, self.size, self.weights = call.cell, layer._sizes[index], call.weights[index]
        depth, self._direction = divmod(index, directions)
        self.kept = call.stages[depth].traces[self._direction]
        # Of the pass, (B, ...), as are those that it began with.
        self._final = [s[index] if call.batched else s[index, None] for s in members(final)]
        self._initial = [s[index] if s.size else None for s in _members(call.state, self.cell)]
        batch, self._shape = self.kept.batch, self.kept.x.shape[:2]
        steps = np.arange(batch.steps)
        self._running = np.searchsorted(-batch.lengths, -steps)  # sequences of more than s steps
        self._first = np.concatenate([[0], np.cumsum(self._running)])  # row of each step
        self.step = np.repeat(steps, self._running)
        sequence = np.arange(batch.rows) - self._first[self.step]
        ends = batch.lengths[sequence]
        self.back = ends - 1 - self.step  # steps back from the sequence's last
        self.b = batch.order[sequence]
        self.t = self.back if self.kept.reverse else self.step
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
        rows, count, hidden_p = self.kept.saved.shape
        lanes = self.size.lanes
        blocks = self.kept.saved.reshape(rows, hidden_p // lanes, count, lanes)
        whole = blocks[:, :, self.cell.saved.index(name)].reshape(rows, hidden_p)
        return whole[:, : self.size.hidden]

    def states_after(self) -> list[np.ndarray]:
        """Return each state as every step left it."""
        after = [self._emitted()]
        for i, name in enumerate(self.cell.states[1:], 1):
            rows, last = self.saved(name), self.back == 0
            after.append(rows[np.where(last, 0, self._after)])
            after[i][last] = self._final[i][self.b[last]]
        return after

    def states_before(self) -> list[np.ndarray]:
        """Return each state as every step found it."""
        emitted, first = self._emitted()[self._before], self.step == 0
        initial = self._initial[0]
        emitted[first] = 0 if initial is None else initial[self.b[first]]
        return [emitted, *map(self.saved, self.cell.states[1:])]

    def _emitted(self) -> np.ndarray:
        """Return h after each step: it lies in the output."""
        flat, at, time, row = self.kept.output
        begins = at + self.t * time + self.b * row
        return flat.reshape(-1)[begins[:, None] + np.arange(self.size.emitted)]

    def input(self) -> np.ndarray:
        """Return what each step read: (rows, I), or integers (rows,)."""
        return self.kept.x[self.t, self.b]

    def watch(self, d_output: np.ndarray | None, d_final: Any) -> "Recorder":
        """Get ready for a backward pass, with the gradients it is given (see StackCall)."""
        size, rows, dtype = self.size, len(self.t), self.size.dtype
        widths = [size.emitted] + [size.hidden] * (len(self.cell.states) - 1)
        self.d_states = [np.zeros((rows, width), dtype) for width in widths]
        self.d_gates = np.zeros((rows, len(self.cell.gates) * size.hidden), dtype)
        last = self.back == 0
        for rows_of, member in zip(self.d_states, _members(d_final, self.cell), strict=True):
            if member.size:
                rows_of[last] = member[self.kept.number, self.b[last]]
        self.d_given = None
        if d_output is not None:
            begin = self._direction * size.emitted
            self.d_given = d_output[self.t, self.b, begin : begin + size.emitted]
        self._views: tuple = ()
        return self

    def __call__(self, s: int, plan: workspace.BackPlan, work: np.ndarray) -> None:
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

    def _look(self, plan: workspace.BackPlan, work: np.ndarray) -> tuple:
        size, count, states = self.size, len(self.kept.batch.lengths), len(self.cell.states)

        def region(number, rows, width):
            begin, end = plan.offsets[number : number + 2]
            pitch = (end - begin) // rows
            return work[begin : begin + rows * pitch].reshape(rows, pitch)[:, :width]

        gates = backward.D_A_H if self.cell.shared else backward.D_A_X
        begin = plan.offsets[backward.D_STATES]
        others = work[begin : begin + states * count * size.hidden_p]
        others = others.reshape(states, count, size.hidden_p)[1:, :, : size.hidden]
        width = len(self.cell.gates) * size.hidden
        return (
            region(gates, plan.most, width),
            [region(backward.D_EMITTED, count, size.emitted), *others],
        )

    def finish(self) -> None:
        """Add to the gradients of h what the output at each step gets."""
        if self.d_given is not None:
            self.d_states[0] += self.d_given


def _members(states: Any, cell: Any) -> list[np.ndarray]:
    """Return an array for each state, also where all but the first are of size 0."""
    others = states.others if states.others.size else [states.others] * (len(cell.states) - 1)
    return [states.first, *others]
