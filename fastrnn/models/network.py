"""How layers are put together: made from options, and a recurrent layer under a linear one.

No model and no training loop is here. What a state is, is in states.py.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import init
from fastrnn.models.options import Options
from fastrnn.models.sequences import Sequences
from fastrnn.models.states import State
from fastrnn.models.weights import cross_entropy
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear
from fastrnn.nn.module import Module
from fastrnn.nn.registry import layer_class

Grads = list[dict[str, NDArray]]  # of each part of a network, by parameter
_INITS = (init.uniform, init.glorot, init.orthogonal, init.identity, init.forget_bias)


class Loss(NamedTuple):
    """The loss of one update.

    Attributes:
        value: a mean.
        weight: of how many sequences or steps.
        gradients: computes its gradient, for each part of the network.
        state: in which the next piece of the batch starts.
        last: no piece of the batch follows.
    """

    value: float
    weight: int
    gradients: Callable[[], Grads]
    state: State = None
    last: bool = True


def recurrent(
    options: Options, input_size: int, hidden_size: int, bidirectional: bool, seed: int
) -> RecurrentLayer:
    """Return a recurrent layer as the options say.

    Args:
        options: checked.
        input_size: I.
        hidden_size: H.
        bidirectional: whether it has two directions.
        seed: of its parameters and of dropout.
    """
    kind, chosen = layer_class(options.cell)
    own: dict[str, Any] = dict(chosen)
    layer = kind(
        input_size,
        hidden_size,
        options.num_layers,
        dropout=options.dropout,
        bidirectional=bidirectional,
        dtype=options.dtype,
        seed=seed,
        **own,
    )
    if options.init is not None:
        initialise = options.init if callable(options.init) else _init(options.owner, options.init)
        wanted = inspect.signature(initialise).parameters.get("seed")
        initialise(layer, **({"seed": seed} if wanted and wanted.default is None else {}))
    return layer


def read_out(
    options: Options, input_size: int, outputs: int, seeds: Sequence[int], bidirectional: bool
) -> tuple[RecurrentLayer, Linear]:
    """Return a recurrent layer as the options say, and a linear one that reads its output.

    Args:
        options: checked.
        input_size: I.
        outputs: of the linear layer.
        seeds: of the recurrent layer, and of the linear one.
        bidirectional: whether the recurrent layer has two directions.
    """
    rnn = recurrent(options, input_size, options.hidden_size, bidirectional, seeds[0])
    width = rnn.hidden_size * (1 + bidirectional)
    return rnn, Linear(width, outputs, dtype=options.dtype, seed=seeds[1])


def _init(owner: str, wanted: str) -> Callable:
    known = {function.__name__: function for function in _INITS}
    if wanted not in known:
        raise ValueError(
            f"{owner}: init must be None, a callable or one of {', '.join(known)}; got {wanted!r}."
        )
    return known[wanted]


def before_last(rnn: RecurrentLayer, x: Sequences, steps: int | None) -> tuple[State, Sequences]:
    """Read all but the last `steps` steps of each sequence, without a gradient or dropout.

    Args:
        rnn: a layer of one direction.
        x: the sequences.
        steps: how many are left; None: all, and nothing is read.

    Returns:
        The state that the rest starts in, and the rest.
    """
    if steps is None or steps >= x.lengths.max():
        return None, x
    padded, lengths = x.before(steps).padded()
    return rnn(padded, lengths=lengths)[1], x.last(steps)


def final_state(rnn: RecurrentLayer, x: Sequences, steps: int | None, training: bool):
    """Read sequences; return the final state, and the gradient of the parameters for one at it.

    Args:
        rnn: the layer.
        x: the sequences.
        steps: how many the gradient goes back from the end; None: all.
        training: apply dropout.
    """
    state, rest = before_last(rnn, x, steps)
    padded, lengths = rest.padded()
    (_, state), pullback = rnn.vjp(padded, state, lengths, training)
    return state, lambda d_state: pullback(None, d_state, wrt_input=False).params


def reader(rnn: RecurrentLayer, values: NDArray) -> RecurrentLayer:
    """Return the layer that reads sequences; the index after its last one is read as zeros.

    One more column of the weights, of zeros, does that. It is nowhere but here, so that no training
    changes it, and no file has it.

    Args:
        rnn: the layer.
        values: of the sequences; if there are floats, or known symbols only, the layer reads them.
    """
    unknown = rnn.spec.input_size
    if values.ndim > 1 or values.max(initial=0) < unknown:
        return rnn
    params = {
        name: np.pad(value, ((0, 0), (0, 1))) if name.startswith("weight_ih_l0") else value
        for name, value in rnn.params.items()
    }
    return rnn.with_parameters(params, rnn.spec._replace(input_size=unknown + 1))


def outputs(rnn: RecurrentLayer, head: Linear, x: Sequences) -> NDArray:
    """Return the network's output at each real step, in the order of `Sequences.steps`."""
    padded, lengths = x.padded()
    output, _ = rnn(padded, lengths=lengths)
    rows, real = output.reshape(-1, output.shape[-1]), x.real()
    return head(rows if real is None else rows[real])


def next_logits(
    rnn: RecurrentLayer, head: Linear, symbols: NDArray, state: State
) -> tuple[NDArray, State]:
    """Read one step of each sequence, symbols (B,); return logits (B, V) and the new state."""
    output, state = rnn(symbols[None], state)
    return head(output[0]), state


class Steps(NamedTuple):
    """The loss of what a network predicts at every step.

    Attributes:
        loss: the mean over the real steps.
        weight: how many real steps there are, unknown targets not counted.
        state: in which the layer ends.
        gradients: computes the Gradients of the layer, and those of the head's parameters.
    """

    loss: float
    weight: int
    state: State
    gradients: Callable[[], tuple[Gradients, dict[str, NDArray]]]


def predict_steps(
    rnn: RecurrentLayer,
    head: Linear,
    x: Sequences,
    targets: NDArray,
    state: State,
    training: bool,
    weights: NDArray | None = None,
) -> Steps:
    """Read sequences, and compare the prediction at each real step with its target.

    Args:
        rnn: reads.
        head: predicts; it is given real steps only.
        x: the sequences.
        targets: the right index at each step, in the order of `Sequences.steps`.
        state: the initial state; None: zero.
        training: apply dropout.
        weights: of the targets; None: all 1.
    """
    padded, lengths = x.padded()
    (output, state), pull = rnn.vjp(padded, state, lengths, training)
    rows, real = output.reshape(-1, output.shape[-1]), x.real()
    logits, pull_head = head.vjp(rows if real is None else rows[real])
    loss, d_logits = cross_entropy(logits, targets, weights)

    def gradients() -> tuple[Gradients, dict[str, NDArray]]:
        d_rows, _, d_head = pull_head(d_logits)
        assert d_rows is not None  # of floats
        if real is None:
            return pull(d_rows.reshape(output.shape), wrt_input=False), d_head
        d_output = np.zeros_like(rows)
        d_output[real] = d_rows
        return pull(d_output.reshape(output.shape), wrt_input=False), d_head

    count = int(np.count_nonzero(targets < head.out_features))
    return Steps(loss, count, state, gradients)


def step_losses(
    rnn: RecurrentLayer,
    head: Linear,
    pieces: Sequence[tuple[Sequences, ...]],
    state: State,
    training: bool,
    gradients: Callable[[Steps, Any], Grads] | None = None,
    start: Callable[[], tuple[State, Any]] | None = None,
) -> Iterator[Loss]:
    """Yield the losses of a batch that is read piece by piece, by a layer and a linear one.

    The state goes on from piece to piece, its gradient does not (truncated BPTT).

    Args:
        rnn: reads.
        head: predicts.
        pieces: what is read, the targets, and where steps count differently, their weights.
        state: in which the first piece starts; None: zero.
        training: apply dropout.
        gradients: returns the gradient of a piece for each part of the network, given what was
            found and, for the first piece, what `start` returned besides, else None. None: of the
            layer and the linear one.
        start: computes the state in which the first piece starts, and what its gradient needs;
            None: that is `state`.
    """
    pull = None
    if start is not None:
        state, pull = start()
    for k, (piece, *others) in enumerate(pieces, 1):
        targets, *weights = (other.steps() for other in others)
        found = predict_steps(rnn, head, piece, targets, state, training, *weights)
        state, compute = found.state, partial(gradients or _parameters, found, pull)
        yield Loss(found.loss, found.weight, compute, state, k == len(pieces))
        pull = None


def _parameters(found: Steps, _: Any) -> Grads:
    d_rnn, d_head = found.gradients()
    return [d_rnn.params, d_head]


def no_gradient(part: Module) -> dict[str, NDArray]:
    """Return zeros: the gradient of parameters that a loss does not depend on."""
    return {name: np.zeros_like(value) for name, value in part.params.items()}


def dropout_states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the random numbers of dropout are, in each part that draws any."""
    return {
        name: part.dropout_generator.bit_generator.state
        for name, part in parts.items()
        if isinstance(part, RecurrentLayer) and part.dropout and part.num_layers > 1
    }


def set_dropout_states(parts: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Go on with the random numbers of dropout from where `dropout_states` was taken."""
    for name, state in found.items():
        parts[name].dropout_generator.bit_generator.state = state
