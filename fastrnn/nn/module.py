"""Named parameters: made, copied out and copied in. What they mean is the business of layers."""

from collections.abc import Mapping

import numpy as np

from fastrnn import checks
from fastrnn.engine import workspace


class Parameters:
    """The part that layers, cells and Linear share.

    Attributes:
        params: dict from torch's names to the live arrays. Change them in place, as optimisers
            do, and the next call sees it.
        dtype: of all of them.
    """

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.params: dict[str, np.ndarray] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def _described(self, *sizes: int, **defaults) -> str:
        """Return what makes the object, for repr: the sizes, and what is not the default."""
        shown = [str(size) for size in sizes]
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                shown.append(f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}")
        return f"{self._owner}({', '.join(shown)})"

    def _make(self, shapes: Mapping[str, tuple[int, ...]], bound: float, seed) -> None:
        """Draw every parameter from U(-bound, bound), in the order of the names."""
        random = np.random.default_rng(seed)
        self._shapes = dict(shapes)
        for name, shape in shapes.items():
            [self.params[name]] = workspace.empty(self.dtype, shape)  # on a cache line
            self.params[name][...] = random.uniform(-bound, bound, shape)

    def _optional(self, name: str) -> np.ndarray | None:
        """Return a live parameter, or None if this layer has none of that name."""
        return self._param(name) if name in self._shapes else None

    def _param(self, name: str) -> np.ndarray:
        """Return a live parameter; checked, as the dict is the user's."""
        if name not in self.params:
            raise KeyError(f"{self._owner}: params has no {name!r} any more; put it back.")
        value = self.params[name]
        expected = self._shapes[name]
        if type(value) is np.ndarray and value.shape == expected and value.dtype == self.dtype:
            return value
        return self._checked(name, value)

    def _checked(self, name: str, value) -> np.ndarray:
        checked = checks.array(self._owner, name, value)
        if checked.dtype != self.dtype:
            raise ValueError(
                f"{self._owner}: {name} is {checked.dtype}; expected {self.dtype}, the layer's "
                f"dtype, e.g. {name}.astype(np.{self.dtype})."
            )
        symbols = ", ".join(["rows", "columns"][: len(self._shapes[name])])
        checks.shape(self._owner, name, checked, self._shapes[name], symbols)
        return checked

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters, by torch's names."""
        return {name: value.copy() for name, value in self.params.items()}

    def load_state_dict(self, state_dict: Mapping, strict: bool = True) -> None:
        """Copy parameters in; nothing is changed if anything is wrong.

        Args:
            state_dict: names to NumPy arrays or torch tensors of the layer's shapes and dtype.
            strict: the names must be exactly those of `params`; otherwise those in common are
                taken.

        Raises:
            KeyError: names are missing or unknown (with strict).
            ValueError: a shape or dtype is another.
            TypeError: a value is not an array.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"{self._owner}: state_dict is a {type(state_dict).__name__}; expected a dict."
            )
        missing = [name for name in self._shapes if name not in state_dict]
        unknown = [name for name in state_dict if name not in self._shapes]
        if strict and (missing or unknown):
            raise KeyError(
                f"{self._owner}: state_dict lacks {missing} and has unknown {unknown}; expected "
                f"exactly {list(self._shapes)}, or pass strict=False."
            )
        checked = {}
        for name in self._shapes:
            if name in state_dict:
                value = state_dict[name]
                value = value.detach() if hasattr(value, "detach") else value  # a torch parameter
                checked[name] = self._checked(name, value)
        for name, value in checked.items():
            self.params[name][...] = value
