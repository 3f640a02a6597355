"""RNNGenerator: from a vector, or from nothing, to a sequence; or going on from a prompt."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import network, sampling, sequences, text, vocabulary
from fastrnn.models.estimator import Estimator, numbers
from fastrnn.models.search import write
from fastrnn.models.sequences import Sequences
from fastrnn.models.training import Loss, evaluate
from fastrnn.nn.linear import Linear


@dataclass(eq=False, repr=False, kw_only=True)
class RNNGenerator(Estimator):
    """One to many: learns to write sequences, one symbol after another.

    A recurrent layer reads a symbol, and a linear one on its output says which comes next; softmax
    and cross-entropy, the mean over the real steps of a batch. A batch is read in pieces of
    `truncate` steps, one update each: the state goes on, its gradient does not. What `fit` is given
    decides what is learnt:

    - one long text, `fit(text)`: it is cut into `batch_size` streams that are read side by side;
      an epoch is one pass. With `validation_fraction` the end of the text is held out.
    - many sequences, `fit(X)`: each begins and ends with a boundary symbol.
    - a vector for each of them, `fit(X, y)`: it becomes the initial h of every layer, by a linear
      layer, the bridge.

    The other options are those of `fastrnn.models.options.Options`, the other attributes those of
    Estimator.

    Attributes:
        vocabulary_: the sorted symbols. A boundary comes behind them.
        n_features_in_: K, the size of a vector; without vectors the number of symbols.
        rnn_: the recurrent layer, live.
        head_: the linear one.
        bridge_: the one from a vector; None: there is none.

    Source: Mikolov et al. 2010, "Recurrent neural network based language model"; the vector:
    Vinyals et al. 2015, arXiv:1411.4555, whose image comes as a first input instead.

    Example:
        >>> model = RNNGenerator(16, lr=0.02, truncate=8, batch_size=4).fit("hello world, " * 30)
        >>> model.generate("hel", length=9, temperature=0)
        'lo world,'
        >>> digits = RNNGenerator(16, lr=0.02, epochs=100).fit(np.eye(3), ["zero", "one", "two"])
        >>> digits.predict(np.eye(3)[[2, 0]])
        ['two', 'zero']
    """

    truncate: int | None = 128

    _learnt = (*Estimator._learnt, "is_text_", "has_vectors_", "longest_")
    _names = ("rnn", "head", "bridge")

    def fit(self, X: Any, y: Any = None, lengths: Any = None) -> Self:
        """Learn from a text, from sequences, or from vectors and the sequence for each.

        Args:
            X: one str, or one array (S,) of integers: a text; or sequences: a list of strings, a
                list of sequences of integers or words, or a padded array of integers (N, T); with
                y, (N, K) floats.
            y: (N,) sequences.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X and y do not fit.
            FloatingPointError: training diverged.
        """
        self._begin()
        self.is_text_ = y is None and _is_text(X)
        if self.is_text_:
            return self._fit_text(X)
        name, given = ("X", X) if y is None else ("y", y)
        read, self.vocabulary_ = sequences.learn_symbols(self._owner, name, given, lengths)
        self.longest_ = int(read.lengths.max())
        vectors = None if y is None else self._vectors(X)
        if vectors is not None:
            self._check_count(len(vectors), len(read.lengths))
        self.n_features_in_ = len(self.vocabulary_) if vectors is None else vectors.shape[1]
        self.has_vectors_ = vectors is not None
        whole = read.with_boundaries(len(self.vocabulary_))
        return self._train(partial(self._losses, whole, vectors), whole.lengths)

    def _fit_text(self, X: Any) -> Self:
        read, self.vocabulary_ = sequences.learn_symbols(self._owner, "X", [X], None)
        self.n_features_in_, self.has_vectors_ = len(self.vocabulary_), False
        self.longest_ = len(read.values)
        indices = read.values
        held_out = int(np.ceil(len(indices) * self.validation_fraction))
        learnt, held_out = np.split(indices, [len(indices) - held_out])
        streams = text.streams(learnt, self.batch_size, self.truncate)

        def validate() -> float:
            return text.mean_loss(self.rnn_, self.head_, held_out)

        if self.validation_fraction and len(held_out) < 2:
            raise ValueError(
                f"{self._owner}: validation_fraction = {self.validation_fraction} of X is "
                f"{len(held_out)} symbol; expected at least two."
            )
        return self._train(
            partial(self._losses, streams, None),
            streams.lengths,
            validate if self.validation_fraction else None,
        )

    def generate(
        self,
        prompt: Any = "",
        length: int = 500,
        temperature: float = 1.0,
        seed: int = 0,
        vector: Any = None,
    ) -> str | list:
        """Return what the network writes behind a prompt: a str, or a list of symbols.

        Args:
            prompt: what to go on from; after a text, an empty one stands for the start of a line.
            length: how many symbols at most; after sequences, a boundary ends it before.
            temperature: divides the logits; 0 always takes the likeliest symbol.
            seed: of the random numbers.
            vector: (K,), where fit had vectors.

        Raises:
            NotFittedError: there is no network yet.
            ValueError: an argument is out of its range.
        """
        self._check_fitted()
        if (vector is None) == (self.bridge_ is not None):
            what = "has no vectors" if self.bridge_ is None else "begins with one: give vector="
            raise ValueError(f"{self._owner}: this network {what}.")
        before = sampling.prompted(prompt, self._symbols)
        boundary = None if self.is_text_ else len(self._symbols)
        if boundary is not None:
            before = [boundary, *before]
        state = None
        if self.bridge_ is not None:
            state = self._first_state(
                self.bridge_(self._vectors(np.asarray(vector)[None], self.n_features_in_))
            )
        written = []
        for index in sampling.continued(
            self.rnn_,
            self.head_,
            before or [text.first_symbol(self._symbols)],
            state=state,
            length=length,
            temperature=temperature,
            seed=seed,
        ):
            if index == boundary:
                break
            written.append(index)
        return vocabulary.decode(written, self._symbols)

    def predict(
        self, X: Any, *, beam: int = 1, max_length: int | None = None, length_penalty: float = 0.6
    ) -> list:
        """Return the sequences that are written for vectors: strings, or lists of symbols.

        Args:
            X: (N, K) floats.
            beam: as in Seq2Seq.predict; and so are the others.
            max_length: as in Seq2Seq.predict.
            length_penalty: as in Seq2Seq.predict.

        Raises:
            NotFittedError: there is no network yet.
            ValueError: X is not such as fit saw, or fit saw no vectors: use `generate`.
        """
        self._check_fitted()
        if self.bridge_ is None:
            raise ValueError(f"{self._owner}: fit had no vectors to predict for; use generate.")
        state = self._first_state(self.bridge_(self._vectors(X, self.n_features_in_)))
        return write(
            self._owner,
            self.rnn_,
            self.head_,
            state,
            len(X),
            self._symbols,
            self.longest_,
            beam=beam,
            max_length=max_length,
            length_penalty=length_penalty,
        )

    def score(self, X: Any, y: Any = None, lengths: Any = None) -> float:
        """Return the mean log-likelihood of a symbol, boundaries included: at most 0.

        Args:
            X: as in fit.
            y: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X or y is not such as fit saw.
        """
        self._check_fitted()
        name, given = ("X", [X] if self.is_text_ else X) if y is None else ("y", y)
        read = sequences.known(self._owner, name, given, lengths, None, self._symbols, 0)
        if self.is_text_:
            if len(read.values) < 2:
                raise ValueError(f"{self._owner}: X has one symbol; expected at least two.")
            return -text.mean_loss(self.rnn_, self.head_, read.values)
        vectors = None if self.bridge_ is None else self._vectors(X, self.n_features_in_)
        if vectors is not None:
            self._check_count(len(vectors), len(read.lengths))
        whole = read.with_boundaries(len(self._symbols))
        rows = np.arange(len(whole.lengths))
        return -evaluate(partial(self._losses, whole, vectors), whole.lengths, rows)

    @property
    def _symbols(self) -> vocabulary.Vocabulary:
        assert self.vocabulary_ is not None  # of what writes symbols
        return self.vocabulary_

    def _check(self) -> None:
        super()._check()
        if self.bidirectional:
            raise ValueError(
                f"{self._owner}: bidirectional=True: what is still to be written cannot be read."
            )

    def _vectors(self, X: Any, size: int | None = None) -> NDArray:
        """Return vectors (N, K), checked; `size` is what K has to be."""
        found = numbers(self._owner, "X", X, {2: "(N, K)"}).astype(self.dtype)
        if size is not None and found.shape[1] != size:
            raise ValueError(
                f"{self._owner}: X has vectors of {found.shape[1]} numbers, and in fit they had "
                f"{size}."
            )
        return found

    def _make(self, seeds: list[int]) -> None:
        symbols = len(self._symbols) + (not self.is_text_)
        self.rnn_, self.head_ = network.read_out(self, symbols, symbols, seeds, False)
        if self.has_vectors_:
            wide = self.num_layers * self.hidden_size
            self.bridge_ = Linear(self.n_features_in_, wide, dtype=self.dtype, seed=seeds[2])
        else:
            self.bridge_ = None

    def _first_state(self, bridged: NDArray) -> network.State:
        """Return the state of every layer, (L, B, H), from the bridge's (B, L * H)."""
        h = bridged.reshape(len(bridged), self.num_layers, self.hidden_size).swapaxes(0, 1)
        return network.only_first(self.rnn_, np.ascontiguousarray(h))

    def _losses(
        self, whole: Sequences, vectors: NDArray | None, rows: NDArray, training: bool
    ) -> Iterator[Loss]:
        state = pull_bridge = None
        if self.bridge_ is not None and vectors is not None:
            bridged, pull_bridge = self.bridge_.vjp(vectors[rows])
            state = self._first_state(bridged)
        for piece in whole.select(rows).pieces(self.truncate):
            found = network.predict_steps(
                self.rnn_, self.head_, piece, piece.next().steps(), state, training
            )
            state = found.state
            yield Loss(found.loss, found.weight, partial(self._gradients, found, pull_bridge))
            pull_bridge = None

    def _gradients(self, found: network.Steps, pull_bridge) -> list[dict[str, NDArray]]:
        d_rnn, d_head = found.gradients()
        grads = [d_rnn.params, d_head]
        if self.bridge_ is None:
            return grads
        if pull_bridge is None:  # of a later piece: its state is taken as it came
            return [*grads, network.no_gradient(self.bridge_)]
        d_h = network.first(d_rnn.state).swapaxes(0, 1)
        return [*grads, pull_bridge(d_h.reshape(len(d_h), -1)).params]


def _is_text(X: Any) -> bool:
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype.kind in "iu"
    return isinstance(X, str)
