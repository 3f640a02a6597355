"""A torch module's twin: its Spec, and its parameters as arrays in the module's own memory.

Nothing is copied: the arrays are views, made again when the module has other tensors. Gradients are
in autograd.py, what users see in modules.py.
"""

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastrnn.cells import CELLS
from fastrnn.engine.buffers import plain
from fastrnn.engine.scan import NO_WEIGHTS
from fastrnn.kernels import threads
from fastrnn.nn.spec import KINDS, Spec

_Parameter, _STRIDED = nn.Parameter, torch.strided  # looked up at every call
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


def spec_of(dtype: torch.dtype, *options) -> Spec | None:
    """Return what OPTIONS of torch's describe; None: only torch has that layer.

    Args:
        dtype: of the parameters.
        options: the values of OPTIONS.
    """
    mode, input_size, hidden_size, num_layers, bias, _, bidirectional, proj_size = options
    cell = next((cell for cell in CELLS if cell.name == mode.lower()), None)
    if cell is None or min(input_size, hidden_size, num_layers) < 1:
        return None
    return Spec(
        cell,
        np.dtype(FLOATS[dtype]),
        input_size,
        hidden_size,
        proj_size,
        num_layers,
        1 + bool(bidirectional),
        bool(bias),
    )


@functools.lru_cache(maxsize=64)
def shapes_of(spec: Spec) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the parameters, in torch's order."""
    return tuple(spec.shapes().values())


def _spec_of(module: RecurrentModule, dtype: torch.dtype) -> Spec | None:
    if isinstance(module, nn.RNNBase):
        return spec_of(dtype, *[getattr(module, name) for name in OPTIONS])
    kind = next(k for k in ("RNN", "LSTM", "GRU") if isinstance(module, getattr(nn, f"{k}Cell")))
    mode = f"RNN_{module.nonlinearity}" if kind == "RNN" else kind
    return spec_of(
        dtype, mode, module.input_size, module.hidden_size, 1, module.bias, False, False, 0
    )


def grouped(spec: Spec, arrays: Sequence[np.ndarray]) -> list[tuple]:
    """Return parameters, given in torch's order, as Program.run takes them; copied where needed."""
    rest, weights = iter(arrays), []
    for scan in spec.scans():
        found = spec.shapes_of(scan)
        weights.append(
            tuple(
                plain(next(rest)) if kind in found else missing
                for kind, missing in zip(KINDS, NO_WEIGHTS[spec.dtype], strict=True)
            )
        )
    return weights


class Twin:
    """What the kernels know of one module.

    Attributes:
        spec: what the module is.
        weights: its tensors, in torch's order.
        dtype: theirs.
        programs: what operations.py has prepared, by the shape of a call.
        singles: what single.py has prepared, by the shape of the input.
        generation: of the weights (deferred.py), or None.
        owner: a weak reference to the module.
    """

    def __init__(self, module: RecurrentModule, spec: Spec, weights: list[Tensor]):
        self.dtype = weights[0].dtype
        self.owner = weakref.ref(module)
        self.spec = spec
        # Of a layer and of an RNNCell; not by getattr, which is slow for what a module has not.
        self._option = "batch_first" if isinstance(module, nn.RNNBase) else "nonlinearity"
        self._chosen = module.__dict__.get(self._option)
        self.programs: dict[tuple, Any] = {}
        self.singles: dict[tuple, Any] = {}
        self.generation: Any = None
        self.read(module, weights)

    def read(self, module: RecurrentModule, weights: list[Tensor]) -> None:
        """Take these tensors for the module's parameters."""
        self.weights = weights
        views = [weight.detach().numpy() for weight in weights]
        self._views = views
        # Views of the same memory, unless it is not as kernels take it.
        as_they_are = all(view.flags.carray for view in views)
        self._arrays = grouped(self.spec, views) if as_they_are else None
        self.singles.clear()
        self.generation = None
        self._seen = [
            (name, weight, weight.data_ptr(), weight.is_contiguous())
            for name, weight in zip(_names(module), weights, strict=True)
        ]

    def arrays(self) -> list[tuple]:
        """Return the parameters as they are now, as Program.run takes them."""
        return grouped(self.spec, self._views) if self._arrays is None else self._arrays

    def reads(self, module: RecurrentModule) -> bool:
        """Return whether the module still has the tensors it had."""
        own = module._parameters
        for name, weight, place, contiguous in self._seen:
            # A tensor stays the same object when `.to()` or `.data =` gives it other memory, and
            # when `t_()` turns it over.
            if (
                own.get(name) is not weight
                or weight.data_ptr() != place
                or weight.is_contiguous() is not contiguous
            ):
                return False
        return True

    def is_like(self, module: RecurrentModule) -> bool:
        """Return whether the module still has the options it had."""
        return module.__dict__.get(self._option) == self._chosen


_twins: dict[int, Twin] = {}  # by the id of a module: quicker than a WeakKeyDictionary


def known_twin(module: RecurrentModule) -> Twin | None:
    """Return the module's twin if it has one and has not changed."""
    twin = _twins.get(id(module))
    if twin is not None and twin.owner() is module and twin.is_like(module) and twin.reads(module):
        return twin
    return None


def twin_of(module: RecurrentModule, wanted: torch.dtype | None = None) -> Twin | None:
    """Return the module's twin, or None where its tensors are not what kernels can read.

    Args:
        module: torch's.
        wanted: the dtype that its parameters have to have; None (default): any that kernels take.
    """
    twin = known_twin(module)
    if twin is not None:
        return twin if wanted in (None, twin.dtype) else None
    # To compute weights may draw random numbers, so first whether there is a point in it.
    taken = {wanted} if wanted else FLOATS.keys()
    if not all(is_ordinary(p) and p.dtype in taken for _, p in parameters_of(module)):
        return None
    weights = _weights(module)
    if not all(is_ordinary(w) and w.dtype == weights[0].dtype for w in weights):
        return None
    dtype = weights[0].dtype
    if dtype not in FLOATS or wanted not in (None, dtype):
        return None
    spec = _spec_of(module, dtype)
    # Kernels work on raw memory: of weights of other shapes, torch says what is wrong.
    if spec is None or tuple(w.shape for w in weights) != shapes_of(spec):
        return None
    key, twin = id(module), _twins.get(id(module))
    if twin is not None and twin.owner() is module and twin.is_like(module) and twin.spec == spec:
        twin.read(module, weights)
        return twin
    twin = _twins[key] = Twin(module, spec, weights)
    weakref.finalize(module, _forget, key, twin.owner).atexit = False
    return twin


def _forget(key: int, owner) -> None:
    """Drop the twin of a module that is no more; its id may be another's by now."""
    if key in _twins and _twins[key].owner is owner:
        del _twins[key]


def parameters_of(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the names and parameters that weights are, or that parametrizations make them of."""
    names = _names(module)
    return [
        (name, parameter)
        for name, parameter in module.named_parameters()
        if name in names or name.startswith("parametrizations.")
    ]


def _weights(module: RecurrentModule) -> list[Any]:
    """Return what torch's own forward would compute with.

    Not only parameters: pruning puts a tensor in place of one at every call, a parametrization
    computes it whenever it is read. So a layer reads them as often as torch's does: one that is
    random, or has a state, then gives the same.
    """
    if isinstance(module, nn.RNNBase):
        module._update_flat_weights()
        return list(module._flat_weights)
    return [getattr(module, name) for name in _names(module)]


def _names(module: Any) -> list[str]:
    if isinstance(module, nn.RNNBase):
        return module._flat_weights_names
    return ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]


def is_ordinary(tensor) -> bool:
    """Return whether this is a plain tensor in the memory of this process."""
    kind = type(tensor)
    return (
        (kind is Tensor or kind is _Parameter)
        and tensor.is_cpu
        and tensor.layout is _STRIDED
        and not tensor.is_neg()
    )


def states_of(hx, dtype, shapes) -> tuple[Tensor, ...] | None:
    """Return the given states as a tuple, empty for None; None if torch should look."""
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
