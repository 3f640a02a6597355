"""The run of `fastrnn train`: the trainer of all models, on one text, with a file to go on from.

Deliberately not here: how an update is made (models/training.py), what is printed (train.py), and
anything that would make a run depend on how often it was interrupted.
"""

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.cli.character_model import bits_per_character, build, built
from fastrnn.cli.config import Config, flag
from fastrnn.cli.model_file import File, read, write
from fastrnn.files import shown
from fastrnn.models import states, tensors, text
from fastrnn.models.corpus import encode
from fastrnn.models.network import Loss
from fastrnn.models.one_to_many import Writer
from fastrnn.models.options import OPTIMIZERS
from fastrnn.models.states import State
from fastrnn.models.training import Snapshot, Task, Trainer
from fastrnn.nn import sizes
from fastrnn.nn.registry import layer_class
from fastrnn.nn.spec import Spec

_RECENT = 50  # steps that progress is averaged over


class Progress(NamedTuple):
    """Where a run stands, averaged over its last steps; the rate is 0 until it can be known."""

    step: int
    bits_per_character: float
    characters_per_second: float


class TrainingRun:
    """A character model that learns a text.

    The text without its last tenth is cut into `batch` streams that are read side by side,
    `seq_len` characters a step. A step starts from the state that the last one ended in, and sends
    no gradient back into it; at the end of the streams, reading starts over from the zero state.

    Args:
        config: the options.
        content: the text to learn, the held-out tenth included; its characters are the vocabulary.

    Attributes:
        config: the options.
        model: the network.
        held_out: (length,) indices of the last tenth.

    Raises:
        ValueError: the text is too short for the options.
    """

    def __init__(self, config: Config, content: str) -> None:
        rows, to_learn = config.batch, config.batch * config.seq_len + 1
        needed = max(11, -(-to_learn * 10 // 9))  # 11: the held-out tenth must hold two characters
        if len(content) < needed:
            raise ValueError(
                f"the text has {len(content):,} characters; {rows:,} streams of "
                f"{config.seq_len:,} characters and a held-out tenth need {needed:,}: give more "
                "text, or lower --batch or --seq-len"
            )
        vocabulary, indices = encode(content)
        split = len(indices) * 9 // 10
        self._streams = text.streams(indices[:split], rows, config.seq_len)
        self._digest = _digest(content)
        self.held_out = indices[split:]
        _check_sizes(config, len(vocabulary))
        self.config = config
        self.model = build(config, vocabulary)
        self._trainer = Trainer(
            config.options(),
            {"rnn": self.model.rnn, "head": self.model.head},
            Task(self._losses, lambda random: [np.arange(rows)]),  # all streams, at every step
            np.random.default_rng(config.seed),  # draws nothing
            where="step {step}",
            advice="--lr or --clip",
        )

    @classmethod
    def resume(cls, path: Path, content: str, options: Mapping[str, Any]) -> "TrainingRun":
        """Return the run that a file was saved from; it goes on as if it had never stopped.

        Args:
            path: the model file.
            content: the text it was trained on.
            options: fields of `Config` that are asked for; only `steps` may differ from the file's.

        Raises:
            ValueError: the file, the text or an option does not fit.
            OSError: the file cannot be read.
        """
        file, where = read(path), shown(path)
        for name, value in options.items():
            before = getattr(file.config, name)
            if name != "steps" and value != before:
                raise ValueError(
                    f"{where} was trained with {flag(name)} {before}, not {value}; leave the "
                    "option out (on resuming, only --steps and --out may change)"
                )
        config = replace(file.config, **options)
        if config.steps < file.step:
            raise ValueError(
                f"--steps {config.steps} is the total, and {where} is already at {file.step}"
            )
        if file.text != _digest(content):
            raise ValueError(
                f"{where} was trained on another text; give the same files in the same order "
                "(or none, and the same Python, if it was Python's own documentation)"
            )
        network = built(path, file)
        try:
            tensors.check(file.tensors, {"rnn", "head", "optimizer", "state"})
            carried = tensors.part(file.tensors, "state")
            states.check(network.rnn, carried, config.batch)
            if file.step and not carried:
                raise ValueError("state.* does not fit: there is none")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        run = cls(config, content)
        run._restore(path, file)
        return run

    @property
    def step(self) -> int:
        """Steps done."""
        return self._trainer.step

    @property
    def lock(self) -> threading.RLock:
        """Held while a step is written: whoever holds it sees a completed one (see Trainer)."""
        return self._trainer.lock

    def train(self, path: Path, report: Callable[[Progress], None]) -> None:
        """Train up to step `config.steps`, saving before, every minute and after (an error, too).

        Args:
            path: the model file.
            report: called after every step.

        Raises:
            FloatingPointError: training diverged.
            OSError: the file cannot be written.
        """
        recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)

        def after_update(loss: float) -> None:
            now = time.monotonic()
            recent.append((loss / math.log(2), now))
            mean = sum(bits for bits, _ in recent) / len(recent)
            characters = (len(recent) - 1) * self.config.batch * self.config.seq_len
            report(Progress(self.step, mean, characters / max(now - recent[0][1], 1e-9)))

        self._trainer.run(
            lambda: self.step >= self.config.steps,
            after_update=after_update,
            save=lambda: self.save(path),
        )

    def advance(self) -> float:
        """Do one step, and return the bits per character on its chunk, before the update.

        Raises:
            FloatingPointError: training diverged; nothing was updated.
        """
        if self._trainer.epoch_read:
            self._trainer.next_epoch()
        return self._trainer.advance() / math.log(2)

    def validate(self) -> float:
        """Return the bits per character on the held-out tenth."""
        return bits_per_character(self.model, self.held_out)

    def save(self, path: Path, *, keep: bool = False) -> str | None:
        """Write the model file, atomically.

        Args:
            path: where; an existing file is replaced.
            keep: keep the existing file too, under another name.

        Returns:
            That name; None: there was no file, or keep=False.

        Raises:
            ValueError: `path` exists and is not a file.
            OSError: it cannot be written.
        """
        with self.lock:
            arrays, facts = self._trainer.state_dict()
            del arrays["updates"]  # this run keeps no history
            step, vocabulary = facts["step"], self.model.vocabulary
            file = File(arrays, vocabulary, self.config, step, self._digest)
            return write(path, file, keep=keep)

    def _losses(
        self, rows: NDArray, training: bool, piece: int = 0, state: State = None
    ) -> Iterator[Loss]:
        pieces = self._streams.select(rows).pieces(self.config.seq_len)
        writer = Writer(self.model.rnn, self.model.head, None)
        return writer.losses(pieces, None, training, piece, state)

    def _restore(self, path: Path, file: File) -> None:
        steps = int(self._streams.lengths[0]) // self.config.seq_len  # to the end of the streams
        epoch, piece = divmod(file.step, steps)
        place = {"step": file.step, "epoch": epoch, "batch": 0, "piece": piece}
        try:
            if file.vocabulary != self.model.vocabulary:
                raise ValueError("its vocabulary is not that of the text")
            self._trainer.load_state_dict(Snapshot(file.tensors, place))
            if self._trainer.optimizer.steps != file.step:
                raise ValueError(f"optimizer.step is not {file.step}")
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{shown(path)}: {error}") from None


def _check_sizes(config: Config, symbols: int) -> None:
    """Raise ValueError if there is not memory for what training has to hold at the very least."""
    kind, chosen = layer_class(config.cell)
    smallest = kind(1, 1, **chosen)  # of the same cell and type
    cell, dtype = smallest.cell, smallest.dtype
    spec = Spec(cell, dtype, symbols, config.hidden, num_layers=config.layers)
    buffers = len(OPTIMIZERS[config.optimizer](smallest.params).state_dict()) // len(
        smallest.params
    )
    kept = config.layers * len(cell.saved) * config.hidden + symbols  # for the gradient of a step
    sizes.refuse(
        ", ".join(
            f"{flag(n)} {getattr(config, n)}" for n in ("hidden", "layers", "batch", "seq_len")
        )
        + ": weights, gradients and what they are computed from",
        (2 + buffers) * spec.amount().memory
        + config.batch * config.seq_len * kept * dtype.itemsize,
    )


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
