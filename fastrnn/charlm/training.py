"""How the network learns: truncated backpropagation through time, that can stop and go on.

Deliberately not here: learning-rate schedules, early stopping, and anything that would make a run
depend on how often it was interrupted.
"""

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fastrnn.charlm.config import OPTIMIZERS, Config, flag
from fastrnn.charlm.file import File, read, write
from fastrnn.charlm.model import bits_per_character, build
from fastrnn.charlm.text import encode
from fastrnn.models import file as files
from fastrnn.models import network
from fastrnn.models.text import streams
from fastrnn.models.training import clipped

_SAVE_EVERY = 60.0  # seconds: what a power cut may cost
_RECENT = 50  # steps that progress is averaged over


class Progress(NamedTuple):
    """Where a run stands, averaged over its last steps; the rate is 0 until it can be known."""

    step: int
    bits_per_character: float
    characters_per_second: float


class Trainer:
    """A network, its optimiser and its place in the text: all that training changes.

    The text but for its last tenth is cut into `batch` streams that are read side by side,
    `seq_len` characters a step. A step starts from the state that the last one ended in, and sends
    no gradient back into it; at the end of the streams, reading begins again from the zero state.

    A step is computed aside and then written while `lock` is held, so a thread that holds the lock
    (the one that answers Ctrl-C, say) sees the network as a completed step left it.

    Args:
        config: the options.
        text: what to learn, the held-out tenth included; its characters are the vocabulary.

    Raises:
        ValueError: the text is too short for the options.
    """

    def __init__(self, config: Config, text: str) -> None:
        rows, least = config.batch, config.batch * config.seq_len + 1
        needed = max(11, -(-least * 10 // 9))  # 11: the held-out tenth must hold two characters
        if len(text) < needed:
            raise ValueError(
                f"the text has {len(text):,} characters; {rows:,} streams of {config.seq_len:,} "
                f"characters and a held-out tenth need {needed:,}: give more text, or lower "
                "--batch or --seq-len"
            )
        vocabulary, indices = encode(text)
        split = len(indices) * 9 // 10
        self._streams = streams(indices[:split], rows, config.seq_len)
        self._digest = _digest(text)
        self.held_out = indices[split:]
        self.config = config
        self.model = build(config, vocabulary)
        self.optimizer = OPTIMIZERS[config.optimizer](
            [self.model.rnn.params, self.model.head.params], lr=config.lr
        )
        self.step = 0
        self.lock = threading.RLock()
        self._state = None

    @classmethod
    def resume(cls, path: Path, text: str, options: Mapping[str, Any]) -> "Trainer":
        """Return the trainer that a file was saved from; it goes on as if it had never stopped.

        Args:
            path: the model file.
            text: the text it was trained on.
            options: fields of `Config` that are asked for; only `steps` may differ from the file's.

        Raises:
            ValueError: the file, the text or an option does not fit.
            OSError: the file cannot be read.
        """
        file = read(path)
        for name, value in options.items():
            before = getattr(file.config, name)
            if name != "steps" and value != before:
                raise ValueError(
                    f"{path} was trained with {flag(name)} {before}, not {value}; leave the option "
                    "out (on resuming, only --steps and --out may change)"
                )
        config = replace(file.config, **options)
        if config.steps < file.step:
            raise ValueError(
                f"--steps {config.steps} is the total, and {path} is already at {file.step}"
            )
        if file.text != _digest(text):
            raise ValueError(
                f"{path} was trained on another text; give the same files in the same order "
                "(or none, and the same Python, if it was Python's own documentation)"
            )
        trainer = cls(config, text)
        parts = {"rnn": trainer.model.rnn, "head": trainer.model.head}
        files.restore(path, file.tensors, {**parts, "optimizer": trainer.optimizer})
        trainer.step = file.step
        states = [tensor for _, tensor in sorted(files.part(file.tensors, "state.").items())]
        shape = (config.layers, config.batch, config.hidden)
        if trainer.step and (not states or any(state.shape != shape for state in states)):
            raise ValueError(f"{path}: state.* does not fit; expected arrays of shape {shape}")
        if states:
            trainer._state = states[0] if len(states) == 1 else tuple(states)
        return trainer

    def run(self, path: Path, report: Callable[[Progress], None]) -> None:
        """Train up to step `config.steps`, saving before, every minute and after (an error, too).

        Args:
            path: the model file.
            report: called after every step.

        Raises:
            FloatingPointError: training diverged.
            OSError: the file cannot be written.
        """
        self.save(path)  # if it cannot be written, that must not come out after hours
        saved = time.monotonic()
        recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        try:
            while self.step < self.config.steps:
                bits, now = self.advance(), time.monotonic()
                recent.append((bits, now))
                mean = sum(bits for bits, _ in recent) / len(recent)
                characters = (len(recent) - 1) * self.config.batch * self.config.seq_len
                report(Progress(self.step, mean, characters / max(now - recent[0][1], 1e-9)))
                if now - saved > _SAVE_EVERY:
                    self.save(path)
                    saved = now
        finally:
            self.save(path)

    def advance(self) -> float:
        """Do one step, and return the bits per character on its chunk, before the update.

        Raises:
            FloatingPointError: training diverged; nothing was updated.
        """
        (rnn, head), length = self.model[1:], self.config.seq_len
        start = self.step % (int(self._streams.lengths[0]) // length) * length
        piece = self._streams.cut(start, start + length)
        found = network.predict_steps(
            rnn, head, piece, piece.next().steps(), self._state if start else None, training=True
        )
        grads, _ = clipped(
            network.loss_of(found),
            self.config.clip or None,
            None,
            at=f"step {self.step + 1}",
            lower="--lr or --clip",
        )
        with self.lock:
            self.optimizer.step(grads)
            self._state = found.state
            self.step += 1
        return found.loss / math.log(2)

    def validate(self) -> float:
        """Return the bits per character on the held-out tenth."""
        return bits_per_character(self.model, self.held_out)

    def save(self, path: Path) -> None:
        """Write the model file, atomically.

        Args:
            path: where; an existing file is replaced.

        Raises:
            ValueError: `path` exists and is not a file.
            OSError: it cannot be written.
        """
        with self.lock:
            states = self._state if isinstance(self._state, tuple) else (self._state,)
            parts = {
                "rnn": self.model.rnn.params,
                "head": self.model.head.params,
                "optimizer": self.optimizer.state_dict(),
                "state": {str(k): state for k, state in enumerate(states) if state is not None},
            }
            tensors = files.joined(parts)
            write(path, File(tensors, self.model.vocabulary, self.config, self.step, self._digest))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
