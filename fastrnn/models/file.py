"""A file of arrays and JSON: safetensors, with a checksum, and read with suspicion. No pickle.

What the arrays mean, whoever writes a file knows: saving.py and checkpoint.py for the models of
this folder, cli/model_file.py for `fastrnn train`. No other file here needs the extra `cli` itself,
and how a file gets onto the disk is in fastrnn/files.py.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fastrnn import files
from fastrnn.models import tensors as by_name
from fastrnn.models.tensors import Tensors

_CHECKSUM, _ALGORITHM = "checksum", "blake2b:"
_LARGEST_HEADER = 100_000_000  # bytes, of safetensors' own
# What files of these models are made of.
_TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


def write(
    path: Path, tensors: Tensors, metadata: dict[str, str], *, keep: bool = False
) -> str | None:
    """Write a file atomically: whatever happens, `path` is the whole old file or the whole new one.

    Args:
        path: where; an existing file is replaced.
        tensors: the arrays, by name.
        metadata: texts, by name.
        keep: keep the existing file too, under another name.

    Returns:
        That name; None: there was no file, or keep=False.

    Raises:
        ValueError: `path` exists and is not a file.
        OSError: it cannot be written.
    """
    files.check_is_own(path)
    # safetensors takes the memory of an array as it lies there
    tensors = {name: np.require(array, requirements="C") for name, array in tensors.items()}
    checksum = _ALGORITHM + _digest(tensors, metadata)
    data = safetensors.numpy.save(tensors, {**metadata, _CHECKSUM: checksum})
    return files.write(path, data, keep=keep)


def read(path: Path, writer: str) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and the texts in a file, if it is whole.

    A file of an earlier version has no checksum, and is taken as it is.

    Args:
        path: the file.
        writer: what writes such files, for the error.

    Raises:
        ValueError: it is damaged, or of another kind.
        OSError: it cannot be read.
    """
    name = files.shown(path)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(f"there is no file {name}; {writer} writes one")
    try:
        tensors, metadata = _parsed(_content(path))
    except (RecursionError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"{name} is no safetensors file, or a damaged one: {error}") from None
    checksum = metadata.pop(_CHECKSUM, None)
    if checksum is None:  # unless its name is what is damaged
        whole = not any(text.startswith(_ALGORITHM) for text in metadata.values())
    else:
        whole = checksum == _ALGORITHM + _digest(tensors, metadata)
    if not whole:
        raise ValueError(
            f"{name} is damaged: what is in it does not have its checksum (a program that changes "
            f"such a file on purpose has to leave out the metadata {_CHECKSUM!r})"
        )
    return tensors, metadata


def restore(
    path: Path, tensors: Tensors, owners: Mapping[str, Any], others: Collection[str] = ()
) -> None:
    """Load `rnn.*` into the owner `rnn`, and so on.

    Args:
        path: the file, for the error.
        tensors: all that is in it.
        owners: prefix -> what has a `load_state_dict`.
        others: further prefixes that may be there.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape or type.
    """
    try:
        by_name.check(tensors, {*owners, *others})
        for full, array in tensors.items():
            if full.partition(".")[0] in owners and not np.isfinite(array).all():
                raise ValueError(f"{full} is not finite: its training diverged")
        by_name.restore(tensors, owners)
    except ValueError as error:
        raise ValueError(f"{files.shown(path)}: {error}") from None


def _content(path: Path) -> bytes:
    """Return the bytes of a file, if it may be what it should be; it may be of any size."""
    with path.open("rb") as opened:
        first = opened.read(8)
        header, size = int.from_bytes(first, "little"), os.fstat(opened.fileno()).st_size
        if len(first) < 8 or not 2 <= header <= min(size - 8, _LARGEST_HEADER):
            raise ValueError("it does not begin as one")
        opened.seek(0)
        return opened.read()


def _parsed(data: bytes) -> tuple[Tensors, dict[str, str]]:
    tensors = {}
    for name, found in safetensors.deserialize(data):
        if found["dtype"] not in _TYPES:
            raise ValueError(
                f"the tensor {name!r} is {found['dtype']}; expected {', '.join(_TYPES)}"
            )
        dtype = _TYPES[found["dtype"]]
        array = np.ndarray(found["shape"], dtype, found["data"])
        tensors[name] = array.astype(dtype.newbyteorder("="), copy=False)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=_once)
    return tensors, header.get("__metadata__", {})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict, unless a name comes twice: then nobody knows which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in its header")
    return found


def _digest(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """Return a BLAKE2 of all that is in a file, whatever its order, as hexadecimal digits."""
    found = hashlib.blake2b(digest_size=32)
    found.update(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        array = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), copy=False)
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(array.data.cast("B") if array.size else b"")
    return found.hexdigest()
