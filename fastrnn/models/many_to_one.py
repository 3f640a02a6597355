"""A sequence in, one answer out: the network of RNNClassifier and RNNRegressor.

A recurrent layer, and a linear one on the final h of its top layer, both directions side by side.
What an answer means is up to the two.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network, states
from fastrnn.models.network import Grads, Loss
from fastrnn.models.sequences import Sequences
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear

Criterion = Callable[[NDArray], tuple[float, NDArray]]  # answers -> mean loss, gradient at them


def loss(
    rnn: RecurrentLayer,
    head: Linear,
    x: Sequences,
    criterion: Criterion,
    truncate: int | None,
    training: bool,
) -> Loss:
    """Return the loss of a batch.

    Args:
        rnn: reads.
        head: answers.
        x: the sequences of the batch.
        criterion: compares the answers with what is right.
        truncate: how many steps the gradient goes back from the end of each sequence; the steps
            before are read without a gradient, and without dropout. None: all.
        training: apply dropout.
    """
    state, pull = network.final_state(rnn, x, truncate, training)
    answers, pull_head = head.vjp(states.top(rnn, state))
    value, d_answers = criterion(answers)

    def gradients() -> Grads:
        d_head = pull_head(d_answers)
        assert d_head.input is not None  # of floats
        return [pull(states.gradient_from_top(rnn, d_head.input, state)), d_head.params]

    return Loss(value, len(x.lengths), gradients)


def losses(
    model: Any,
    compare: Callable[..., tuple[float, NDArray]],
    x: Sequences,
    targets: NDArray,
    rows: NDArray,
    training: bool,
    *place: Any,
    weights: Sequences | None = None,
) -> Iterator[Loss]:
    """Yield the loss of a batch, as training.py asks for it.

    Args:
        model: the estimator, for its layers and its `truncate`.
        compare: takes answers, and by name their targets and weights, as a Criterion does.
        x: all sequences.
        targets: what is right for each.
        rows: the batch.
        training: apply dropout.
        place: where a long batch goes on, which has no meaning here: it is read at once.
        weights: one for each sequence; None (default): all alike.
    """
    some = None if weights is None else weights.values[rows]
    criterion = partial(compare, targets=targets[rows], weights=some)
    yield loss(model.rnn_, model.head_, x.select(rows), criterion, model.truncate, training)


def answers(rnn: RecurrentLayer, head: Linear, x: Sequences) -> NDArray:
    """Return (N, outputs): the answer for each sequence.

    Args:
        rnn: reads.
        head: answers.
        x: N sequences.
    """
    found = np.empty((len(x.lengths), head.out_features), head.dtype)
    rnn = network.reader(rnn, x.values)
    for rows in batches.sorted_by_length(x.lengths):
        padded, some = x.select(rows).padded()
        _, state = rnn(padded, lengths=some)
        found[rows] = head(states.top(rnn, state))
    return found
