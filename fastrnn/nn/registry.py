"""Layer classes by the names of their cells: "lstm", "gru", "rnn" (tanh), "relu".

Derived from the list of cells and from the layer classes; no cell is named here. What a cell
computes is in `cells/`, how a layer is called in `layers.py`.
"""

import inspect

from fastrnn.cells import CELLS, Cell
from fastrnn.nn import layers
from fastrnn.nn.layer import RecurrentLayer

_LAYERS = [
    kind
    for kind in vars(layers).values()
    if inspect.isclass(kind) and issubclass(kind, RecurrentLayer) and kind is not RecurrentLayer
]


def _choice(cell: Cell) -> tuple[type[RecurrentLayer], dict[str, str]]:
    """Return the class whose layers run a cell, and the arguments that choose the cell."""
    family, _, nonlinearity = cell.name.partition("_")
    for layer in _LAYERS:
        if vars(layer).get("cell") is cell:
            return layer, {}
        if "cell" not in vars(layer) and layer.__name__.lower() == family:
            return layer, {"nonlinearity": nonlinearity}
    raise LookupError(f"no layer class runs the cell {cell.name}")


def _short_name(layer: type[RecurrentLayer], chosen: dict[str, str]) -> str:
    """Return the name of the class if its defaults choose the cell, else what chooses it."""
    for argument, value in chosen.items():
        if inspect.signature(layer).parameters[argument].default != value:
            return value
    return layer.__name__.lower()


_CHOICES = {cell.name: _choice(cell) for cell in CELLS}
_SHORT = {_short_name(*choice): choice for choice in _CHOICES.values()}
_ALL = _CHOICES | _SHORT

CELL_NAMES = tuple(_SHORT)  # as options and messages list them; the cells' full names do as well


def layer_class(cell_name: str) -> tuple[type[RecurrentLayer], dict[str, str]]:
    """Return the class whose layers run a cell, and the arguments that choose the cell.

    Args:
        cell_name: one of CELL_NAMES, or the full name of a cell, such as "rnn_tanh".

    Raises:
        ValueError: there is no such cell.

    Example:
        >>> layer, options = layer_class("relu")
        >>> layer(4, 3, **options).nonlinearity
        'relu'
    """
    if not isinstance(cell_name, str) or cell_name not in _ALL:
        raise ValueError(f"cell must be one of {', '.join(CELL_NAMES)}; got {cell_name!r}")
    layer, options = _ALL[cell_name]
    return layer, dict(options)
