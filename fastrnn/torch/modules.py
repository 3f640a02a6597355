"""RNN, LSTM, GRU and their cells as subclasses of torch.nn's, run by the package's kernels.

`forward` looks whether a call is one the kernels can take: plain CPU tensors of one float type and
the right shapes. If so it runs them; everything else, wrong arguments too, goes to torch's own
`forward`, so that results and error messages are torch's; why, ways.py is told. The instances have
no state of their own: changing `__class__` makes one out of torch's, and back (swap.py).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastrnn import checks
from fastrnn.nn.arguments import bare
from fastrnn.torch import autograd, compiled, native, operations, pieces, single, ways
from fastrnn.torch.standin import StandIn
from fastrnn.torch.twin import follow_threads, states_of, twin_of


class AcceleratedLayer(StandIn, nn.RNNBase):
    """What RNN, LSTM and GRU share; abstract.

    Attributes:
        checkpoint: None, "auto" or a number of steps, to be set on an instance: training keeps the
            states that far apart and recomputes the rest, as `fastrnn.LSTM.vjp` does.
        memory: with "auto": the bytes that may be kept besides the output's own copy, or None.
    """

    checkpoint: int | str | None = None
    memory: int | None = None
    _fastrnn_is_one_node = True  # compiled.py

    def forward(self, input, hx=None, lengths=None, reset=None) -> Any:
        """Run the module, as torch's does.

        Args:
            input: (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence.
            hx: the initial state, (num_layers * directions, B, H or P), for LSTM a tuple
                (h_0, c_0); None (default): zero.
            lengths: (B,) integers in [0, T], any order, in place of packing: row b ends after
                lengths[b] steps; the output past its end is 0, the state the one at its end.
            reset: a bool tensor like the input without its last axis, (T, B) for packed input:
                True where the state is zero before that step, as in an episode's first. The
                sequence is cut there, between t - 1 and t, in both directions, as if it were
                split: no gradient, NaN or infinity crosses it. Past a row's end it is ignored.

        Returns:
            `output, state`, as torch.nn's modules: (T, B, directions * H or P), in the input's
            form; and the final state, in hx's.

        Raises:
            ValueError: lengths together with packed or unbatched input, or not (B,) in [0, T];
                reset of another shape.
            TypeError: lengths are not integers, or reset is not bool.
        """
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            result = compiled.forward(self, input, hx, lengths, reset)
            if result is not None:
                return result
        why = "" if ways.is_plain_now() else ways.mode()
        packed = isinstance(input, PackedSequence)
        if lengths is not None:
            lengths = self._checked(lengths, input, packed)
        mask = None if reset is None else self._checked_reset(reset, input, packed)
        if mask is not None and len(mask) == 1 and lengths is None and not self.bidirectional:
            hx, mask = pieces.without(hx, mask[0]), None  # of one step, that is all there is to it
        if not why:
            if lengths is None and mask is None and type(input) is Tensor:
                result = single.attempt(self, input, hx)
                if result is not None:
                    return result
            follow_threads()
            run = self._run_packed if packed else self._run
            result = run(input, hx, lengths, mask)
            if not isinstance(result, str):
                ways.retract(self)
                return result
            why = result
        if mask is not None:
            result = pieces.by_pieces(super().forward, self, input, hx, lengths, mask)
        elif lengths is None:
            result = super().forward(input, hx)
        else:
            result = native.by_lengths(super().forward, self, input, hx, lengths)
        ways.tell(self, why)
        return result

    def _checked(self, lengths, input, packed: bool):
        """Return lengths as an array; the error is the same whichever way the call goes."""
        name = type(self).__name__
        if packed:
            raise ValueError(
                f"{name}: lengths with packed input, which has its own; pass one or the other."
            )
        lengths = np.asarray(_numbers(name, "lengths", lengths))
        if input.dim() not in (2, 3):  # torch has a word for it
            return lengths
        return checks.lengths(name, lengths, *self._sizes(input), input.dim() == 3)

    def _sizes(self, input) -> tuple[int, int]:
        """Return T and B of padded input."""
        batched = input.dim() == 3
        time, batch = input.shape[:2] if batched else (input.shape[0], 1)
        return (batch, time) if batched and self.batch_first else (time, batch)

    def _checked_reset(self, reset, input, packed: bool) -> np.ndarray | None:
        """Return resets as an array (T, B), or None where there are none; see _checked."""
        name = type(self).__name__
        given = _numbers(name, "reset", reset)
        if packed:
            time, batch = len(input.batch_sizes), int(input.batch_sizes[0])
            mask = checks.reset(name, given, time, batch, True, False)
        elif input.dim() not in (2, 3):  # torch has a word for it
            return None
        else:
            batched = input.dim() == 3
            sizes = self._sizes(input)
            mask = checks.reset(name, given, *sizes, batched, batched and self.batch_first)
        return mask if mask is not None and mask.any() else None

    def _run(self, input, hx, lengths, reset) -> Any:
        """Return the result of the kernels, or why torch should see the call."""
        why = ways.of_input(input, self.input_size, 2, 3)
        if why:
            return why
        shapes = native.state_shapes(self, native.batch_of(self, input))
        twin, states, why = _readable(self, input, hx, shapes)
        if why:
            return why
        if input.shape[1 if self.batch_first and input.dim() == 3 else 0] == 1:
            output = (*input.shape[:-1], self.hidden_size)
            single.remember(twin, input, shapes[0], output)
        keep = autograd.is_wanted(input, states, twin.weights)
        call = operations.of_layer(self, twin, len(states), lengths, reset)
        output, *after = autograd.run(call, keep, input, states, twin.weights)
        return output, bare(tuple(after))

    def _run_packed(self, input, hx, _, reset) -> Any:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        why = ways.of_input(data, self.input_size, 2)
        if why:
            return why
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        if reset is not None and sorted_indices is not None:
            reset = reset[:, sorted_indices.numpy()]
        shapes = native.state_shapes(self, (int(batch_sizes[0]),))
        twin, states, why = _readable(self, data, hx, shapes)
        if why:
            return why
        keep = autograd.is_wanted(data, states, twin.weights)
        call = operations.of_packed(self, twin, len(states), batch_sizes, reset)
        output, *after = autograd.run(call, keep, data, states, twin.weights)
        output = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        hidden: Any = bare(tuple(after))
        return output, self.permute_hidden(hidden, unsorted_indices)


def _numbers(owner: str, name: str, value: Any) -> Any:
    """Return a tensor's numbers as an array, or what was given in its place."""
    if not isinstance(value, Tensor):
        return value
    if type(value) is not Tensor or not torch._C._has_storage(value):
        raise TypeError(
            f"{owner}: {name} is a tensor without numbers, {ways.mode() or type(value).__name__}; "
            "expected one that can be read. torch.compile takes it as an input."
        )
    with torch._C._DisableFuncTorch():  # a transform wraps whatever is made of a tensor
        return value.detach().cpu().numpy()


def _readable(module: Any, x: Tensor, hx: Any, shapes: list) -> tuple[Any, Any, str]:
    """Return a module's twin and the states, or the third: why torch should see the call."""
    states = states_of(hx, x.dtype, shapes)
    if states is None:
        return None, None, ways.of_state(hx, x.dtype, shapes)
    # Last, for to read the weights may draw random numbers, which torch's way would draw again.
    twin = twin_of(module, x.dtype)
    return twin, states, "" if twin else "the weights are not plain tensors of the input's type"


class RNN(AcceleratedLayer, nn.RNN, stands_in_for=nn.RNN):
    """torch.nn.RNN, run by fastrnn's kernels; takes `lengths=` and `reset=` besides."""


class LSTM(AcceleratedLayer, nn.LSTM, stands_in_for=nn.LSTM):
    """torch.nn.LSTM, run by fastrnn's kernels; takes `lengths=` and `reset=` besides."""


class GRU(AcceleratedLayer, nn.GRU, stands_in_for=nn.GRU):
    """torch.nn.GRU, run by fastrnn's kernels; takes `lengths=` and `reset=` besides."""


class AcceleratedCell(StandIn, nn.RNNCellBase):
    """What RNNCell, LSTMCell and GRUCell share; abstract."""

    def forward(self, input, hx=None) -> Any:
        """Compute one step, as torch's does: (B, I) or (I,) to (B, H) or (H,)."""
        why = "" if ways.is_plain_now() else ways.mode()
        if not why:
            if type(input) is Tensor:
                result = single.attempt(self, input, hx)
                if result is not None:
                    return result
            follow_threads()
            result = self._run(input, hx)
            if not isinstance(result, str):
                ways.retract(self)
                return result
            why = result
        result = super().forward(input, hx)
        ways.tell(self, why)
        return result

    def _run(self, input, hx) -> Any:
        """Return the result of the kernels, or why torch should see the call."""
        why = ways.of_input(input, self.input_size, 1, 2)
        if why:
            return why
        shapes = [(*input.shape[:-1], self.hidden_size)] * (1 + isinstance(self, nn.LSTMCell))
        twin, states, why = _readable(self, input, hx, shapes)
        if why:
            return why
        single.remember(twin, input, shapes[0], None)
        keep = autograd.is_wanted(input, states, twin.weights)
        call = operations.of_cell(self, twin, len(states))
        return bare(tuple(autograd.run(call, keep, input, states, twin.weights)))


class RNNCell(AcceleratedCell, nn.RNNCell, stands_in_for=nn.RNNCell):
    """torch.nn.RNNCell, run by fastrnn's kernels."""


class LSTMCell(AcceleratedCell, nn.LSTMCell, stands_in_for=nn.LSTMCell):
    """torch.nn.LSTMCell, run by fastrnn's kernels."""


class GRUCell(AcceleratedCell, nn.GRUCell, stands_in_for=nn.GRUCell):
    """torch.nn.GRUCell, run by fastrnn's kernels."""
