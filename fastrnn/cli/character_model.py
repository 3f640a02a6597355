"""The network of `fastrnn train` and `fastrnn sample`: made, loaded, evaluated, and writing.

How it learns is in training_run.py.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.cli.config import Config
from fastrnn.cli.model_file import File, read
from fastrnn.files import shown
from fastrnn.models import file as files
from fastrnn.models import network, sampling, text
from fastrnn.nn import sizes
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear


class Model(NamedTuple):
    """The layers, and their vocabulary: character i is input i of `rnn` and output i of `head`."""

    vocabulary: str
    rnn: RecurrentLayer
    head: Linear


def build(config: Config, vocabulary: str) -> Model:
    """Return an untrained network; equal seeds give equal ones.

    Raises:
        ValueError: it is too large for this machine.
    """
    seeds, symbols = np.random.SeedSequence(config.seed).generate_state(2), len(vocabulary)
    try:
        rnn, head = network.read_out(config.options(), symbols, symbols, seeds.tolist(), False)
    except ValueError as error:
        raise ValueError(f"--hidden {config.hidden}, --layers {config.layers}: {error}") from None
    return Model(vocabulary, rnn, head)


def built(path: Path, file: File) -> Model:
    """Return an untrained network of the size of one in a file; of a damaged size nothing is made.

    Args:
        path: the file, for the error.
        file: what is in it.

    Raises:
        ValueError: its tensors are not those of its options.
    """
    own = [array for name, array in file.tensors.items() if name.startswith(("rnn.", "head."))]
    try:
        with sizes.at_most(sizes.Amount(len(own), sum(array.nbytes for array in own))):
            return build(file.config, file.vocabulary)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from None


def load(path: Path) -> Model:
    """Return the network in a file that `fastrnn train` wrote.

    Args:
        path: the file.

    Raises:
        ValueError: it is no such file, or damaged.
        OSError: it cannot be read.
    """
    file = read(path)
    model = built(path, file)
    owners = {"rnn": model.rnn, "head": model.head}
    files.restore(path, file.tensors, owners, ["optimizer", "state"])
    return model


def bits_per_character(model: Model, indices: NDArray) -> float:
    """Return the mean over a text of -log2 of the probability that its next character was given.

    Args:
        model: the network.
        indices: (length,) integers, at least two.
    """
    return text.mean_loss(model.rnn, model.head, indices) / math.log(2)


def sample(
    model: Model, prompt: str = "", length: int = 500, temperature: float = 1.0, seed: int = 0
) -> Iterator[str]:
    """Return an iterator over the characters with which the network continues a prompt.

    Args:
        model: the network.
        prompt: what to continue; an empty one stands for the start of a line.
        length: how many characters.
        temperature: divides the logits; 0 always takes the likeliest character.
        seed: of the random numbers.

    Raises:
        ValueError: an argument is out of its range.
    """
    before = sampling.prompted(prompt, model.vocabulary) or [text.first_symbol(model.vocabulary)]
    indices = sampling.continued(
        model.rnn, model.head, before, length=length, temperature=temperature, seed=seed
    )
    return (model.vocabulary[index] for index in indices)
