"""A torch module's twin: a layer of the package whose parameters are the module's own memory.

Nothing is copied: the arrays are views, made again when the module has other tensors. Gradients are
autograd.py's business, what users see modules.py's.
"""

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn import layers, steps
from fastrnn.kernels import threads

_Module = nn.RNNBase | nn.RNNCellBase
FLOATS = {torch.float32: "float32", torch.float64: "float64"}
_LAYERS: dict[type[nn.Module], Any] = {
    nn.RNN: layers.RNN, nn.LSTM: layers.LSTM, nn.GRU: layers.GRU,
    nn.RNNCell: steps.RNNCell, nn.LSTMCell: steps.LSTMCell, nn.GRUCell: steps.GRUCell,
}  # fmt: skip


def new_layer(module: _Module, dtype: torch.dtype):
    """Return a layer of the package with the options of a torch module, and no parameters yet."""
    kind = next(ours for torchs, ours in _LAYERS.items() if isinstance(module, torchs))
    names = ["bias"]
    if isinstance(module, nn.RNNBase):
        names += ["num_layers", "batch_first", "bidirectional"]
    if isinstance(module, nn.RNN | nn.RNNCell):
        names += ["nonlinearity"]
    if isinstance(module, nn.LSTM):
        names += ["proj_size"]
    options: dict[str, Any] = {name: getattr(module, name) for name in names}
    layer = kind(module.input_size, module.hidden_size, **options, dtype=FLOATS[dtype], seed=0)
    layer.params.clear()
    return layer


class Twin:
    """The layer of one module.

    Attributes:
        layer: of the package; its `params` are views of the module's tensors.
        weights: those tensors, in the order of `layer.params`.
        dtype: theirs.
    """

    def __init__(self, module: _Module, weights: list[Tensor]):
        self.dtype = weights[0].dtype
        self.layer: Any = new_layer(module, self.dtype)
        self.read(module, weights)

    def read(self, module: _Module, weights: list[Tensor]) -> None:
        """Have the layer's parameters be these tensors."""
        self.layer.params.update(
            (name, weight.detach().numpy())
            for name, weight in zip(self.layer._shapes, weights, strict=True)
        )
        self.weights = weights
        self._seen = [
            (name, weight, weight.data_ptr())
            for name, weight in zip(_names(module), weights, strict=True)
        ]

    def reads(self, module: _Module) -> bool:
        """Return whether the module still has the tensors it had."""
        own = module._parameters
        for name, weight, place in self._seen:
            # A tensor stays the same object when `.to()` or `.data =` gives it other memory.
            if own.get(name) is not weight or weight.data_ptr() != place:
                return False
        return True

    def is_like(self, module: _Module) -> bool:
        """Return whether the module still has the options it had."""
        if isinstance(module, nn.RNNBase):
            return self.layer.batch_first == module.batch_first
        return getattr(self.layer, "nonlinearity", "") == getattr(module, "nonlinearity", "")


_twins: "weakref.WeakKeyDictionary[nn.Module, Twin]" = weakref.WeakKeyDictionary()


def twin_of(module: _Module) -> Twin | None:
    """Return the module's twin, or None where its tensors are not what kernels can read."""
    twin = _twins.get(module)
    if twin is not None and twin.is_like(module) and twin.reads(module):
        return twin
    # Not only parameters: pruning and weight_norm put a tensor in place of each at every call.
    weights: list[Any] = [getattr(module, name, None) for name in _names(module)]
    if not all(is_ordinary(w) and w.dtype == weights[0].dtype for w in weights):
        return None
    if weights[0].dtype not in FLOATS:
        return None
    if twin is not None and twin.is_like(module) and twin.dtype == weights[0].dtype:
        twin.read(module, weights)
    else:
        twin = _twins[module] = Twin(module, weights)
    return twin


def _names(module: _Module) -> list[str]:
    if isinstance(module, nn.RNNBase):
        return module._flat_weights_names
    return ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]


def is_ordinary(tensor) -> bool:
    """Return whether this is a plain tensor in the memory of this process."""
    kind = type(tensor)
    return (
        (kind is Tensor or kind is nn.Parameter)
        and tensor.is_cpu
        and tensor.layout == torch.strided
        and not tensor.is_neg()
    )


def follow_threads() -> None:
    """Use as many threads as torch, unless fastrnn was told how many."""
    threads.follow(torch.get_num_threads())
