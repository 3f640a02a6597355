"""The outputs of one check: which of them have a derivative, and in which unit each is measured.

Outputs of very different size are contracted apart, as the rounding of large ones hides the small
ones, and each group of like size is measured in a unit of its own, a power of two, so that no
square of it overflows or underflows. Nothing is differentiated or judged here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.derivatives import EPS
from fastrnn.checking.problem import Arrays, flat

_LEAST = float(np.finfo(np.float64).smallest_subnormal)
_USUAL = 64  # binary exponents of outputs that are left in the user's own unit
_RANGE = {2: 10, 4: 100, 8: 1000}  # size of a dtype in bytes -> exponents its cotangents may have


class Outputs:
    """What is known of the outputs at the point of the check.

    Args:
        values: as the target returns them.
        precise: the same, computed in float64.

    Attributes:
        values: as given, copied.
        live: which entries have a derivative: finite ones of floating arrays.
        resolution: machine epsilon of each entry in `precise`.
        group: the number of the group that each entry is contracted with.
        groups: how many there are.
        unit: of each entry, a power of two; None: 1 everywhere.
        noise: rounding noise of each entry, in its unit.
    """

    def __init__(self, values: Arrays, precise: Arrays):
        self.values = [np.array(v) for v in values]
        floating = [np.full(v.size, v.dtype.kind == "f") for v in self.values]
        self._size = np.abs(flat(precise)) if precise else np.zeros(0)
        finite = np.isfinite(self._size) & np.isfinite(flat(self.values))
        self.live = np.concatenate([*floating, np.zeros(0, bool)]) & finite
        self._dead = None if self.live.all() else ~self.live
        self._size[~self.live] = 0
        self.resolution = np.concatenate([*map(_resolution, precise), np.zeros(0)])
        self.group, self.groups = np.zeros(len(self.live), int), 1
        self.unit: NDArray[Any] | None = None
        self.noise = np.zeros(len(self.live))
        self._handed: list[NDArray[Any]] | None = None

    @property
    def rescaled(self) -> bool:
        """Whether cotangents are scaled to the outputs."""
        return self._handed is not None

    def settle(self, noise: NDArray[Any], eps: float) -> None:
        """Form groups and units.

        Args:
            noise: of each entry, in the user's unit.
            eps: machine epsilon of the arithmetic that is checked; the coarser, the less may the
                outputs of a group differ.
        """
        width = 20 if eps < 1e-10 else 8
        finite = np.where(np.isfinite(noise), noise, 0.0)
        size = np.maximum(self._size, np.minimum(finite, 1e290) / EPS)
        exponent = np.frexp(size)[1]
        tops: list[int] = []
        for e in sorted({int(e) for e in exponent[size > 0]}, reverse=True):
            if not tops or e < tops[-1] - width:
                tops.append(e)
        tops = tops or [0]
        self.groups = len(tops)
        self.group = np.where(size > 0, np.sum(exponent[:, None] <= np.array(tops), axis=1) - 1, 0)
        top = np.clip(np.array(tops), -1000, 1000)[self.group]
        if self.groups > 1 or abs(tops[0]) > _USUAL:
            self.unit = np.ldexp(1.0, top)
            self._handed = []
            for part, value in zip(self._parts(top), self.values, strict=True):
                most = _RANGE.get(value.dtype.itemsize, 1000)
                exponents = np.clip(np.where(np.abs(part) > _USUAL, part, 0), -most, most)
                self._handed.append(np.ldexp(1.0, -exponents).reshape(value.shape))
        self.noise = noise if self.unit is None else noise / self.unit

    def measured(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return outputs in their units, 0 where there is no derivative; may change its argument.

        Args:
            vector: all outputs, flat.
        """
        if self._dead is not None:
            vector[self._dead] = 0
        if self.unit is None:
            return vector
        if vector.dtype.kind == "c":
            return self._divided(np.real(vector)) + 1j * self._divided(np.imag(vector))
        return self._divided(vector)

    def _divided(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return numbers in their units; what is not 0 stays apart from 0."""
        result = vector / self.unit
        lost = (result == 0) & (vector != 0)
        result[lost] = np.copysign(_LEAST, vector[lost])
        return result

    def cotangents(self, random: np.random.Generator, group: int | None = None) -> Arrays:
        """Return Gaussian cotangents in the outputs' dtypes; zeros where there is no derivative.

        Args:
            random: to draw from.
            group: the group of outputs that have one; None: all.
        """
        drawn = [
            np.asarray(random.standard_normal(v.shape))
            if v.dtype.kind == "f"
            else np.zeros(v.shape)
            for v in self.values
        ]
        if self._handed is not None:
            drawn = [d * h for d, h in zip(drawn, self._handed, strict=True)]
        if self._dead is not None or (group is not None and self.groups > 1):
            keep = self.live if group is None else self.live & (self.group == group)
            masks = zip(drawn, self._parts(keep), self.values, strict=True)
            drawn = [np.where(m.reshape(v.shape), d, 0.0) for d, m, v in masks]
        return [
            d.astype(v.dtype) if v.dtype.kind == "f" else d
            for d, v in zip(drawn, self.values, strict=True)
        ]

    def contraction(self, cotangents: Arrays) -> NDArray[Any]:
        """Return cotangents as the vector that contracts outputs in their units."""
        vector = flat(cotangents).astype(np.float64)
        return vector if self.unit is None else vector * self.unit

    def _parts(self, vector: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut a vector of all entries into one for each output."""
        ends = np.cumsum([v.size for v in self.values])
        return np.split(vector, ends[:-1]) if self.values else []


def _resolution(output: NDArray[Any]) -> NDArray[Any]:
    eps = float(np.finfo(output.dtype).eps) if output.dtype.kind == "f" else EPS
    return np.full(output.size, max(eps, EPS))
