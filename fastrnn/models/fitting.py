"""A fit from its first epoch to its last: what it records, when it stops, what it keeps.

How an update is made is in training.py, how a fit is kept in a file in checkpoint.py.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastrnn.models import progress, tensors
from fastrnn.models.training import Snapshot, Trainer, Update, means
from fastrnn.nn.module import Module

Copies = dict[str, dict[str, Any]]  # part -> its parameters


class Best:
    """The parameters with the lowest loss so far.

    Attributes:
        kept: copies of them, by part; empty before the first epoch has ended.
        loss: theirs.
        stale: epochs since.
    """

    def __init__(self, parts: Mapping[str, Module]):
        self._parts = parts
        self.kept: Copies = {}
        self.loss, self.stale = math.inf, 0

    def offer(self, loss: float) -> None:
        """Copy the parameters if this loss is the lowest."""
        self.stale += 1
        if loss < self.loss:
            self.kept = {name: part.state_dict() for name, part in self._parts.items()}
            self.loss, self.stale = loss, 0

    def put_back(self) -> None:
        """Load the copies, if there are any."""
        for name, copied in self.kept.items():
            self._parts[name].load_state_dict(copied)


class Fit:
    """Trains for some epochs, keeps a history, and stops early where the options say so.

    Args:
        trainer: of the network; its options say how many epochs, and how patient to be.
        validate: returns the validation loss; None: there is none.

    Attributes:
        trainer: the same.
        history: dict of lists, one entry an epoch; see Estimator.
        best: the parameters with the lowest validation loss, without validation the lowest loss.
    """

    def __init__(self, trainer: Trainer, validate: Callable[[], float] | None = None):
        self.trainer, self._validate = trainer, validate
        self.history: progress.History = {}
        self.best = Best(trainer.parts)
        self._resumed = 0.0  # seconds that an earlier process spent on this epoch
        self._since = time.perf_counter()

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the validation loss has been stale for too long."""
        options = self.trainer.options
        if self.trainer.epoch >= options.epochs:
            return True
        return options.patience is not None and self.best.stale >= options.patience

    @property
    def seconds(self) -> float:
        """Seconds spent on this epoch."""
        return self._resumed + time.perf_counter() - self._since

    @property
    def outcome(self) -> Copies:
        """Copies of the parameters that the network would be left with if the fit stopped now."""
        if self.best.kept and not (self.done and self._validate is None):
            return self.best.kept
        return {name: part.state_dict() for name, part in self.trainer.parts.items()}

    def run(self, save: Callable[[], None]) -> None:
        """Train until done.

        With Ctrl-C the parameters of the best epoch so far are put back, with a warning; before an
        epoch has ended, they stay as the last update left them. With validation the best ones are
        put back in any case.

        Args:
            save: writes the checkpoint: at the start, every minute, and whenever training ends.

        Raises:
            FloatingPointError: training diverged. With this error or any other, such as of a disk
                that is full, the parameters are those of the best epoch, if one has ended. If even
                these have diverged, the history is empty: there is nothing to keep.
        """
        options = self.trainer.options
        with progress.reporting(options, self.trainer.epoch) as report:
            try:
                self.trainer.run(
                    lambda: self.done, end_epoch=lambda: self._end_epoch(report), save=save
                )
            except KeyboardInterrupt:
                self.best.put_back()
                warnings.warn(self._interrupted(), stacklevel=5)
            except FloatingPointError:
                self.best.put_back()
                if self._worse_than_at_first():
                    self.history.clear()
                raise
            except BaseException:
                self.best.put_back()
                raise
        if self._validate is not None:
            self.best.put_back()

    def state_dict(self) -> Snapshot:
        """Return everything that the fit has changed, but for the history."""
        with self.trainer.lock:
            arrays, facts = self.trainer.state_dict()
            arrays |= tensors.join({f"best.{part}": kept for part, kept in self.best.kept.items()})
            best = {"loss": self.best.loss, "stale": self.best.stale}
            return Snapshot(arrays, {**facts, "best": best, "seconds": self.seconds})

    def load_state_dict(self, snapshot: Snapshot, history: progress.History) -> None:
        """Go on from a snapshot, bit for bit, given equal options but for the number of epochs.

        Args:
            snapshot: what `state_dict` returned.
            history: as it was then.

        Raises:
            KeyError, TypeError, ValueError: it does not fit.
        """
        self.trainer.load_state_dict(snapshot)
        best = snapshot.facts["best"]
        self.best.loss, self.best.stale = best["loss"], best["stale"]
        for name, part in self.trainer.parts.items():
            copied = tensors.part(snapshot.tensors, f"best.{name}")
            if copied.keys() == part.params.keys():
                self.best.kept[name] = copied
        self.history.update(history)
        self._resumed, self._since = snapshot.facts["seconds"], time.perf_counter()

    def _end_epoch(self, report: Callable[[progress.History], None]) -> None:
        trainer = self.trainer
        loss, norm = means(trainer.updates)
        entry = {"loss": loss, "lr": trainer.optimizer.lr, "gradient_norm": norm}
        if self._validate is not None:
            entry["validation_loss"] = loss = self._validate()
        self._check_finite(loss)
        entry["seconds"] = self.seconds
        with trainer.writing:
            for name, value in entry.items():
                self.history.setdefault(name, []).append(value)
            self.best.offer(loss)
            trainer.next_epoch()
            self._resumed, self._since = 0.0, time.perf_counter()
        report(self.history)

    def _check_finite(self, loss: float) -> None:
        """Raise FloatingPointError if the last update left something that no loss has told yet."""
        what = None if math.isfinite(loss) else f"the validation loss is {loss}"
        for part, module in self.trainer.parts.items():
            for name, value in module.params.items():
                if not np.isfinite(value).all():
                    what = f"{part}.{name} is not finite"
        if what is not None:
            raise FloatingPointError(
                f"training diverged at epoch {self.trainer.epoch}: {what}; lower lr or clip_norm"
            )

    def _worse_than_at_first(self) -> bool:
        """Return whether the parameters have learnt less than nothing.

        The loss of an epoch is that before its updates: the last one may have spoilt them.
        """
        if self._validate is not None or not self.history:
            return False
        task = self.trainer.task
        with np.errstate(all="ignore"):
            found = [
                Update(loss.value, loss.weight, 0.0)
                for rows in task.batches(np.random.default_rng(0))
                for loss in task.losses(rows, False)
            ]
        return not means(found)[0] <= self.history["loss"][0]

    def _interrupted(self) -> str:
        message, path = "Training interrupted by user.", self.trainer.options.checkpoint
        return message if path is None else f"{message} To go on, fit again: {path} is kept."
