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

from fastrnn.functional import bare
from fastrnn.gradients import Gradients
from fastrnn.stack import StackCall
from fastrnn.torch import autograd
from fastrnn.torch.twin import Twin, follow_threads, is_ordinary, twin_of

_C, _VF = torch._C, torch._VF
_NATIVE = {"RNN_TANH": _VF.rnn_tanh, "RNN_RELU": _VF.rnn_relu, "LSTM": _VF.lstm, "GRU": _VF.gru}


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


def _states_of(hx, dtype, shapes) -> tuple[Tensor, ...] | None:
    """Return the given states as a tuple, empty if there are none; None if torch should look."""
    if hx is None:
        return ()
    states = (hx,) if len(shapes) == 1 else hx
    if not isinstance(states, tuple | list) or len(states) != len(shapes):
        return None
    for state, shape in zip(states, shapes, strict=True):
        if not (is_ordinary(state) and state.dtype == dtype and state.shape == shape):
            return None
    return tuple(states)


def _members(state) -> tuple:
    """Return a state of one or two members as a tuple; `bare` undoes it."""
    return state if isinstance(state, tuple) else (state,)


def _in_order(grads: Gradients, given: int) -> tuple:
    """Return gradients as autograd wants them: of the input, the given states, the weights."""
    return grads.input, *(_members(grads.state) if given else ()), *grads.params.values()


class _Recurrent(nn.RNNBase):
    """What RNN, LSTM and GRU share; abstract."""

    def forward(self, input, hx=None, lengths=None) -> Any:
        """Run the module, as torch's does.

        Args:
            input: as for torch: (T, B, I), (B, T, I) with batch_first, (T, I), or packed.
            hx: as for torch.
            lengths: (B,) integers in [0, T], any order, in place of packing: row b ends after
                lengths[b] steps; the output behind is 0, the state that at its end.

        Returns:
            As for torch.

        Raises:
            ValueError: lengths beside packed or unbatched input, or not (B,) in [0, T].
            TypeError: lengths are not integers.
        """
        packed = isinstance(input, PackedSequence)
        if lengths is not None:
            if packed:
                raise ValueError(
                    f"{type(self).__name__}: lengths with packed input, which has its own; "
                    "pass one or the other."
                )
            lengths = np.asarray(lengths)
        twin = twin_of(self) if _is_plain_now() else None
        if twin is not None:
            follow_threads()
            result = (self._run_packed(twin, input, hx) if packed
                      else self._run(twin, input, hx, lengths))  # fmt: skip
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
        states = _states_of(hx, dtype, self._state_shapes(input))
        if states is None:
            return None
        output, *after = autograd.run(
            self._call(twin.layer, len(states), lengths), input, states, twin.weights
        )
        return output, bare(tuple(after))

    def _state_shapes(self, input) -> list[tuple[int, ...]]:
        """Return the shape of each member of a state for this input, batched or not."""
        batch = () if input.dim() == 2 else (input.shape[0 if self.batch_first else 1],)
        rows = self.num_layers * (1 + self.bidirectional)
        shapes = [(rows, *batch, self.proj_size or self.hidden_size)]
        return shapes + [(rows, *batch, self.hidden_size)] * (self.mode == "LSTM")

    def _run_packed(self, twin: Twin, input, hx):
        data, batch_sizes, sorted_indices, unsorted_indices = input
        if not is_ordinary(data) or data.dim() != 2 or data.dtype != twin.dtype:
            return None
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        sizes = batch_sizes.numpy()
        lengths = (sizes[:, None] > np.arange(sizes[0])).sum(axis=0)
        first = self.batch_first
        padded, _ = _VF._pad_packed_sequence(data, batch_sizes, first, 0.0, len(sizes))
        result: Any = self._run(twin, padded, hx, lengths)
        if result is None:
            return None
        output, hidden = result
        output, _ = _VF._pack_padded_sequence(output, torch.from_numpy(lengths), first)
        output = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return output, self.permute_hidden(hidden, unsorted_indices)

    def _call(self, layer, count: int, lengths) -> autograd.Call:
        training = self.training and self.dropout > 0 and self.num_layers > 1
        if training:
            layer = copy.copy(layer)  # other threads may draw other masks
            layer.dropout = self.dropout
            layer._drop = lambda output: _torch_dropout(output, self.dropout, lengths)

        def forward(x, states, keep):
            state = bare(tuple(states)) if states else None
            if not (keep or training):
                output, after = layer(x, state, lengths)
                return [output, *_members(after)], None
            call = StackCall(layer, x, state, lengths)
            output, after = call.run(keep=keep, training=training)

            def pullback(d):
                d_state = None if all(one is None for one in d[1:]) else bare(tuple(d[1:]))
                return _in_order(call(d[0], d_state), count)

            return [output, *_members(after)], pullback

        return autograd.Call(forward, None if training else self._native(lengths), count)

    def _native(self, lengths):
        def native(x, states, weights):
            if not states:
                states = [x.new_zeros(shape) for shape in self._state_shapes(x)]
            unbatched = x.dim() == 2
            if unbatched:
                x = x.unsqueeze(0 if self.batch_first else 1)
                states = [s.unsqueeze(1) for s in states]
            hx = tuple(states) if self.mode == "LSTM" else states[0]
            options = (self.bias, self.num_layers, 0.0, False, self.bidirectional)
            result = _NATIVE[self.mode](x, hx, list(weights), *options, self.batch_first)
            if unbatched:
                result = [result[0].squeeze(0 if self.batch_first else 1),
                          *(s.squeeze(1) for s in result[1:])]  # fmt: skip
            return result

        return native if lengths is None else None

    def _forward_by_packing(self, input, hx, lengths):
        """Run torch's own path with lengths."""
        packed = packing.pack_padded_sequence(
            input, torch.as_tensor(lengths), self.batch_first, enforce_sorted=False
        )
        output, hidden = super().forward(packed, hx)
        time = input.shape[1 if self.batch_first else 0]
        padded, _ = packing.pad_packed_sequence(output, self.batch_first, total_length=time)
        return padded, hidden


def _torch_dropout(output: np.ndarray, p: float, lengths) -> np.ndarray:
    """Return the factors of dropout on a (T, B, W) array, drawn as torch draws them."""
    dtype = torch.from_numpy(output[:0]).dtype

    def factors(*shape):
        if p == 1:
            return np.zeros(shape, output.dtype)
        return torch.empty(shape, dtype=dtype).bernoulli_(1 - p).div_(1 - p).numpy()

    if lengths is None:
        return factors(*output.shape)
    order = np.argsort(-lengths, kind="stable")  # torch's input is packed: longest first
    there = np.arange(len(output))[:, None] < lengths[order]
    in_order, result = np.zeros_like(output), np.zeros_like(output)
    in_order[there] = factors(int(there.sum()), output.shape[2])
    result[:, order] = in_order
    return result


class RNN(_Recurrent, nn.RNN):
    """torch.nn.RNN, run by fastrnn's kernels; takes `lengths=` besides."""


class LSTM(_Recurrent, nn.LSTM):
    """torch.nn.LSTM, run by fastrnn's kernels; takes `lengths=` besides."""


class GRU(_Recurrent, nn.GRU):
    """torch.nn.GRU, run by fastrnn's kernels; takes `lengths=` besides."""


class _Cell(nn.RNNCellBase):
    """What RNNCell, LSTMCell and GRUCell share; abstract."""

    def forward(self, input, hx=None) -> Any:
        """Compute one step, as torch's does: (B, I) or (I,) to (B, H) or (H,)."""
        twin = twin_of(self) if _is_plain_now() else None
        if twin is not None and is_ordinary(input) and input.dim() in (1, 2) and input.numel():
            dtype, count = twin.dtype, 1 + isinstance(self, nn.LSTMCell)
            if input.dtype == dtype and input.shape[-1] == self.input_size:
                shape = (*input.shape[:-1], self.hidden_size)
                states = _states_of(hx, dtype, [shape] * count)
                if states is not None:
                    follow_threads()
                    call = self._call(twin.layer, len(states))
                    after = autograd.run(call, input, states, twin.weights)
                    return bare(tuple(after))
        return super().forward(input, hx)

    def _call(self, layer, count: int) -> autograd.Call:
        def forward(x, states, keep):
            state = bare(tuple(states)) if states else None
            if not keep:
                return _members(layer(x, state)), None
            after, back = layer.vjp(x, state)
            return _members(after), lambda d: _in_order(back(bare(tuple(d))), count)

        return autograd.Call(forward, self._native, count)

    def _native(self, x, states, weights):
        name = {nn.LSTMCell: "lstm_cell", nn.GRUCell: "gru_cell"}
        kind = next((name[k] for k in name if isinstance(self, k)), None)
        function = getattr(_VF, kind or f"rnn_{getattr(self, 'nonlinearity', '')}_cell")
        count = 1 + isinstance(self, nn.LSTMCell)
        if not states:
            states = [x.new_zeros((*x.shape[:-1], self.hidden_size))] * count
        unbatched = x.dim() == 1
        if unbatched:
            x, states = x.unsqueeze(0), [s.unsqueeze(0) for s in states]
        weights = [*weights, *[None] * (4 - len(weights))]
        result = function(x, states[0] if count == 1 else list(states), *weights)
        result = (result,) if count == 1 else result
        return [r.squeeze(0) for r in result] if unbatched else result


class RNNCell(_Cell, nn.RNNCell):
    """torch.nn.RNNCell, run by fastrnn's kernels."""


class LSTMCell(_Cell, nn.LSTMCell):
    """torch.nn.LSTMCell, run by fastrnn's kernels."""


class GRUCell(_Cell, nn.GRUCell):
    """torch.nn.GRUCell, run by fastrnn's kernels."""
