"""The trainer of all models and of `fastrnn train`: one update after another, able to go on later.

What a loss is, is up to the models: they yield a Loss for each update of a batch. A model trained
by truncated BPTT yields one for each piece of a batch, and the state that the next piece starts in.
Deliberately not here: what is recorded, when to stop and which parameters are kept (fitting.py),
and files (checkpoint.py, and cli/training_run.py for the command).
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import optim
from fastrnn.models import batches, interrupt, network, states, tensors
from fastrnn.models.network import Grads, Loss
from fastrnn.models.options import OPTIMIZERS, Options
from fastrnn.models.states import State
from fastrnn.models.tensors import Tensors
from fastrnn.nn.module import Module

SAVE_EVERY = 60.0  # seconds: how much of a run a power cut may cost

# losses(rows, training, piece=0, state=None) yields the losses of a batch, from its piece number
# `piece` on, which starts in `state`.
Losses = Callable[..., Iterator[Loss]]


class Task(NamedTuple):
    """What a network is to learn.

    Attributes:
        losses: yields the losses of a batch.
        batches: draws the batches of an epoch, each the row numbers of its sequences.
    """

    losses: Losses
    batches: Callable[[np.random.Generator], list[NDArray]]


class Update(NamedTuple):
    """What an epoch averages over its updates: a mean loss, of how many, the gradient's norm."""

    loss: float
    weight: int
    norm: float


class Snapshot(NamedTuple):
    """Everything that training changes, as a completed update left it.

    Attributes:
        tensors: arrays by full name: the parts', `optimizer.*`, `state.*`, and `updates`.
        facts: what JSON can hold: the place in the data, and the random states.
    """

    tensors: Tensors
    facts: dict[str, Any]


class Trainer:
    """A network, its optimiser, its place in the data and its random numbers.

    An update is computed aside and then written as a whole: with `lock` held, and Ctrl-C held
    back. So another thread that holds the lock, or whoever catches KeyboardInterrupt, finds
    everything as a completed update left it.

    Args:
        options: how to train: the optimiser, the learning rate, clipping. Checked already.
        parts: what has parameters, by name, in the order of the gradients of a Loss.
        task: what to learn.
        random: draws the batches.
        where: names the moment in the error of a training that diverged.
        advice: what that error says to lower.

    Attributes:
        step: updates done.
        epoch: epochs completed, each of which reads all batches.
        batch: batches of this epoch completed.
        piece: pieces of this batch completed.
        state: the recurrent state after the last update, where the model has one to carry.
        updates: those of this epoch.
        optimizer: the optimiser.
        lock: held while an update is written.
        writing: `with trainer.writing:` makes what is done inside one step, for every other thread
            that takes the lock, and for Ctrl-C during `run`.
    """

    def __init__(
        self,
        options: Options,
        parts: Mapping[str, Module],
        task: Task,
        random: np.random.Generator,
        *,
        where: str = "epoch {epoch}",
        advice: str = "lr or clip_norm",
    ):
        self.options, self.parts, self.task, self.random = options, dict(parts), task, random
        self.step = self.epoch = self.batch = self.piece = 0
        self.state: State = None
        self.updates: list[Update] = []
        rule, more = OPTIMIZERS[options.optimizer], dict(options.optimizer_options or {})
        params = [part.params for part in self.parts.values()]
        self.optimizer = rule(params, lr=options.lr, **more)
        self.lock = threading.RLock()
        self.writing = interrupt.Deferral(self.lock)
        self._where, self._advice = where, advice
        self._dropout = network.dropout_states(self.parts)
        self._start_epoch()

    @property
    def epoch_read(self) -> bool:
        """Whether every batch of this epoch has been read: `next_epoch` is what comes next."""
        return self.batch == len(self._batches)

    def advance(self) -> float:
        """Do one update, and return the loss before it.

        Raises:
            FloatingPointError: training diverged; nothing was updated.
        """
        try:
            loss, grads, norm = self._gradient()
        except BaseException:  # the next call begins this update anew
            self._losses = None
            network.set_dropout_states(self.parts, self._dropout)
            raise
        dropout = network.dropout_states(self.parts)
        with self.writing:
            self.optimizer.step(grads)
            self.updates.append(Update(loss.value, loss.weight, norm))
            self.state, self._dropout = loss.state, dropout
            self.step += 1
            self.piece += 1
            if loss.last:
                self.batch, self.piece, self._losses = self.batch + 1, 0, None
        return loss.value

    def next_epoch(self) -> None:
        """Go on to the next epoch; its batches are drawn."""
        with self.writing:
            self.epoch += 1
            self.batch = self.piece = 0
            self.updates = []
            self._start_epoch()

    def run(
        self,
        done: Callable[[], bool],
        *,
        after_update: Callable[[float], None] = lambda loss: None,
        end_epoch: Callable[[], None] | None = None,
        save: Callable[[], object] = lambda: None,
    ) -> None:
        """Train, saving at the start, every minute, and at the end, be that an error or Ctrl-C.

        Args:
            done: tells when to stop; asked before every update.
            after_update: is given the loss of each.
            end_epoch: called when all batches have been read; has to call `next_epoch`, which is
                what is done without it.
            save: writes what there is to save.

        Raises:
            FloatingPointError: training diverged.
        """
        save()  # a file that cannot be written should be known now, not after hours
        saved = time.monotonic()
        try:
            with self.writing.installed():
                while not done():
                    if self.epoch_read:
                        (end_epoch or self.next_epoch)()
                    else:
                        after_update(self.advance())
                    if time.monotonic() - saved > SAVE_EVERY:
                        save()
                        saved = time.monotonic()
        finally:
            save()

    def state_dict(self) -> Snapshot:
        """Return copies of everything that training changes, as the last update left it."""
        with self.lock:
            parts = {name: part.state_dict() for name, part in self.parts.items()}
            parts["optimizer"] = self.optimizer.state_dict()
            carried = enumerate(states.members(self.state))
            parts["state"] = {str(k): state.copy() for k, state in carried}
            arrays = tensors.join(parts)
            arrays["updates"] = np.array(self.updates, np.float64).reshape(-1, len(Update._fields))
            place = {name: getattr(self, name) for name in ("step", "epoch", "batch", "piece")}
            return Snapshot(
                arrays, {**place, "random": self._epoch_random, "dropout": self._dropout}
            )

    def load_state_dict(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, bit for bit, given equal options, parts and data.

        Args:
            snapshot: what `state_dict` returned. `updates`, "random" and "dropout" may be missing:
                then nothing has been recorded, and what draws goes on from where it is.

        Raises:
            KeyError, TypeError, ValueError: it does not fit.
        """
        arrays, facts = snapshot
        with self.writing:
            tensors.restore(arrays, {**self.parts, "optimizer": self.optimizer})
            carried = sorted(tensors.part(arrays, "state").items())
            self.state = states.joined([array for _, array in carried])
            updates = arrays.get("updates", np.empty((0, 3)))
            self.updates = [Update(loss, int(weight), norm) for loss, weight, norm in updates]
            if "random" in facts:
                self.random.bit_generator.state = facts["random"]
            self.epoch = facts["epoch"]
            self._start_epoch()
            self.step, self.batch, self.piece = facts["step"], facts["batch"], facts["piece"]
            if not 0 <= self.batch <= len(self._batches):
                raise ValueError(f"there is no batch {self.batch} of {len(self._batches)}")
            network.set_dropout_states(self.parts, facts.get("dropout", {}))
            self._dropout = network.dropout_states(self.parts)

    def _gradient(self) -> tuple[Loss, Grads, float]:
        """Return the next loss, its gradient, clipped, and the norm of that before."""
        if self._losses is None:
            rows, before = self._batches[self.batch], self.state if self.piece else None
            self._losses = self.task.losses(rows, True, self.piece, before)
        loss = next(self._losses, None)
        if loss is None:  # of a damaged file
            raise ValueError(f"there is no piece {self.piece} of batch {self.batch}")
        grads, norm = clipped(
            loss,
            self.options.clip_norm,
            self.options.clip_value,
            at=self._where.format(epoch=self.epoch, step=self.step + 1),
            lower=self._advice,
        )
        return loss, grads, norm

    def _start_epoch(self) -> None:
        self.optimizer.lr = self.options.lr * self.options.lr_decay**self.epoch
        self._epoch_random = self.random.bit_generator.state
        self._batches = self.task.batches(self.random)
        self._losses: Iterator[Loss] | None = None  # of the batch that is being read


def clipped(
    loss: Loss, clip_norm: float | None, clip_value: float | None, *, at: str, lower: str
) -> tuple[Grads, float]:
    """Return the gradient of a loss, clipped, and its norm before that.

    Args:
        loss: the loss.
        clip_norm: the largest norm that the gradient may have; None: any.
        clip_value: the largest absolute value that an entry may have, clipped first; None: any.
        at: the moment, for the error.
        lower: what to lower, for the error.

    Raises:
        FloatingPointError: the loss or its gradient is not finite.
    """
    grads = loss.gradients()
    first = math.inf if clip_norm is None or clip_value is not None else clip_norm
    norm = optim.clip_grad_norm(grads, first)
    if not math.isfinite(loss.value + norm):
        raise FloatingPointError(
            f"training diverged at {at}: the loss is {loss.value}, its gradient {norm} long; "
            f"lower {lower}"
        )
    if clip_value is not None:
        optim.clip_grad_value(grads, clip_value)
        if clip_norm is not None:
            optim.clip_grad_norm(grads, clip_norm)
    return grads, norm


def evaluate(losses: Losses, lengths: NDArray, rows: NDArray) -> float:
    """Return the mean loss over some sequences, without dropout.

    Args:
        losses: yields the losses of a batch.
        lengths: (N,) of all sequences, in steps.
        rows: the numbers of the sequences to evaluate.
    """
    found = batches.sorted_by_length(lengths[rows])
    losses_of_all = (loss for some in found for loss in losses(rows[some], False))
    return means([Update(loss.value, loss.weight, 0.0) for loss in losses_of_all])[0]


def means(updates: list[Update]) -> tuple[float, float]:
    """Return the mean loss, weighted by what each is a mean of, and the mean norm."""
    values, weights, norms = np.array(updates).T
    return float((values * weights).sum() / weights.sum()), float(norms.mean())
