"""A torch module's twin: a layer of the package whose parameters are the module's own memory.

Nothing is copied: the arrays are views, made again when the module has other tensors. Gradients are
autograd.py's business, what users see modules.py's.
"""

import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastrnn.kernels import threads
from fastrnn.nn import cells, layers

RecurrentModule = nn.RNNBase | nn.RNNCellBase
FLOATS = {torch.float32: "float32", torch.float64: "float64"}
OPTIONS = (
    "mode",
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "batch_first",
    "bidirectional",
    "proj_size",
)


def _undrawn(kind):
    """Return a class of the package's layers whose parameters are not drawn: others come."""

    def _make(self, shapes, bound, seed):
        self._shapes = dict(shapes)
        nothing = np.zeros((), self.dtype)
        self.params = {name: np.broadcast_to(nothing, shape) for name, shape in shapes.items()}

    return type(kind.__name__, (kind,), {"_make": _make})


_LAYERS = {
    kind.__name__: _undrawn(kind)
    for kind in (layers.RNN, layers.LSTM, layers.GRU, cells.RNNCell, cells.LSTMCell, cells.GRUCell)
}


def new_layer(dtype: torch.dtype, *options):
    """Return a layer of the package, without parameters yet, for OPTIONS of torch's.

    Raises:
        TypeError, ValueError: the package has no such layer, where torch has: of size 0, say.
    """
    mode, input_size, hidden_size, num_layers, *flags, proj_size = options
    bias, batch_first, bidirectional = map(bool, flags)
    kind, _, nonlinearity = mode.partition("_")
    own: dict[str, Any] = {"nonlinearity": nonlinearity.lower()} if nonlinearity else {}
    if kind == "LSTM":
        own["proj_size"] = proj_size
    return _LAYERS[kind](
        input_size,
        hidden_size,
        num_layers,
        bias=bias,
        batch_first=batch_first,
        bidirectional=bidirectional,
        **own,
        dtype=FLOATS[dtype],
    )


def _layer_of(module: RecurrentModule, dtype: torch.dtype):
    if isinstance(module, nn.RNNBase):
        return new_layer(dtype, *[getattr(module, name) for name in OPTIONS])
    kind = next(k for k in ("RNNCell", "LSTMCell", "GRUCell") if isinstance(module, getattr(nn, k)))
    options = {"nonlinearity": module.nonlinearity} if kind == "RNNCell" else {}
    return _LAYERS[kind](
        module.input_size, module.hidden_size, bool(module.bias), **options, dtype=FLOATS[dtype]
    )


class Twin:
    """The layer of one module.

    Attributes:
        layer: of the package; its `params` are views of the module's tensors.
        weights: those tensors, in the order of `layer.params`.
        dtype: theirs.
        singles: what single.py has prepared, by the shape of the input.
        generation: of the weights (deferred.py), or None.
        owner: a weak reference to the module.
    """

    def __init__(self, module: RecurrentModule, layer, weights: list[Tensor]):
        self.dtype = weights[0].dtype
        self.owner = weakref.ref(module)
        self.layer: Any = layer
        self.singles: dict[tuple, Any] = {}
        self.generation: Any = None
        self.read(module, weights)

    def read(self, module: RecurrentModule, weights: list[Tensor]) -> None:
        """Have the layer's parameters be these tensors."""
        self.layer.params.update(
            (name, weight.detach().numpy())
            for name, weight in zip(self.layer._shapes, weights, strict=True)
        )
        self.weights = weights
        self.singles.clear()
        self.generation = None
        self._seen = [
            (name, weight, weight.data_ptr(), weight.is_contiguous())
            for name, weight in zip(_names(module), weights, strict=True)
        ]

    def reads(self, module: RecurrentModule) -> bool:
        """Return whether the module still has the tensors it had."""
        own = module._parameters
        for name, weight, place, plain in self._seen:
            # A tensor stays the same object when `.to()` or `.data =` gives it other memory, and
            # when `t_()` turns it over.
            if (
                own.get(name) is not weight
                or weight.data_ptr() != place
                or weight.is_contiguous() is not plain
            ):
                return False
        return True

    def is_like(self, module: RecurrentModule) -> bool:
        """Return whether the module still has the options it had."""
        if isinstance(module, nn.RNNBase):
            return self.layer.batch_first == module.batch_first
        return getattr(self.layer, "nonlinearity", "") == getattr(module, "nonlinearity", "")


_twins: dict[int, Twin] = {}  # by the id of a module: quicker than a WeakKeyDictionary


def known_twin(module: RecurrentModule) -> Twin | None:
    """Return the module's twin if there is one and the module has not changed."""
    twin = _twins.get(id(module))
    if twin is not None and twin.owner() is module and twin.is_like(module) and twin.reads(module):
        return twin
    return None


def twin_of(module: RecurrentModule) -> Twin | None:
    """Return the module's twin, or None where its tensors are not what kernels can read."""
    twin = known_twin(module)
    if twin is not None:
        return twin
    # Not only parameters: pruning and weight_norm put a tensor in place of each at every call.
    weights: list[Any] = [getattr(module, name, None) for name in _names(module)]
    if not all(is_ordinary(w) and w.dtype == weights[0].dtype for w in weights):
        return None
    if weights[0].dtype not in FLOATS:
        return None
    key, twin = id(module), _twins.get(id(module))
    if (
        twin is not None
        and twin.owner() is module
        and twin.is_like(module)
        and twin.dtype == weights[0].dtype
    ):
        twin.read(module, weights)
        return twin
    try:
        layer = _layer_of(module, weights[0].dtype)
    except (TypeError, ValueError):
        return None
    twin = _twins[key] = Twin(module, layer, weights)
    weakref.finalize(module, _forget, key, twin.owner).atexit = False
    return twin


def _forget(key: int, owner) -> None:
    """Drop the twin of a module that is no more; its id may be another's by now."""
    if key in _twins and _twins[key].owner is owner:
        del _twins[key]


def _names(module: RecurrentModule) -> list[str]:
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


def states_of(hx, dtype, shapes) -> tuple[Tensor, ...] | None:
    """Return the given states as a tuple, empty if there are none; None if torch should look."""
    if hx is None:
        return ()
    states = (hx,) if len(shapes) == 1 else hx
    if not isinstance(states, tuple | list) or len(states) != len(shapes):
        return None
    for state, shape in zip(states, shapes, strict=True):
        if not (is_ordinary(state) and state.dtype is dtype and state.shape == shape):
            return None
    return tuple(states)


def follow_threads() -> None:
    """Use as many threads as torch, unless fastrnn was told how many."""
    threads.follow(torch.get_num_threads())
