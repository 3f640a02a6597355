"""RNNTagger: a label for every step of a sequence.

How a layer reads sequences in pieces is in network.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network, reading
from fastrnn.models import weights as weighting
from fastrnn.models.estimator import Estimator
from fastrnn.models.network import Loss
from fastrnn.models.sampling import softmax
from fastrnn.models.sequences import Sequences
from fastrnn.models.states import State
from fastrnn.models.targets import check_kind, classes


@dataclass(eq=False, repr=False, kw_only=True)
class RNNTagger(Estimator):
    """Many to many, in step: reads a sequence and labels each step of it.

    A recurrent layer, of two directions unless told otherwise, so that what comes later counts
    too; a linear one on its output at each step; softmax and cross-entropy, the mean over the real
    steps of a batch. With `truncate=k`, and one direction, a batch is read in pieces of k steps,
    one update each: the state goes on, its gradient does not.

    Args:
        hidden_size: H, units of each layer and direction; default 64.
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        num_layers: recurrent layers, each reading the output of the one below; default 1.
        bidirectional: whether a second direction reads from the end; default True.
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
        class_weight: how much each class counts: a dict from class to weight, 1 where a class is
            missing; "balanced": S / (C * the number of steps of the class), of S; None: all
            alike; default None.

    Attributes:
        classes_: (C,) the labels, sorted.
        rnn_: the recurrent layer, live.
        head_: the linear layer, live.
        history_: dict of lists, one entry an epoch: "loss", the mean over its updates,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I, the size of the last axis of X, or the number of symbols.
        feature_names_in_: (I,) the names of the columns; only where X was tables that have any.

    Example:
        >>> model = RNNTagger(8, lr=0.05, epochs=60)
        >>> _ = model.fit(["aab", "ba", "abba"], ["sse", "es", "seee"])
        >>> "".join(model.predict(["ab"])[0])
        'se'
    """

    bidirectional: bool = True
    class_weight: Mapping[Any, float] | str | None = None

    learnt = (*Estimator.learnt, "classes_")
    _names = ("rnn", "head")

    def fit(self, X: Any, y: Any, lengths: Any = None, *, sample_weight: Any = None) -> Self:
        """Learn from sequences and the labels of their steps.

        Args:
            X: a list of arrays (T_n, I) of floats; of strings; of sequences of integers or words;
                or one padded array, (N, T, I) of floats or (N, T) of integers.
            y: as many sequences of labels, each as long as its sequence of X: a list of strings, a
                list of sequences, or a padded array (N, T).
            lengths: (N,) of the sequences in padded arrays; None: all T.
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
            tags = self._tags(x, y, lengths)
            self.classes_: NDArray
            self.classes_, indices = classes(self.owner, tags.values)
            weights = weighting.of_classes(
                self.owner, self.class_weight, self.classes_, indices, self._each(x, sample_weight)
            )
            losses = partial(self._losses, x, tags._replace(values=indices))
            steps = None if weights is None else tags._replace(values=weights)
            return self._train(losses, x.lengths, weights=steps)

    def predict_proba(self, X: Any, lengths: Any = None) -> list[NDArray]:
        """Return for each sequence (T_n, C) probabilities, in the order of `classes_`.

        Args:
            X: N sequences, of the kind that fit had.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not of the kind that fit had.
        """
        x = self._known_input(X, lengths)
        return _apart(softmax(self._answers(x)), x)

    def predict(self, X: Any, lengths: Any = None) -> list[NDArray]:
        """Return for each sequence (T_n,) labels.

        Args:
            X: N sequences, of the kind that fit had.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not of the kind that fit had.
        """
        x = self._known_input(X, lengths)
        return _apart(self.classes_[self._answers(x).argmax(axis=1)], x)

    def score(self, X: Any, y: Any, lengths: Any = None, *, sample_weight: Any = None) -> float:
        """Return the accuracy over all steps.

        Args:
            X: N sequences, of the kind that fit had.
            y: as many sequences of labels, each as long as its sequence of X.
            lengths: (N,) of the sequences in a padded array; None: all T.
            sample_weight: (N,) how much each sequence counts; None: all alike.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X or y is not of the kind that fit had.
        """
        x = self._known_input(X, lengths)
        right = self._tags(x, y, lengths).values
        check_kind(self.owner, self.classes_, right)
        weights = self._each(x, sample_weight)
        said = self.classes_[self._answers(x).argmax(axis=1)]
        return float(np.average(said == right, weights=weights))

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is out of its range."""
        super().check()
        self._check_direction("the reverse direction needs all that comes later")
        weighting.check_class_weight(self.owner, self.class_weight)

    def _each(self, x: Sequences, sample_weight: Any) -> NDArray | None:
        """Return the weight of each step, which is that of its sequence."""
        found = weighting.sample_weights(self.owner, sample_weight, len(x.lengths))
        return None if found is None else np.repeat(found, x.lengths)

    def _tags(self, x: Sequences, y: Any, lengths: Any) -> Sequences:
        """Return the labels, end to end, checked."""
        tags, text = reading.read(self.owner, "y", y, lengths, None, labels=True)
        self._check_count(len(x.lengths), len(tags.lengths))
        if (x.lengths != tags.lengths).any():
            n = int(np.flatnonzero(x.lengths != tags.lengths)[0])
            raise ValueError(
                f"{self.owner}: X[{n}] has {x.lengths[n]} steps, and y[{n}] {tags.lengths[n]} "
                "labels; expected one for each step."
            )
        return tags._replace(values=tags.values.view("<U1")) if text else tags

    def _make(self, seeds: list[int]) -> None:
        self.rnn_, self.head_ = network.read_out(
            self, self.n_features_in_, len(self.classes_), seeds, self.bidirectional
        )

    def _losses(
        self,
        x: Sequences,
        tags: Sequences,
        rows: NDArray,
        training: bool,
        piece: int = 0,
        state: State = None,
        weights: Sequences | None = None,
    ) -> Iterator[Loss]:
        given = (x, tags) if weights is None else (x, tags, weights)
        each = (some.select(rows).pieces(self.truncate) for some in given)
        pieces = list(zip(*each, strict=True))[piece:]
        return network.step_losses(self.rnn_, self.head_, pieces, state, training)

    def _answers(self, x: Sequences) -> NDArray:
        """Return (S, C), for the steps of all sequences end to end."""
        answers = np.empty((x.lengths.sum(), len(self.classes_)), self.head_.dtype)
        rnn = network.reader(self.rnn_, x.values)
        place = Sequences(answers, np.cumsum(x.lengths) - x.lengths, x.lengths)
        for rows in batches.sorted_by_length(x.lengths):
            said = network.outputs(rnn, self.head_, x.select(rows))
            answers[place.select(rows).places()] = said
        return answers


def _apart(values: NDArray, x: Sequences) -> list[NDArray]:
    """Return the values of each sequence, of those of all, end to end."""
    return np.split(values, np.cumsum(x.lengths)[:-1])
