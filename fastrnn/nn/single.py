"""One step of a layer or a cell, run without plans: what a policy, a server or a loop calls.

`OneStep` takes the buffers and runs single_step.py's kernels; it checks parameters, as they are live,
but no argument: shortcut.py does for NumPy callers, torch/ for its own. Where a step has so much
to do that weights should be packed or threads help, it is not `possible`: scan.py does that.
"""

import numpy as np

from fastrnn.engine import scan, single_step, workspace
from fastrnn.engine.weights import TORCH_NAMES, is_plain
from fastrnn.kernels import threads
from fastrnn.kernels.tile import most_rows


class OneStep:
    """One step of a layer in one direction, or of a cell, for a number of rows.

    Attributes:
        possible: False where the general call does otherwise: packs weights, uses threads,
            projects or has a second direction.
        differentiable: the same of its gradient, without the input's and with it.
        input: shape of x, (1, rows, I).
        output: shape of the output, (1, rows, H).
        state: shape of a state, (passes, rows, H).
        others: shape of the other states, (states - 1, passes, rows, H).
        saved: shape of what forward keeps, (passes, rows, saved, Hp).
        sizes: what kernels begin with, for each pass.
        work: elements of scratch, back_work for the gradient.
        nothing: in place of a state or an output: zeros, or not wanted.
        no_others: in place of the other states.
        forward: the kernel; backward: that of the gradient, which wants to know `shared`.
    """

    def __init__(self, layer, rows: int):
        cell, sizes, count = layer.cell, layer._sizes, threads.get_num_threads()
        gates, states, dtype = len(cell.gates), len(cell.states), layer.dtype
        shape = 1, rows, False  # steps, sequences, one-hot
        plans = [
            workspace.plan_equal(
                size, gates, states, cell.width, most_rows(cell.width), *shape, count
            )
            for size in sizes
        ]
        self.possible = not (layer.bidirectional or sizes[0].projects) and all(
            plan.thin and plan.threads == 1 for plan in plans
        )

        def differentiable(wanted):
            plans = [
                workspace.back_plan_equal(
                    size, gates, states, cell.shared, *shape, wanted or number > 0, count
                )
                for number, size in enumerate(sizes)
            ]
            return self.possible and all(not p.packed and p.threads == 1 for p in plans)

        self.differentiable = differentiable(False), differentiable(True)
        self.nothing, self.no_others = scan.zero_states(dtype)
        self.forward, self.backward, self.shared = cell.one_forward, cell.one_backward, cell.shared
        first, hidden_p, n = sizes[0], sizes[0].hidden_p, sizes[0].lanes
        self.state, self.output = (len(sizes), rows, first.hidden), (1, rows, first.hidden)
        self.others = states - 1, *self.state
        self.saved = len(sizes), rows, len(cell.saved), hidden_p
        self.sizes = [
            (len(sizes), number, rows, size.input, size.hidden) for number, size in enumerate(sizes)
        ]
        self.input = 1, rows, first.input
        widest = max(workspace.padded(size.input, dtype) for size in sizes)
        self.work = single_step.forward_work(rows, first.columns, hidden_p, states, n)
        self.back_work = single_step.backward_work(
            rows, gates * first.hidden, hidden_p, widest, states
        )
        self._layer, self._dtype = layer, dtype
        names = TORCH_NAMES[: 4 if layer.bias else 2]
        self._names = [[name + suffix for name in names] for _, _, suffix in layer._passes]
        self._no_bias = (np.zeros(0, dtype),) * (4 - len(names))
        self._no_saved = np.zeros((0, 0, 0, 0), dtype)
        self._seen: tuple = ([("", self, ())], [])  # out of date: no parameter has no name

    def _weights(self) -> list[tuple[np.ndarray, ...]] | None:
        """Return the parameters of each pass; None if the general call should look at them."""
        known, weights = self._seen
        params = self._layer.params
        for name, array, shape in known:
            if params.get(name) is not array or array.shape != shape:
                return self._look()
        return weights

    def _look(self):
        layer, known, weights = self._layer, [], []
        for names in self._names:
            arrays = [layer.params.get(name) for name in names]
            for name, array in zip(names, arrays, strict=True):
                if not is_plain(array, layer._shapes[name], layer.dtype):
                    return None
                known.append((name, array, array.shape))
            weights.append((*arrays, *self._no_bias))
        self._seen = known, weights
        return weights

    def states(self, members: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return arrays of the states' sizes, one for each state, as kernels take them."""
        if len(members) == 1:
            return members[0].reshape(self.state), self.no_others
        if len(members) == 2:
            return members[0].reshape(self.state), members[1].reshape(self.others)
        others = np.stack([member.reshape(self.state) for member in members[1:]])
        return members[0].reshape(self.state), others

    def run(self, x, h_0, others_0, with_output: bool):
        """Compute a step of NumPy arrays, C-contiguous and writeable.

        Args:
            x: (1, rows, I).
            h_0: (passes, rows, H), or `nothing`.
            others_0: (states - 1, passes, rows, H), or `no_others`.
            with_output: return the top layer's h twice, in arrays of their own.

        Returns:
            `h_n, others_n, output`. None if the general call should look at the parameters.
        """
        weights = self._weights()
        if weights is None:
            return None
        dtype, output = self._dtype, self.nothing
        h_n, others_n = np.empty(self.state, dtype), self.no_others
        if self.others[0]:
            others_n = np.empty(self.others, dtype)
        if with_output:
            output = np.empty(self.output, dtype)
        work, read = workspace.scratch(dtype, self.work), x
        for own, sizes in zip(weights, self.sizes, strict=True):
            last = own is weights[-1]
            self.forward(
                *sizes,
                *own,
                read,
                h_0,
                others_0,
                h_n,
                others_n,
                output if last else self.nothing,
                self._no_saved,
                work,
            )
            read = h_n
        return h_n, others_n, output
