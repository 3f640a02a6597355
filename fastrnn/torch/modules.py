"""RNN, LSTM, GRU and their cells as subclasses of torch.nn's, run by the package's kernels.

`forward` looks whether a call is one the kernels can take: plain CPU tensors of one float type and
the right shapes. If so it runs them; everything else, wrong arguments too, goes to torch's own
`forward`, so that results and error messages are torch's. The instances have no state of their own:
changing `__class__` makes one out of torch's, and back (swap.py).
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import rnn as packing
from torch.nn.utils.rnn import PackedSequence

from fastrnn.nn.arguments import bare
from fastrnn.torch import autograd, compiled, operations, single
from fastrnn.torch.twin import Twin, follow_threads, is_ordinary, states_of, twin_of

_C: Any = torch._C


def _is_plain_now() -> bool:
    """Return whether a call is just computed: not traced, compiled, transformed or watched."""
    return not (
        torch.compiler.is_compiling()
        or _C._is_tracing()
        or _C._len_torch_dispatch_stack()
        or _C._len_torch_function_stack()
        or _C._is_any_autocast_enabled()
        or _C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def _as_torchs(module: nn.Module) -> nn.Module:
    """Return torch's own module on the same parameters, for TorchScript, which cannot see ours."""
    if type(module).__module__ != __name__:
        return module  # a user's class: what it changes is not ours to drop
    module = copy.copy(module)
    module.__class__ = getattr(nn, type(module).__name__)
    return module


class AcceleratedLayer(nn.RNNBase):
    """What RNN, LSTM and GRU share; abstract.

    Attributes:
        checkpoint: None, "auto" or a number of steps, to be set on an instance: training keeps the
            states that far apart and recomputes the rest, as `fastrnn.LSTM.vjp` does.
        memory: with "auto": the bytes that may be kept besides the output's own copy, or None.
    """

    checkpoint: int | str | None = None
    memory: int | None = None
    _fastrnn_is_one_node = True  # compiled.py
    __prepare_scriptable__ = _as_torchs

    def forward(self, input, hx=None, lengths=None) -> Any:
        """Run the module, as torch's does.

        Args:
            input: (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence.
            hx: the initial state, (num_layers * directions, B, H or P), for LSTM a tuple
                (h_0, c_0); None (default): zero.
            lengths: (B,) integers in [0, T], any order, in place of packing: row b ends after
                lengths[b] steps; the output past its end is 0, the state the one at its end.

        Returns:
            `output, state`, as torch.nn's modules: (T, B, directions * H or P), in the input's
            form; and the final state, in hx's.

        Raises:
            ValueError: lengths together with packed or unbatched input, or not (B,) in [0, T].
            TypeError: lengths are not integers.
        """
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            result = compiled.forward(self, input, hx, lengths)
            if result is not None:
                return result
        plain = _is_plain_now()
        if plain:
            follow_threads()
            if lengths is None and type(input) is Tensor:
                result = single.attempt(self, input, hx)
                if result is not None:
                    return result
        packed = isinstance(input, PackedSequence)
        if lengths is not None:
            if packed:
                raise ValueError(
                    f"{type(self).__name__}: lengths with packed input, which has its own; "
                    "pass one or the other."
                )
            lengths = np.asarray(lengths)
        twin = twin_of(self) if plain else None
        if twin is not None:
            result = (
                self._run_packed(twin, input, hx) if packed else self._run(twin, input, hx, lengths)
            )
            if result is not None:
                return result
        if lengths is None:
            return super().forward(input, hx)
        return self._forward_by_packing(input, hx, lengths)

    def _run(self, twin: Twin, input, hx, lengths):
        """Return the result of the kernels, or None for what torch should see."""
        dtype = twin.dtype
        if not is_ordinary(input) or input.dtype != dtype or input.dim() not in (2, 3):
            return None
        if input.shape[-1] != self.input_size or not input.numel():
            return None
        shapes = operations.state_shapes(self, operations.batch_of(self, input))
        states = states_of(hx, dtype, shapes)
        if states is None:
            return None
        if input.shape[1 if self.batch_first and input.dim() == 3 else 0] == 1:
            output = (*input.shape[:-1], self.hidden_size)
            single.remember(twin, input, shapes[0], output)
        keep = autograd.is_wanted(input, states, twin.weights)
        call = operations.of_layer(self, twin, len(states), lengths)
        output, *after = autograd.run(call, keep, input, states, twin.weights)
        return output, bare(tuple(after))

    def _run_packed(self, twin: Twin, input, hx):
        data, batch_sizes, sorted_indices, unsorted_indices = input
        if not is_ordinary(data) or data.dim() != 2 or data.dtype != twin.dtype:
            return None
        if data.shape[1] != self.input_size or not data.numel():
            return None
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        shapes = operations.state_shapes(self, (int(batch_sizes[0]),))
        states = states_of(hx, twin.dtype, shapes)
        if states is None:
            return None
        keep = autograd.is_wanted(data, states, twin.weights)
        call = operations.of_packed(self, twin, len(states), batch_sizes)
        output, *after = autograd.run(call, keep, data, states, twin.weights)
        output = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        hidden: Any = bare(tuple(after))
        return output, self.permute_hidden(hidden, unsorted_indices)

    def _forward_by_packing(self, input, hx, lengths):
        """Run torch's own path with lengths."""
        packed = packing.pack_padded_sequence(
            input, torch.as_tensor(lengths), self.batch_first, enforce_sorted=False
        )
        output, hidden = super().forward(packed, hx)
        time = input.shape[1 if self.batch_first else 0]
        padded, _ = packing.pad_packed_sequence(output, self.batch_first, total_length=time)
        return padded, hidden


class RNN(AcceleratedLayer, nn.RNN):
    """torch.nn.RNN, run by fastrnn's kernels; takes `lengths=` besides."""


class LSTM(AcceleratedLayer, nn.LSTM):
    """torch.nn.LSTM, run by fastrnn's kernels; takes `lengths=` besides."""


class GRU(AcceleratedLayer, nn.GRU):
    """torch.nn.GRU, run by fastrnn's kernels; takes `lengths=` besides."""


class AcceleratedCell(nn.RNNCellBase):
    """What RNNCell, LSTMCell and GRUCell share; abstract."""

    __prepare_scriptable__ = _as_torchs

    def forward(self, input, hx=None) -> Any:
        """Compute one step, as torch's does: (B, I) or (I,) to (B, H) or (H,)."""
        if not _is_plain_now():
            return super().forward(input, hx)
        follow_threads()
        if type(input) is Tensor:
            result = single.attempt(self, input, hx)
            if result is not None:
                return result
        twin = twin_of(self)
        if twin is None or not is_ordinary(input) or input.dtype != twin.dtype:
            return super().forward(input, hx)
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size or not input.numel():
            return super().forward(input, hx)
        shapes = [(*input.shape[:-1], self.hidden_size)] * (1 + isinstance(self, nn.LSTMCell))
        states = states_of(hx, twin.dtype, shapes)
        if states is None:
            return super().forward(input, hx)
        single.remember(twin, input, shapes[0], None)
        keep = autograd.is_wanted(input, states, twin.weights)
        call = operations.of_cell(self, twin, len(states))
        return bare(tuple(autograd.run(call, keep, input, states, twin.weights)))


class RNNCell(AcceleratedCell, nn.RNNCell):
    """torch.nn.RNNCell, run by fastrnn's kernels."""


class LSTMCell(AcceleratedCell, nn.LSTMCell):
    """torch.nn.LSTMCell, run by fastrnn's kernels."""


class GRUCell(AcceleratedCell, nn.GRUCell):
    """torch.nn.GRUCell, run by fastrnn's kernels."""
