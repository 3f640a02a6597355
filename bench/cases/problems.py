"""What is measured: a layer, its input and the gradient at its output, drawn from a seed."""

import itertools
from typing import NamedTuple

import numpy as np

import fastrnn
from bench.cases.shapes import Shape
from fastrnn.cells import CELLS


class Mode(NamedTuple):
    """A way of using a layer."""

    offer: str  # of a contender: forward, train or step
    dtype: type = np.float32
    one_hot: bool = False  # integers; a contender without such an input gets one-hot floats
    varlen: bool = False  # lengths uniform in T/10..T


MODES = {
    "forward": Mode("forward"),
    "train": Mode("train"),
    "stream": Mode("step"),
    "varlen": Mode("forward", varlen=True),
    "varlen_train": Mode("train", varlen=True),
    "one_hot": Mode("forward", one_hot=True),
    "float64": Mode("forward", dtype=np.float64),
    "float64_train": Mode("train", dtype=np.float64),
}


class Problem:
    """A cell at a shape in a mode.

    Args:
        cell: its name.
        shape: T, B, I, H.
        mode: one of MODES.
    """

    def __init__(self, cell: str, shape: Shape, mode: str = "forward"):
        # With seed 0 a ReLU of keyword_spotting is so near its kink that any float32 computation
        # and the float64 oracle are on different sides, and all gradients before it differ.
        random = np.random.default_rng(1)
        self.cell = next(known for known in CELLS if known.name == cell)
        self.shape, self.name, self.mode = shape, mode, MODES[mode]
        self.dtype = np.dtype(self.mode.dtype)
        self.layer, self.options = _layer_of(self.cell, shape, self.dtype)
        self.kind, self.threads = type(self.layer).__name__, fastrnn.get_num_threads()
        if self.mode.one_hot:
            self.x = random.integers(shape.input, size=shape[:2])
        else:
            self.x = random.standard_normal(shape[:3]).astype(self.dtype)
        self.d_output = random.standard_normal((*shape[:2], shape.hidden)).astype(self.dtype)
        self.lengths = None
        if self.mode.varlen:
            shortest = max(1, shape.time // 10)
            self.lengths = random.integers(shortest, shape.time + 1, shape.batch)
            self.lengths[0] = shape.time

    def floats(self) -> np.ndarray:
        """Return the input as floats, one-hot input as one-hot vectors."""
        if self.x.ndim == 3:
            return self.x
        return np.eye(self.shape.input, dtype=self.dtype)[self.x]

    def steps(self):
        """Yield the inputs of one step, over and over."""
        return itertools.cycle(self.floats())

    def operations(self) -> float:
        """Return the number of additions and multiplications in the products of all real steps."""
        real = self.shape.batch * self.shape.time if self.lengths is None else self.lengths.sum()
        width = self.shape.hidden + (self.shape.input if self.x.ndim == 3 else 0)
        times = {"forward": 1, "train": 3, "step": 1 / self.shape.time}[self.mode.offer]
        return times * 2 * float(real) * len(self.cell.gates) * self.shape.hidden * width


def _layer_of(cell, shape, dtype):
    """Return the layer of a cell, and its options.

    Found by the cell's name among the public classes, which every version of the package has: the
    gate measures older ones with this file.
    """
    name, _, nonlinearity = cell.name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    kind = getattr(fastrnn, name.upper(), None)
    if kind is None:
        raise LookupError(f"no layer runs the cell {cell.name}")
    layer = kind(shape.input, shape.hidden, dtype=dtype, seed=0, **options)
    assert layer.cell is cell
    return layer, options
