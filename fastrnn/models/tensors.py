"""Arrays under full names, `part.name`: how parts of a model are joined into one dict, and back.

Nothing is read or written here: see file.py.
"""

from collections.abc import Collection, Mapping
from typing import Any

from numpy.typing import NDArray

Tensors = dict[str, NDArray]


def join(parts: Mapping[str, Mapping[str, NDArray]]) -> Tensors:
    """Return the arrays of all parts under their full names, `part.name`."""
    return {f"{part}.{name}": array for part in parts for name, array in parts[part].items()}


def part(tensors: Mapping[str, NDArray], name: str) -> Tensors:
    """Return the arrays of one part, by their names in it.

    Args:
        tensors: arrays of all parts, by their full names.
        name: of the part.
    """
    prefix = f"{name}."
    return {
        full.removeprefix(prefix): array
        for full, array in tensors.items()
        if full.startswith(prefix)
    }


def check(tensors: Mapping[str, NDArray], names: Collection[str]) -> None:
    """Raise ValueError if an array belongs to none of some parts.

    Args:
        tensors: arrays of all parts, by their full names.
        names: of the parts.
    """
    unknown = sorted(full for full in tensors if full.partition(".")[0] not in names)
    if unknown:
        raise ValueError(f"{unknown[0]!r} belongs to nothing here")


def check_alike(found: Mapping[str, NDArray], expected: Mapping[str, NDArray]) -> None:
    """Raise ValueError unless arrays have the names, shapes and types of others.

    Args:
        found: out of a file.
        expected: those that it should have.
    """
    for name in sorted(found.keys() ^ expected.keys()):
        raise ValueError(f"{name!r} is {'missing' if name in expected else 'unknown'}")
    for name, array in expected.items():
        one, other = ((a.dtype, a.shape) for a in (found[name], array))
        if one != other:
            raise ValueError(f"{name} is {one[0]} {one[1]}; expected {other[0]} {other[1]}")


def restore(tensors: Mapping[str, NDArray], owners: Mapping[str, Any]) -> None:
    """Load each part into its owner: `rnn.*` into owners["rnn"], and so on.

    Args:
        tensors: arrays of all parts, by their full names.
        owners: part -> what has a `load_state_dict`.

    Raises:
        ValueError: an array is missing, unknown, or of another shape or type.
    """
    for name, owner in owners.items():
        try:
            owner.load_state_dict(part(tensors, name))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{name}.* does not fit: {error.args[0]}") from None
