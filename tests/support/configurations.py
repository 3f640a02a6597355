"""Configurations of a layer, drawn by hypothesis, and the same layer in torch on the same numbers.

Sizes lie around the edges of the register tile; values come from seeded NumPy. Nothing is asserted
here. A cell's layer, and torch's, are found by the cell's name, so that a new cell is covered.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import strategies as st

import fastrnn
from fastrnn.cells import CELLS
from fastrnn.engine import buffers
from tests.support.states import bare as bare
from tests.support.states import members as members

every_cell = pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def layer_class(cell, module=fastrnn, suffix=""):
    """Return the class in a module that runs a cell, and its options; None if there is none."""
    name, _, nonlinearity = cell.name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    return getattr(module, name.upper() + suffix, None), options


def torch_class(cell, suffix=""):
    """Return the same of torch.nn; skips, visibly, where there is none."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    # It says, once, that a projection is not as fast as it might be.
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    kind, options = layer_class(cell, torch.nn, suffix)
    if kind is None:
        pytest.skip(f"torch.nn has no counterpart of {cell.name}")
    return torch, kind, options


@dataclass(frozen=True)
class Configuration:
    """One layer and one call of it."""

    cell: object
    T: int = 5
    B: int = 3
    I: int = 4  # noqa: E741
    H: int = 5
    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    batch_first: bool = False
    proj_size: int = 0
    one_hot: bool = False
    lengths: tuple[int, ...] | None = None
    given: tuple[bool, ...] = (True, True)  # which members of the state; the others are None
    cotangents: tuple[bool, bool] = (True, True)  # of the output, of the state
    batched: bool = True
    seed: int = 0

    def __repr__(self):  # as a call that can be pasted
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "cell"}
        return f"{self.cell.name}: " + ", ".join(f"{k}={v!r}" for k, v in shown.items())

    def _repr_pretty_(self, printer, cycle):  # what hypothesis shows
        printer.text(repr(self))

    @property
    def options(self) -> dict:
        """Arguments of the constructor, ours and torch's."""
        names = ["num_layers", "bidirectional", "bias", "batch_first"]
        names += ["proj_size"] if self.proj_size else []
        return {name: getattr(self, name) for name in names}

    def layer(self, dtype, **options):
        kind, own = layer_class(self.cell)
        return kind(self.I, self.H, **self.options, **own, dtype=dtype, seed=self.seed, **options)

    def values(self, dtype) -> dict:
        """Draw x, state, d_output and d_state (None where not given), in the caller's shapes."""
        rng = np.random.default_rng(self.seed)
        D, E = 1 + self.bidirectional, self.proj_size or self.H
        rows = (self.B,) if self.batched else ()
        time = (self.B, self.T) if self.batch_first and self.batched else (self.T, *rows)
        widths = [E] + [self.H] * (len(self.cell.states) - 1)

        def normal(*shape):
            return rng.normal(size=shape).astype(dtype)

        def state(given):
            drawn = [normal(self.num_layers * D, *rows, width) for width in widths]
            drawn = [s if there else None for s, there in zip(drawn, given, strict=False)]
            return None if all(s is None for s in drawn) else bare(drawn)

        return {
            "x": rng.integers(0, self.I, time) if self.one_hot else normal(*time, self.I),
            "state": state(self.given),
            "d_output": normal(*time, D * E) if self.cotangents[0] else None,
            "d_state": state([self.cotangents[1]] * len(widths)),
        }

    def array_lengths(self):
        return None if self.lengths is None else np.array(self.lengths, np.int64)


def around(width: int) -> list[int]:
    """Return sizes around the edges of a vector of that many lanes."""
    return [1, max(2, width - 1), width, width + 1, 2 * width + 1]


@st.composite
def configurations(draw, cell, dtype, most_steps=12):
    """Draw a configuration. Smaller and plainer ones come first, as hypothesis shrinks to them."""
    lanes = buffers.lanes(np.dtype(dtype))
    sizes = around(lanes)
    booleans = st.booleans()
    batched = draw(st.sampled_from([True, True, True, False]))
    B = draw(st.sampled_from([1, 2, 5, 6, 7, 8, 9, 13, 0])) if batched else 1
    T = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 12, 0]).filter(lambda t: t <= most_steps))
    H = draw(st.sampled_from([*sizes, 4 * lanes + 1]))
    projections = [p for p in around(lanes) if p < H] if "c" in cell.states else []
    pairs = st.tuples(booleans, booleans)
    return Configuration(
        cell,
        T,
        B,
        draw(st.sampled_from([*sizes, 4 * lanes + 1])),
        H,
        num_layers=draw(st.sampled_from([1, 1, 2])),
        bidirectional=draw(booleans),
        bias=draw(booleans),
        batch_first=draw(booleans),
        proj_size=draw(st.sampled_from([0, *projections])),
        one_hot=draw(booleans),
        lengths=(
            draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B).map(tuple))
            if batched
            else None
        ),
        given=draw(pairs if len(cell.states) > 1 else st.tuples(booleans)),
        cotangents=draw(pairs.filter(any)),
        batched=batched,
        seed=draw(st.integers(0, 99)),
    )


def named(output, state, grads) -> dict:
    """Return everything a layer computes, by name."""
    arrays = {"output": output, "d_x": grads.input}
    arrays |= {f"state {i}": s for i, s in enumerate(members(state))}
    arrays |= {f"d_state {i}": s for i, s in enumerate(members(grads.state))}
    return arrays | {f"d_{name}": d for name, d in grads.params.items()}


def run(layer, values, lengths=None, **options) -> dict:
    """Return everything a layer computes from drawn values, by name."""
    (output, state), pullback = layer.vjp(values["x"], values["state"], lengths, **options)
    return named(output, state, pullback(values["d_output"], values["d_state"]))


def run_torch(configuration, params, values, dtype, dropout=0.0) -> dict:
    """Return the same from torch, computed in `dtype` from the same numbers.

    Rows of length 0, which torch refuses, are left out of its call: their output is 0, their final
    state the initial one, and gradients pass them by.
    """
    torch, kind, own = torch_class(configuration.cell)
    self, dtype = configuration, np.dtype(dtype)
    layer = kind(self.I, self.H, **self.options, **own, dropout=dropout)
    layer = layer.to(getattr(torch, dtype.name))
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.copy_(torch.tensor(params[name]))
            weight.grad = torch.zeros_like(weight)

    def whole(array, like):
        return np.zeros(like, dtype) if array is None else array.astype(dtype)

    x = np.eye(self.I)[values["x"]] if self.one_hot else values["x"]
    x, plain = x.astype(dtype), replace(self, given=(True, True), cotangents=(True, True))
    shapes = plain.values(dtype)
    states = [
        whole(s, like.shape)
        for s, like in zip(
            members(values["state"]) if values["state"] is not None else [None, None],
            members(shapes["state"]),
            strict=False,
        )
    ]
    d_output = whole(values["d_output"], shapes["d_output"].shape)
    d_states = [
        whole(s, like.shape)
        for s, like in zip(
            members(values["d_state"]) if values["d_state"] is not None else [None, None],
            members(shapes["d_state"]),
            strict=False,
        )
    ]

    # What holds for rows of length 0; the others are written over it.
    output, last = np.zeros_like(d_output), [s.copy() for s in states]
    d_x, d_first = np.zeros_like(x), [d.copy() for d in d_states]
    lengths = np.full(self.B, self.T) if self.lengths is None else np.array(self.lengths, np.int64)
    rows = np.flatnonzero(lengths) if self.batched else slice(None)
    axis = 0 if self.batch_first else 1
    of_time = (rows,) if self.batch_first or not self.batched else (slice(None), rows)
    of_state = (slice(None), rows) if self.batched else ()
    if np.any(lengths[rows]):

        def leaf(array):
            return torch.tensor(array, requires_grad=True)

        x_leaf, leaves = leaf(x[of_time]), [leaf(s[of_state]) for s in states]
        argument = x_leaf
        if self.lengths is not None:
            argument = torch.nn.utils.rnn.pack_padded_sequence(
                x_leaf, lengths[rows], batch_first=self.batch_first, enforce_sorted=False
            )
        got, final = layer(argument, bare(leaves))
        if self.lengths is not None:
            got, _ = torch.nn.utils.rnn.pad_packed_sequence(
                got, batch_first=self.batch_first, total_length=x.shape[axis ^ 1]
            )
        torch.autograd.backward(
            [got, *members(final)],
            [torch.tensor(d_output[of_time]), *[torch.tensor(d[of_state]) for d in d_states]],
        )
        output[of_time], d_x[of_time] = got.detach().numpy(), x_leaf.grad.numpy()
        for i, s in enumerate(members(final)):
            last[i][of_state] = s.detach().numpy()
            d_first[i][of_state] = leaves[i].grad.numpy()
    d_params = {name: weight.grad.numpy() for name, weight in layer.named_parameters()}
    d_input = None if self.one_hot else d_x
    return named(output, bare(last), fastrnn.Gradients(d_input, bare(d_first), d_params))


_STACK = {"T": 6, "B": 5, "I": 7, "H": 9, "num_layers": 2, "bidirectional": True}


def case(cell, dtype=np.float64, **sizes):
    """Return a configuration of two layers in both directions, its layer, and drawn values."""
    configuration = Configuration(cell, **(_STACK | sizes))
    return configuration, configuration.layer(dtype), configuration.values(dtype)
