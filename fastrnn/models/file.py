"""A file of arrays and JSON: safetensors, written atomically and read with suspicion. No pickle.

What the arrays mean, whoever writes a file knows: saving.py and checkpoint.py for the models of
this folder, cli/model_file.py for `fastrnn train`. No other file here needs the extra `cli` itself.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy

from fastrnn.models import tensors as by_name
from fastrnn.models.tensors import Tensors


def write(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write a file atomically: whatever happens, `path` is the whole old file or the whole new one.

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
        ValueError: it is damaged, or of another kind.
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


def restore(path: Path, tensors: Tensors, owners: Mapping[str, Any]) -> None:
    """Load `rnn.*` into the owner `rnn`, and so on.

    Args:
        path: the file, for the error.
        tensors: all that is in it.
        owners: prefix -> what has a `load_state_dict`.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape or type.
    """
    try:
        by_name.restore(tensors, owners)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
