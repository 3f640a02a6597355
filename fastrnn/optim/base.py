"""What all optimisers share: dicts of arrays, their checks, their buffers, and their state.

No update rule is here (rules.py), and no rule checks anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray] | Sequence[Mapping[str, NDArray]]


class Optimizer:
    """Names, buffers and checks; a subclass adds the update rule for one parameter.

    Args:
        params: the arrays to update in place, float32 or float64.
        lr: learning rate.
        weight_decay: L2 penalty.
        slots: names of the buffers that the rule keeps for each parameter, e.g. "exp_avg".

    Attributes:
        params: the list of dicts of arrays.
        lr: learning rate; may be set between steps.
        weight_decay: L2 penalty; may be set between steps.
        steps: number of steps so far.

    Raises:
        TypeError: params is not made of dicts of arrays, or a number is not a number.
        ValueError: an array cannot be updated in place, or a number is out of range.
    """

    def __init__(self, params: Arrays, lr: float, weight_decay: float, slots: Sequence[str]):
        self._name = type(self).__name__
        self.params = in_place(f"{self._name}: params", params)
        self.lr = self._number("lr", lr)
        self.weight_decay = self._number("weight_decay", weight_decay)
        self.steps = 0
        self._buffers = {
            slot: [{name: np.zeros_like(p) for name, p in group.items()} for group in self.params]
            for slot in slots
        }
        # two arrays of the size of the largest parameter hold all temporaries of all steps
        arrays = [p for group in self.params for p in group.values()]
        size = max((p.size for p in arrays), default=0)
        self._scratch = {dtype: np.empty((2, size), dtype) for dtype in {p.dtype for p in arrays}}

    def step(self, grads: Arrays) -> None:
        """Update every parameter in place.

        Args:
            grads: a gradient for each parameter, of the same name, shape and dtype; not modified.

        Raises:
            TypeError: grads is not made of dicts of arrays.
            KeyError: a name is missing or unknown.
            ValueError: a shape or a dtype differs. After an error no parameter has changed.
        """
        groups = dicts(f"{self._name}: grads", grads, self.params)
        self.steps += 1
        # an overflow or a NaN passes silently, as in torch; the loss will show it
        with np.errstate(all="ignore"):
            for index, params in enumerate(self.params):
                for name, param in params.items():
                    buffers = {slot: of[index][name] for slot, of in self._buffers.items()}
                    a, b = (
                        scratch[: param.size].reshape(param.shape)
                        for scratch in self._scratch[param.dtype]
                    )
                    self._update(param, groups[index][name], buffers, a, b)

    def state_dict(self) -> dict[str, NDArray]:
        """Return copies of the step count and of all buffers, in a flat dict as safetensors takes.

        The keys are "step" and, e.g., "exp_avg.0.weight_ih_l0": slot, index of the dict in params,
        name of the array. Hyper-parameters are not included.
        """
        state = {key: buffer.copy(order="C") for key, buffer in self._flat()}
        return {"step": np.array(self.steps, np.int64), **state}

    def load_state_dict(self, state: Mapping[str, NDArray]) -> None:
        """Continue bit for bit from a saved state, given equal parameters and options.

        Args:
            state: from state_dict of an optimiser with the same params and options.

        Raises:
            TypeError: the state is not a dict of arrays.
            KeyError: a key is missing or unknown.
            ValueError: a shape or a dtype differs. After an error nothing has been loaded.
        """
        buffers = {"step": np.array(self.steps, np.int64), **dict(self._flat())}
        (loaded,) = dicts(f"{self._name}: state", state, [buffers])
        for key, buffer in buffers.items():
            buffer[...] = loaded[key]
        self.steps = int(buffers["step"])

    def _update(self, param, grad, buffers, a, b) -> None:
        """Change param and buffers in place; a and b are scratch of the shape of param."""
        raise NotImplementedError

    def _decayed(self, param: NDArray, grad: NDArray, out: NDArray) -> NDArray:
        if self.weight_decay == 0:
            return grad
        return np.add(grad, np.multiply(param, self.weight_decay, out=out), out=out)

    def _flat(self) -> Iterator[tuple[str, NDArray]]:
        for slot, groups in self._buffers.items():
            for index, group in enumerate(groups):
                for name, buffer in group.items():
                    yield f"{slot}.{index}.{name}", buffer

    def _number(self, argument: str, value: float, below: float | None = None) -> float:
        return number(f"{self._name}: {argument}", value, below)


def dicts(
    where: str, value: Arrays, like: Sequence[Mapping[str, NDArray]] | None = None
) -> list[Mapping[str, NDArray]]:
    """Check that value is a dict of arrays or a list of dicts, and make it a list.

    Args:
        where: name of the value in messages, e.g. "Adam: grads".
        value: the user's argument.
        like: arrays with the names, shapes and dtypes that are required; None: any.

    Returns:
        The list of dicts, with the arrays themselves.

    Raises:
        TypeError: value is not made of dicts of NumPy arrays.
        KeyError: a name is missing or unknown.
        ValueError: a shape, a dtype or the number of dicts differs from `like`.
    """
    groups = [value] if isinstance(value, Mapping) else value
    if not isinstance(groups, list | tuple) or not all(isinstance(g, Mapping) for g in groups):
        raise TypeError(
            f"{where} is a {type(value).__name__}; expected a dict of arrays, or a list of dicts, "
            "such as the `params` of a layer or of its Gradients."
        )
    if like is not None and len(groups) != len(like):
        raise ValueError(f"{where} has {len(groups)} dicts; expected {len(like)}, one for each.")
    for index, group in enumerate(groups):
        at = where if isinstance(value, Mapping) else f"{where}[{index}]"
        if like is not None and group.keys() != like[index].keys():
            missing = sorted(like[index].keys() - group.keys())
            unknown = sorted(group.keys() - like[index].keys())
            raise KeyError(f"{at}: missing {missing}, unknown {unknown}.")
        for name, array in group.items():
            _check_array(f"{at}[{name!r}]", array, None if like is None else like[index][name])
    return list(groups)


def in_place(where: str, value: Arrays) -> list[Mapping[str, NDArray]]:
    """Like `dicts`, but also refuse arrays that cannot be changed in place."""
    groups = dicts(where, value)
    for index, group in enumerate(groups):
        at = where if isinstance(value, Mapping) else f"{where}[{index}]"
        for name, array in group.items():
            if array.dtype not in (np.float32, np.float64):
                raise ValueError(f"{at}[{name!r}] is {array.dtype}; expected float32 or float64.")
            if not array.flags.writeable:
                raise ValueError(
                    f"{at}[{name!r}] is read-only; expected an array to change in place; copy it."
                )
    return groups


def number(where: str, value: float, below: float | None = None) -> float:
    """Check that 0 <= value, and value < below if that is given; NaN is refused."""
    bounds = "0 <= value" if below is None else f"0 <= value < {below}"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{where} is {value!r}; expected a number with {bounds}.")
    if not value >= 0 or (below is not None and value >= below):
        raise ValueError(f"{where} is {value}; expected {bounds}.")
    return float(value)


def _check_array(where: str, array: NDArray, like: NDArray | None) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where} is a {type(array).__name__}; expected a NumPy array.")
    if like is None:
        return
    if array.shape != like.shape:
        raise ValueError(f"{where} has shape {array.shape}; expected {like.shape}.")
    if array.dtype != like.dtype:
        raise ValueError(
            f"{where} is {array.dtype}; expected {like.dtype}; convert it, "
            f"e.g. .astype(np.{like.dtype})."
        )
