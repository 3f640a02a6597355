"""RNNRegressor: a sequence to numbers.

The network is in many_to_one.py.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import many_to_one, network
from fastrnn.models import weights as weighting
from fastrnn.models.estimator import Estimator
from fastrnn.models.network import Loss
from fastrnn.models.targets import in_dtype, numbers


class RNNRegressor(Estimator):
    """Many to one: reads a sequence and answers with one number, or K.

    A recurrent layer, and a linear one on the final h of its top layer; the loss is the mean
    squared error. Nothing is scaled: targets far from 0 and 1 take many updates to be reached. With
    `truncate=k` the gradient goes back k steps from the end of each sequence; the steps before are
    read without a gradient, and without dropout.

    Args:
        hidden_size: H, units of each layer and direction; default 64.
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        num_layers: recurrent layers, each reading the output of the one below; default 1.
        bidirectional: whether a second direction reads from the end; default False.
        dropout: probability, in training, that an element between two layers becomes 0;
            default 0.0.
        init: how the recurrent layers are initialised: None, as torch's; "uniform", "glorot",
            "orthogonal", "identity" or "forget_bias", by the function of `fastrnn.init`; or a
            callable that takes a layer and changes it in place, such as partial(init.orthogonal,
            gain=0.9). One that takes a `seed` is given one; default None.
        optimizer: "adam", "adamw", "rmsprop" or "sgd"; default "adam".
        optimizer_options: what else the optimiser takes, as {"momentum": 0.9}; None: nothing;
            default None.
        lr: learning rate; default 3e-3.
        lr_decay: the learning rate of epoch e, counted from 0, is lr * lr_decay**e; default 1.0.
        clip_norm: largest norm of the gradient, which is scaled down to it; None: any; default 1.0.
        clip_value: largest absolute value of an entry of the gradient, clipped before the norm is;
            None: any; default None.
        truncate: steps that a gradient goes back (truncated BPTT); None: all; default None.
        batch_size: sequences in an update; default 32.
        epochs: passes over all sequences; default 50.
        validation_fraction: fraction of the sequences, at most 0.9, that is drawn at random and not
            learnt from. If it is above 0, the parameters of the epoch with the lowest validation
            loss are kept; default 0.0.
        patience: epochs in a row without a lower validation loss after which fit stops; None: it
            does not; default None.
        unknown: what becomes of a symbol in X that fit has not seen: "error", or "ignore": it is
            read as zeros, where a known one is read as a one among zeros; default "error".
        dtype: "float32" or "float64"; default "float32".
        seed: of the initial parameters, the order of batches, the held-out part and dropout; None:
            another at every fit; default 0.
        checkpoint: file in which fit keeps its state (extra `cli`), written every minute, and when
            fit ends, fails or is interrupted. If the file exists, fit goes on from it, bit for bit;
            options and data have to be the same, but `epochs` may grow. None: no file; default
            None.
        verbose: whether to show a progress bar (extra `cli`); or a function to call after each
            epoch, with the number of epochs done and of all; default False.

    Attributes:
        n_outputs_: K; None where y is (N,).
        rnn_: the recurrent layer, live.
        head_: the linear layer, live.
        history_: dict of lists, one entry an epoch: "loss", the mean over its updates,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I, the size of the last axis of X, or the number of symbols.
        feature_names_in_: (I,) the names of the columns; only where X was tables that have any.

    Example:
        >>> x = np.random.default_rng(0).random((64, 5, 1))
        >>> model = RNNRegressor(16, lr=0.02, epochs=40).fit(x, x.mean(axis=(1, 2)))
        >>> model.score(x, x.mean(axis=(1, 2))) > 0.9
        True
    """

    learnt = (*Estimator.learnt, "n_outputs_")
    _kind = "regressor"
    _names = ("rnn", "head")

    def fit(self, X: Any, y: Any, lengths: Any = None, *, sample_weight: Any = None) -> Self:
        """Learn from sequences and their numbers.

        Args:
            X: a list of arrays (T_n, I) of floats; of strings; of sequences of integers or words;
                or one padded array, (N, T, I) of floats or (N, T) of integers.
            y: (N,) or (N, K) floats.
            lengths: (N,) of the sequences in a padded array; None: all T.
            sample_weight: (N,) numbers of at least 0: how much each sequence counts; one of
                weight 2 as if it were there twice, one of weight 0 not at all; None: all alike.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X, y and what is in
                the checkpoint do not fit.
            OSError: the checkpoint cannot be read or written.
            FloatingPointError: training diverged.
        """
        with self._fitting():
            x = self._learn_input(X, lengths)
            targets = self._targets(y)
            self._check_count(len(x.lengths), len(targets))
            self.n_outputs_: int | None = None if targets.ndim == 1 else targets.shape[1]
            columns = in_dtype(self.owner, "y", targets.reshape(len(targets), -1), self.dtype)
            weights = weighting.sample_weights(self.owner, sample_weight, len(targets))
            losses = partial(self._losses, x, columns)
            return self._train(losses, x.lengths, weights=weighting.per_sequence(weights))

    def predict(self, X: Any, lengths: Any = None) -> NDArray:
        """Return (N,) or (N, K) numbers, as y had in fit.

        Args:
            X: N sequences, of the kind that fit had.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not of the kind that fit had.
        """
        x = self._known_input(X, lengths)
        answers = many_to_one.answers(self.rnn_, self.head_, x)
        return answers[:, 0] if self.n_outputs_ is None else answers

    def score(self, X: Any, y: Any, lengths: Any = None, *, sample_weight: Any = None) -> float:
        """Return R^2, the mean over columns of 1 - squared error / variance, as scikit-learn does.

        Args:
            X: N sequences, of the kind that fit had.
            y: (N,) or (N, K) floats.
            lengths: (N,) of the sequences in a padded array; None: all T.
            sample_weight: (N,) how much each sequence counts; None: all alike.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X or y is not of the kind that fit had.
        """
        predicted, right = self.predict(X, lengths), self._targets(y)
        if predicted.shape != right.shape:
            raise ValueError(
                f"{self.owner}: y has shape {right.shape}; expected {predicted.shape}."
            )
        weights = weighting.sample_weights(self.owner, sample_weight, len(right))
        count = np.ones(len(right)) if weights is None else weights
        error = count @ np.square(right - predicted.astype(np.float64))
        spread = count @ np.square(right - np.average(right, axis=0, weights=weights))
        with np.errstate(divide="ignore", invalid="ignore"):
            constant = np.where(error == 0, 1.0, 0.0)  # of a column without spread, as scikit-learn
            return float(np.where(spread > 0, 1 - error / spread, constant).mean())

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is out of its range."""
        super().check()
        self._check_direction("the reverse direction ends at the first step")

    def _targets(self, y: Any) -> NDArray:
        return numbers(self.owner, "y", y, {1: "(N,)", 2: "(N, K)"})

    def _make(self, seeds: list[int]) -> None:
        self.rnn_, self.head_ = network.read_out(
            self, self.n_features_in_, self.n_outputs_ or 1, seeds, self.bidirectional
        )

    def _losses(self, *batch: Any, **weights: Any) -> Iterator[Loss]:
        return many_to_one.losses(self, weighting.squared_error, *batch, **weights)
