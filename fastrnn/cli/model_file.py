"""The model file of `fastrnn train`: what is in it; models/file.py writes and reads the bytes.

The tensors are `rnn.*` and `head.*` (torch's names), `optimizer.*`, and `state.*`, where the
network stood in the text; the metadata are `vocabulary` and `config`, as JSON. So a file serves to
sample, to resume, and to load into torch.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastrnn.cli.config import Config
from fastrnn.files import shown
from fastrnn.models import file as files
from fastrnn.models.description import is_sorted


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


def write(path: Path, file: File, *, keep: bool = False) -> str | None:
    """Write a model file, atomically.

    Args:
        path: where; an existing file is replaced.
        file: what.
        keep: keep the existing file too, under another name.

    Returns:
        That name; None: there was no file, or keep=False.

    Raises:
        ValueError: `path` exists and is not a file.
        OSError: it cannot be written.
    """
    config = {**asdict(file.config), "step": file.step, "text": file.text}
    metadata = {"vocabulary": json.dumps(list(file.vocabulary)), "config": json.dumps(config)}
    return files.write(path, file.tensors, metadata, keep=keep)


def read(path: Path) -> File:
    """Return what is in a model file.

    Args:
        path: the file.

    Raises:
        ValueError: it is damaged, or `fastrnn train` did not write it.
        OSError: it cannot be read.
    """
    tensors, metadata = files.read(path, "`fastrnn train --out`")
    name = shown(path)
    try:
        vocabulary = _characters(json.loads(metadata["vocabulary"]))
        options = json.loads(metadata["config"])
        step, text = options.pop("step"), options.pop("text")
        if type(step) is not int or step < 0 or not isinstance(text, str):
            raise ValueError(f"step is {step!r} and text {text!r}")
        config = Config(**options)
        missing = [field.name for field in fields(Config) if field.name not in options]
        if missing:
            raise ValueError(f"config lacks {missing[0]!r}")
        shape = tensors["head.weight"].shape
    except KeyError as error:
        raise ValueError(f"{name} is not from `fastrnn train`: it lacks {error}") from None
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{name} has metadata that make no sense here: {error}") from None
    # A damaged size has to fail before anything of that size is allocated.
    if shape != (len(vocabulary), config.hidden):
        raise ValueError(
            f"{name}: head.weight has shape {shape}; expected (characters in the vocabulary, "
            f"hidden) = {len(vocabulary), config.hidden}"
        )
    return File(tensors, vocabulary, config, step, text)


def _characters(found: Any) -> str:
    if not isinstance(found, list) or not all(isinstance(c, str) and len(c) == 1 for c in found):
        raise ValueError("the vocabulary is no list of characters")
    characters = "".join(found)
    if not is_sorted(characters):
        raise ValueError("the vocabulary is not sorted, or has a character twice, or none")
    return characters
