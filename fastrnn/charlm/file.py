"""The model file: safetensors, written atomically and read with suspicion. No pickle anywhere.

The tensors are `rnn.*` and `head.*` (torch's names), `optimizer.*`, and `state.*`, where the
network stood in the text; the metadata are `vocabulary` and `config`, as JSON. So a file serves to
sample, to resume, and to load into torch.
"""

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.numpy
from numpy.typing import NDArray

from fastrnn.charlm.config import Config


class File(NamedTuple):
    """What a model file holds.

    Attributes:
        tensors: every array, under its full name.
        vocabulary: the characters, in the order of their indices.
        config: the options of the run.
        step: how many steps it has done.
        text: SHA-256 of the text it reads.
    """

    tensors: dict[str, NDArray]
    vocabulary: str
    config: Config
    step: int
    text: str

    def part(self, prefix: str) -> dict[str, NDArray]:
        """Return the tensors whose names begin with `prefix`, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def restore(self, path: Path, **owners: Any) -> None:
        """Load `rnn.*` into the owner `rnn`, and so on.

        Args:
            path: the file, for the error.
            owners: prefix -> what has a `load_state_dict`.

        Raises:
            ValueError: a tensor is missing, unknown, or of another shape or type.
        """
        for name, owner in owners.items():
            try:
                owner.load_state_dict(self.part(f"{name}."))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: {name}.* does not fit: {error.args[0]}") from None


def write(path: Path, file: File) -> None:
    """Write a model file so that, whatever happens, `path` is the whole old file or the whole new.

    Args:
        path: where; an existing file is replaced.
        file: what.

    Raises:
        ValueError: `path` exists and is not a file.
        OSError: it cannot be written.
    """
    config = {**asdict(file.config), "step": file.step, "text": file.text}
    metadata = {"vocabulary": json.dumps(list(file.vocabulary)), "config": json.dumps(config)}
    data = safetensors.numpy.save(file.tensors, metadata)
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


def read(path: Path) -> File:
    """Return what is in a model file.

    Args:
        path: the file.

    Raises:
        ValueError: it is damaged, or `fastrnn train` did not write it.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; `fastrnn train --out` writes one")
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (safetensors.SafetensorError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from None
    try:
        vocabulary = "".join(json.loads(metadata["vocabulary"]))
        options = json.loads(metadata["config"])
        step, text = options.pop("step"), options.pop("text")
        if not isinstance(step, int) or step < 0:
            raise ValueError(f"step is {step!r}")
        config = Config(**options)
        shape = tensors["head.weight"].shape
    except KeyError as error:
        raise ValueError(f"{path} is not from `fastrnn train`: it lacks {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has metadata that make no sense here: {error}") from None
    # A damaged size has to fail before anything of that size is allocated.
    if shape != (len(vocabulary), config.hidden):
        raise ValueError(
            f"{path}: head.weight has shape {shape}; expected (characters in the vocabulary, "
            f"hidden) = {len(vocabulary), config.hidden}"
        )
    return File(tensors, vocabulary, config, step, text)
