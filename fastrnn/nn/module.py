"""Named parameters: made, copied out and copied in; and how kernels get at those of a Spec.

What parameters mean is for the layers to say. Nothing is computed here.
"""

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from fastrnn import checks
from fastrnn.engine import buffers, scan
from fastrnn.nn import sizes
from fastrnn.nn.spec import KINDS, Spec

MAX_PROGRAMS = 32  # that a layer remembers


class Module:
    """The part that layers, cells and Linear share.

    Attributes:
        params: dict from torch's names to the live arrays. Change them in place, as optimisers
            do, and the next call sees it.
        dtype: of all of them.
        shapes: dict from the names to the shapes they must have.
    """

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.params: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

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

    def _draw_parameters(self, shapes: Mapping[str, tuple[int, ...]], bound: float, seed) -> None:
        """Draw every parameter from U(-bound, bound), in the order of the names."""
        random = np.random.default_rng(seed)
        self.shapes = dict(shapes)
        for name, shape in shapes.items():
            [self.params[name]] = buffers.aligned(self.dtype, shape)
            self.params[name][...] = random.uniform(-bound, bound, shape)

    def parameter(self, name: str) -> np.ndarray:
        """Return a live parameter; checked, as the dict is the user's.

        Raises:
            KeyError: it was taken out of `params`.
            TypeError, ValueError: it is no array of its shape and dtype.
        """
        if name not in self.params:
            raise KeyError(f"{self._owner}: params has no {name!r} any more; put it back.")
        value = self.params[name]
        expected = self.shapes[name]
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
        symbols = ", ".join(["rows", "columns"][: len(self.shapes[name])])
        checks.shape(self._owner, name, checked, self.shapes[name], symbols)
        return checked

    def with_parameters(self, params: Mapping[str, np.ndarray]) -> Self:
        """Return a copy, of the same class, that computes with these arrays and in their dtype.

        Args:
            params: an array for each name, of its shape; all of one dtype, float32 or float64.
        """
        twin = copy.copy(self)
        twin.params = dict(params)
        twin.dtype = next(iter(twin.params.values())).dtype
        return twin

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
        missing = [name for name in self.shapes if name not in state_dict]
        unknown = [name for name in state_dict if name not in self.shapes]
        if strict and (missing or unknown):
            raise KeyError(
                f"{self._owner}: state_dict lacks {missing} and has unknown {unknown}; expected "
                f"exactly {list(self.shapes)}, or pass strict=False."
            )
        checked = {}
        for name in self.shapes:
            if name in state_dict:
                value = state_dict[name]
                value = value.detach() if hasattr(value, "detach") else value  # a torch parameter
                checked[name] = self._checked(name, value)
        targets = {name: self.parameter(name) for name in checked}
        for name, target in targets.items():
            if not target.flags.writeable:
                raise ValueError(
                    f"{self._owner}: params[{name!r}] is read-only; put a copy in its place."
                )
        for name, target in targets.items():
            target[...] = checked[name]


class Recurrent(Module):
    """The part that layers and cells of one step share.

    Attributes:
        spec: what it is.
        names: for each direction of each layer the names of its parameters, in the order of
            records.Weights; None: it has none.
    """

    def __init__(self, spec: Spec, seed):
        super().__init__(spec.dtype)
        given = f"input_size = {spec.input_size:,} and hidden_size = {spec.hidden_size:,}"
        layers = f" and num_layers = {spec.num_layers:,}" if spec.num_layers > 1 else ""
        sizes.check(f"{self._owner} with {given}{layers}", spec.amount())
        self._become(spec)
        self._draw_parameters(self.shapes, spec.hidden_size**-0.5, seed)

    def _suffixes(self, spec: Spec) -> tuple[str, ...]:
        """Return what the names of each direction of each layer end in."""
        return spec.suffixes()

    def _become(self, spec: Spec) -> None:
        """Take over what follows from a Spec, and forget what followed from another."""
        self.spec, self.input_size = spec, spec.input_size
        suffixes = self._suffixes(spec)
        self.shapes = {
            name: shape
            for one, suffix in zip(spec.scans(), suffixes, strict=True)
            for name, shape in spec.shapes_of(one, suffix).items()
        }
        self.names = tuple(
            tuple(kind + suffix if kind + suffix in self.shapes else None for kind in KINDS)
            for suffix in suffixes
        )
        self._forget()

    def with_parameters(self, params: Mapping[str, np.ndarray], spec: Spec | None = None) -> Self:
        """Return a copy, of the same class, that computes with these arrays and in their dtype.

        Args:
            params: an array for each name, of its shape; all of one dtype, float32 or float64.
            spec: of the copy, which may have another input size and depth; None: the same.
        """
        twin = super().with_parameters(params)
        twin._become((spec or self.spec)._replace(dtype=twin.dtype))
        return twin

    def _forget(self) -> None:
        # (name, array, its shape) of each parameter, and what kernels take; no name is "".
        self._seen: tuple[list, list] = ([("", self, ())], [])
        self._programs: dict[tuple, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles hold: not what is remembered."""
        state = self.__dict__.copy()
        del state["_seen"], state["_programs"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def weights(self) -> list[tuple[np.ndarray, ...]]:
        """Return the live parameters as Program.run takes them, checked.

        They are looked at again only where another array, or another shape, is in `params`.

        Raises:
            KeyError, TypeError, ValueError: see `parameter`.
        """
        known, weights = self._seen
        params = self.params
        for name, array, shape in known:
            if params.get(name) is not array or array.shape != shape:
                return self._look()
        return weights

    def _look(self) -> list[tuple[np.ndarray, ...]]:
        dtype, known, weights = self.dtype, [], []
        for names in self.names:
            arrays = []
            for name, missing in zip(names, scan.NO_WEIGHTS[dtype], strict=True):
                if name is None:
                    arrays.append(missing)
                    continue
                array = self.parameter(name)
                if array is self.params[name] and array.flags.carray:
                    known.append((name, array, array.shape))
                    array = array.view()  # a user may change the flags of the original
                else:  # a copy, of the values as they are now
                    known.append(("", self, ()))
                    array = buffers.plain(array)
                arrays.append(array)
            weights.append(tuple(arrays))
        self._seen = known, weights
        return weights

    def _remember(self, key: tuple, program: Any) -> None:
        """Keep a program for calls that come again."""
        if len(self._programs) >= MAX_PROGRAMS:
            self._programs.clear()
        self._programs[key] = program
