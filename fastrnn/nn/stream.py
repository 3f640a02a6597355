"""A layer as a function of one time step that keeps its state.

A stream holds what a call has for its caller only: the state, packed weights, and its buffers.
"""

from collections.abc import Sequence

import numpy as np

from fastrnn import checks
from fastrnn.engine import buffers, streaming
from fastrnn.engine.plan import plan_stream
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.spec import Spec


class Stream:
    """A layer, or a stack of them, called step by step; made by `layer.stream`.

    The weights are those of the moment it was made. `stream(x_t)` takes (B, I) or integers (B,),
    for B = 1 also (I,) or an integer array (), and returns the top layer's output, (B, E) or
    (E,): its own buffer, overwritten by the next call. Nothing is allocated inside.
    """

    def __init__(self, name: str, spec: Spec, weights: Sequence[tuple], batch_size: int):
        self._name, self._batch_size, self._dtype = name, batch_size, spec.dtype
        self._input = np.zeros((batch_size, spec.input_size), spec.dtype)
        self._rows = rows = np.zeros((3, batch_size), np.int64)
        self._scans, self._turn, x = [], 0, self._input
        for one, own in zip(spec.scans(), weights, strict=True):
            plan = plan_stream(one.cell, one.sizes, batch_size, get_num_threads())
            output = buffers.zeros((batch_size, spec.emitted), spec.dtype)
            work = streaming.start_stream(one, plan, own, x, rows, output)
            self._scans.append((one, plan, rows, x, output, work))
            x = output
        self._output = x

    def __call__(self, x_t, reset=None) -> np.ndarray:
        """Read one step.

        Args:
            x_t: see the class.
            reset: (B,) bool, for x_t without a batch axis a bool: True where the state is zero
                before this step, as in an episode's first. None (default): nowhere.

        Raises:
            TypeError, ValueError, IndexError: x_t or reset of another type, dtype, shape or range.
        """
        if type(x_t) is not np.ndarray:
            x_t = checks.array(self._name, "x_t", x_t)
        one_hot = x_t.dtype.kind in "iu"
        mine = self._rows[0] if one_hot else self._input
        single = self._batch_size == 1 and x_t.shape == mine.shape[1:]
        if x_t.shape != mine.shape and not single:
            wanted = "integers (batch_size,)" if one_hot else "floats (batch_size, input_size)"
            also = f" or {mine.shape[1:]}" if self._batch_size == 1 else ""
            raise ValueError(
                f"{self._name}.stream: x_t has shape {x_t.shape}; expected {wanted} = "
                f"{mine.shape}{also}."
            )
        if one_hot:
            if x_t.min() < 0 or x_t.max() >= self._input.shape[1]:
                raise IndexError(
                    f"{self._name}.stream: x_t is {x_t}; integer input means one-hot, with "
                    f"indices in [0, input_size) = [0, {self._input.shape[1]})."
                )
        elif x_t.dtype != self._dtype:
            checks.floats(f"{self._name}.stream", "x_t", x_t, self._dtype)
        if reset is not None:
            self._forget(self._read_mask(reset, single))
        mine[...] = x_t
        self._turn ^= 1
        for one, plan, rows, x, output, work in self._scans:
            streaming.step_stream(one, plan, 3 - self._turn, one_hot, rows, x, output, work)
            one_hot = False
        return self._output[0] if single else self._output

    def reset(self) -> None:
        """Set the state to zero, as at the start."""
        self._forget(np.ones(self._batch_size, np.bool_))

    def _read_mask(self, reset, single: bool) -> np.ndarray:
        """Return a mask of resets as (B,) bool."""
        if isinstance(reset, bool):
            reset = np.bool_(reset)
        mask = checks.mask(f"{self._name}.stream", reset)
        expected = () if single else (self._batch_size,)
        if mask.shape != expected:
            raise ValueError(
                f"{self._name}.stream: reset has shape {mask.shape}; expected that of x_t without "
                f"its features, {expected}."
            )
        return mask.reshape(self._batch_size)

    def _forget(self, rows: np.ndarray) -> None:
        """Set the states of some rows to zero; rows: (B,) bool."""
        if rows.any():
            for one, plan, _, _, _, work in self._scans:
                streaming.forget(one, plan, rows, work)
