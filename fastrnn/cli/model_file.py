"""The model file of `fastrnn train`: what is in it; models/file.py writes and reads the bytes.

The tensors are `rnn.*` and `head.*` (torch's names), `optimizer.*`, and `state.*`, where the
network stood in the text; the metadata are `vocabulary` and `config`, as JSON. So a file serves to
sample, to resume, and to load into torch.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

from fastrnn.cli.config import Config
from fastrnn.models import file as files


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


def write(path: Path, file: File) -> None:
    """Write a model file, atomically.

    Args:
        path: where; an existing file is replaced.
        file: what.

    Raises:
        ValueError: `path` exists and is not a file.
        OSError: it cannot be written.
    """
    config = {**asdict(file.config), "step": file.step, "text": file.text}
    metadata = {"vocabulary": json.dumps(list(file.vocabulary)), "config": json.dumps(config)}
    files.write(path, file.tensors, metadata)


def read(path: Path) -> File:
    """Return what is in a model file.

    Args:
        path: the file.

    Raises:
        ValueError: it is damaged, or `fastrnn train` did not write it.
        OSError: it cannot be read.
    """
    tensors, metadata = files.read(path, "`fastrnn train --out`")
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
