"""A file of arrays and JSON: safetensors, written atomically and read with suspicion. No pickle.

What the arrays mean is the business of whoever writes one: `saving` for the models of this folder,
charlm/file.py for `fastrnn train`. This is the only file here that needs the extra `cli`.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray

Tensors = dict[str, NDArray]


def write(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write a file so that, whatever happens, `path` is the whole old file or the whole new.

    Args:
        path: where; an existing file is replaced.
        tensors: the arrays, by name.
        metadata: texts, by name.

    Raises:
        ValueError: `path` exists and is not a file.
        OSError: it cannot be written.
    """
    data = safetensors.numpy.save(tensors, metadata)
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file, so no model can be saved there")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read(path: Path, writer: str) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and the texts in a file.

    Args:
        path: the file.
        writer: what writes such files, for the error.

    Raises:
        ValueError: it is damaged, or something else.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; {writer} writes one")
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (safetensors.SafetensorError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from None
    return tensors, metadata


def joined(parts: Mapping[str, Mapping[str, NDArray]]) -> Tensors:
    """Return the arrays of all parts under their full names, `part.name`."""
    return {f"{part}.{name}": array for part in parts for name, array in parts[part].items()}


def part(tensors: Tensors, prefix: str) -> Tensors:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def restore(path: Path, tensors: Tensors, owners: Mapping[str, Any]) -> None:
    """Load `rnn.*` into the owner `rnn`, and so on.

    Args:
        path: the file, for the error.
        tensors: all that is in it.
        owners: prefix -> what has a `load_state_dict`.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape or type.
    """
    for name, owner in owners.items():
        try:
            owner.load_state_dict(part(tensors, f"{name}."))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {name}.* does not fit: {error.args[0]}") from None
