"""What a layer is: its Spec, from which the names, shapes and sizes of its parameters follow.

It holds no arrays and nothing of a call: two layers with one Spec share all that is prepared for
them (program.py). What a user sets on a layer and may change, dropout or batch_first, is no part.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from fastrnn.engine.cell import Cell
from fastrnn.engine.records import sizes_of
from fastrnn.engine.scan import Scan
from fastrnn.nn.sizes import Amount

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # as records.Weights


class Spec(NamedTuple):
    """A stack of layers of one cell; hashable.

    Attributes:
        cell: what a step computes.
        dtype: np.float32 or np.float64.
        input_size: I.
        hidden_size: H.
        proj_size: P, or 0: no projection.
        num_layers: at least 1.
        directions: 1, or 2.
        bias: have b_ih and b_hh.
    """

    cell: Cell
    dtype: np.dtype
    input_size: int
    hidden_size: int
    proj_size: int = 0
    num_layers: int = 1
    directions: int = 1
    bias: bool = True

    @property
    def emitted(self) -> int:
        """E: the size of h."""
        return self.proj_size or self.hidden_size

    def scans(self) -> tuple[Scan, ...]:
        """Return what is run for each direction of each layer."""
        return _scans(self)

    def suffixes(self) -> tuple[str, ...]:
        """Return what torch puts after the names of each direction of each layer."""
        return tuple(
            f"_l{layer}" + "_reverse" * direction
            for layer in range(self.num_layers)
            for direction in range(self.directions)
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by torch's name, in torch's order."""
        return {
            name: shape
            for scan, suffix in zip(self.scans(), self.suffixes(), strict=True)
            for name, shape in self.shapes_of(scan, suffix).items()
        }

    def shapes_of(self, scan: Scan, suffix: str = "") -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one direction of one layer."""
        rows = scan.sizes.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, scan.sizes.input),
            "weight_hh": (rows, self.emitted),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return {kind + suffix: shape for kind, shape in shapes.items()}

    def amount(self) -> Amount:
        """Return how much its parameters are: by arithmetic, for any number of layers."""
        total, two = Amount(0, 0), self._replace(num_layers=min(self.num_layers, 2))
        for scan in two.scans():  # all layers above the first are alike
            times = self.num_layers - 1 if scan.slot >= self.directions else 1
            shapes = self.shapes_of(scan).values()
            nbytes = sum(map(math.prod, shapes)) * self.dtype.itemsize
            total = Amount(total.arrays + times * len(shapes), total.nbytes + times * nbytes)
        return total

    def layer(self, number: int) -> "Spec":
        """Return one layer of the stack, by its number, as a stack of its own."""
        size = self.scans()[number * self.directions].sizes.input
        return self._replace(input_size=size, num_layers=1)


@functools.lru_cache(maxsize=256)
def _scans(spec: Spec) -> tuple[Scan, ...]:
    cell, result = spec.cell, []
    for slot in range(spec.num_layers * spec.directions):
        layer, direction = divmod(slot, spec.directions)
        width = spec.directions * spec.emitted if layer else spec.input_size
        sizes = sizes_of(
            spec.dtype, len(cell.gates), len(cell.states), width, spec.hidden_size, spec.proj_size
        )
        result.append(Scan(cell, sizes, slot, bool(direction)))
    return tuple(result)
