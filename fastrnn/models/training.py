"""The training loop of all models: batches, updates, the learning rate, and when to stop.

What a loss is, is the business of models: the loop is given a function that yields one Loss for
each update of a batch. Between two of them it changes the parameters; so a model that is trained
by truncated BPTT yields one for each piece of a batch.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import optim
from fastrnn.models import batches
from fastrnn.models.options import OPTIMIZERS, Options
from fastrnn.nn.module import Module

Grads = list[dict[str, NDArray]]


class Loss(NamedTuple):
    """The loss of one update.

    Attributes:
        value: a mean.
        weight: of how many sequences or steps.
        gradients: makes its gradient, for each part of the network.
    """

    value: float
    weight: int
    gradients: Callable[[], Grads]


Losses = Callable[[NDArray, bool], Iterator[Loss]]  # of a batch's rows, and whether to train


def clipped(
    loss: Loss, clip_norm: float | None, clip_value: float | None, *, at: str, lower: str
) -> tuple[Grads, float]:
    """Return the gradient of a loss, clipped, and how long it was before.

    Args:
        loss: whose.
        clip_norm: the longest that it may be, or None.
        clip_value: the largest that an entry may be, or None; cut off first.
        at: the moment, for the error.
        lower: what to lower then.

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


class _Best:
    """The parameters with the least loss so far."""

    def __init__(self, parts: Sequence[Module]):
        self._parts, self._kept = parts, None
        self.loss, self.stale = math.inf, 0

    def offer(self, loss: float) -> None:
        """Copy the parameters if this loss is the least."""
        self.stale += 1
        if loss < self.loss:
            self._kept = [part.state_dict() for part in self._parts]
            self.loss, self.stale = loss, 0

    def put_back(self) -> None:
        """Load the copy, if there is one."""
        for part, kept in zip(self._parts, self._kept or (), strict=False):
            part.load_state_dict(kept)


def train(
    options: Options,
    parts: Sequence[Module],
    losses: Losses,
    lengths: NDArray,
    learnt: NDArray,
    validate: Callable[[], float] | None,
    random: np.random.Generator,
    history: dict[str, list[float]],
) -> None:
    """Fit parameters in place.

    With Ctrl-C the parameters of the best epoch so far are put back, with a warning; the best is
    the one with the least validation loss, or without one the least loss. Before an epoch has
    ended, they stay as the last update left them.

    Args:
        options: checked.
        parts: what has parameters, in the order of the gradients of a Loss.
        losses: yields the losses of a batch.
        lengths: (N,) of the sequences.
        learnt: which of them to learn from.
        validate: returns the validation loss; None: there is none.
        random: draws the order of batches.
        history: filled, one entry an epoch: see Estimator.

    Raises:
        FloatingPointError: training diverged; the parameters are those of the best epoch so far.
    """
    params = [part.params for part in parts]
    rule, more = OPTIMIZERS[options.optimizer], dict(options.optimizer_options or {})
    optimizer = rule(params, lr=options.lr, **more)
    best = _Best(parts)
    with _progress(options) as report:
        try:
            for epoch in range(options.epochs):
                begin = time.perf_counter()
                optimizer.lr = options.lr * options.lr_decay**epoch
                batch = batches.shuffled(lengths, learnt, options.batch_size, random)
                updates = (loss for rows in batch for loss in losses(rows, True))
                loss, norm = _means([_update(options, optimizer, u, epoch) for u in updates])
                entry = {"loss": loss, "lr": optimizer.lr, "gradient_norm": norm}
                if validate is not None:
                    entry["validation_loss"] = loss = validate()
                entry["seconds"] = time.perf_counter() - begin
                for name, value in entry.items():
                    history.setdefault(name, []).append(value)
                best.offer(loss)
                report(history)
                if options.patience is not None and best.stale >= options.patience:
                    break
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
            best.put_back()
        except FloatingPointError:
            best.put_back()
            raise
    if validate is not None:
        best.put_back()


def evaluate(losses: Losses, lengths: NDArray, rows: NDArray) -> float:
    """Return the mean loss over some sequences, without dropout.

    Args:
        losses: as in `train`.
        lengths: as in `train`.
        rows: which sequences.
    """
    found = batches.sorted_by_length(lengths[rows])
    return _means(
        [(loss.value, loss.weight, 0.0) for some in found for loss in losses(rows[some], False)]
    )[0]


def _update(options: Options, optimizer, loss: Loss, epoch: int) -> tuple[float, int, float]:
    """Change the parameters once; return what is to be averaged."""
    grads, norm = clipped(
        loss, options.clip_norm, options.clip_value, at=f"epoch {epoch}", lower="lr or clip_norm"
    )
    optimizer.step(grads)
    return loss.value, loss.weight, norm


def _means(updates: list[tuple[float, int, float]]) -> tuple[float, float]:
    """Return the mean loss, each counted as often as it is a mean of, and the mean norm."""
    values, weights, norms = np.array(updates).T
    return float((values * weights).sum() / weights.sum()), float(norms.mean())


@contextlib.contextmanager
def _progress(options: Options) -> Iterator[Callable[[dict[str, list[float]]], None]]:
    if callable(options.verbose):
        tell = options.verbose
        yield lambda history: tell(len(history["loss"]), options.epochs)
        return
    if not options.verbose:
        yield lambda history: None
        return
    try:
        from rich import progress
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'verbose=True needs rich: pip install "fastrnn[cli]"', name=error.name
        ) from None
    bar = progress.Progress(
        progress.TextColumn("epoch {task.completed} of {task.total}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[measured]}"),
        progress.TimeRemainingColumn(),
    )
    task = bar.add_task("", total=options.epochs, measured="compiling")

    def report(history: dict[str, list[float]]) -> None:
        named = (("loss", "loss"), ("validation_loss", "validation"))
        measured = [f"{text} {history[name][-1]:.4g}" for name, text in named if name in history]
        bar.update(task, advance=1, measured=", ".join(measured))

    with bar:
        yield report
