"""A vector or nothing in, a sequence out: the network of RNNGenerator.

A recurrent layer reads a symbol, a linear one on its output predicts the next; where there are
vectors, another linear layer, the bridge, makes a vector the initial h of every layer. Sampling and
search are not here.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import network, states
from fastrnn.models.network import Grads, Loss
from fastrnn.models.sequences import Sequences
from fastrnn.models.states import State
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear


class Writer(NamedTuple):
    """The layers; `bridge` is None where there are no vectors."""

    rnn: RecurrentLayer
    head: Linear
    bridge: Linear | None

    def first_state(self, vectors: NDArray | None) -> State:
        """Return the initial state for vectors (B, K), or None for none."""
        if self.bridge is None or vectors is None:
            return None
        return self._state(self.bridge(vectors))

    def losses(
        self,
        pieces: list[Sequences],
        vectors: NDArray | None,
        training: bool,
        piece: int,
        state: State,
    ) -> Iterator[Loss]:
        """Return the losses of a batch that is read piece by piece (truncated BPTT).

        Args:
            pieces: of the sequences; each step is to predict the next.
            vectors: (B, K), of the sequences; None: none.
            training: apply dropout.
            piece: the first to read.
            state: in which it starts, if it is not the first of all.
        """
        start = None
        if self.bridge is not None and vectors is not None and not piece:
            start = partial(self._bridged, self.bridge, vectors)
        both = [(part, part.next()) for part in pieces[piece:]]
        return network.step_losses(
            self.rnn, self.head, both, state, training, self._gradients, start
        )

    def _bridged(self, bridge: Linear, vectors: NDArray) -> tuple[State, Callable[..., Any]]:
        bridged, pull = bridge.vjp(vectors)
        return self._state(bridged), pull

    def _gradients(self, found: network.Steps, pull_bridge: Callable[..., Any] | None) -> Grads:
        d_rnn, d_head = found.gradients()
        grads = [d_rnn.params, d_head]
        if self.bridge is None:
            return grads
        if pull_bridge is None:  # a later piece, which takes its state as it is
            return [*grads, network.no_gradient(self.bridge)]
        d_h = states.hidden(d_rnn.state).swapaxes(0, 1)
        return [*grads, pull_bridge(d_h.reshape(len(d_h), -1)).params]

    def _state(self, bridged: NDArray) -> State:
        """Return the state of every layer, (L, B, H), from the bridge's (B, L * H)."""
        layers, units = self.rnn.num_layers, self.rnn.hidden_size
        h = bridged.reshape(len(bridged), layers, units).swapaxes(0, 1)
        return states.from_hidden(self.rnn, np.ascontiguousarray(h))
