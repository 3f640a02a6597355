"""sb3-contrib's recurrent policies (RecurrentPPO): one call of the LSTM in place of their loop.

A policy's `_process_sequence` calls its LSTM step by step as soon as one episode begins in a batch
of sequences. `fastrnn.torch.accelerate(model.policy)` puts another function in its place, on the
policy alone: it hands the LSTM the starts of episodes as `reset=`. Neither a policy of its own nor
a patch of the library, which is not imported: all policies of the class stay what they are.
"""

import sys
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch import Tensor

from fastrnn.torch.modules import LSTM

_NAME = "_process_sequence"


class ProcessSequence:
    """What takes the place of a policy's `_process_sequence`; it has no state.

    Copies of the policy have it too. Files hold sb3-contrib's own function, so that they are read
    where this package is not installed.
    """

    def __call__(
        self,
        features: Tensor,
        lstm_states: tuple[Tensor, Tensor],
        episode_starts: Tensor,
        lstm: Any,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run an LSTM on sequences in which episodes begin, as sb3-contrib's own does.

        At a start the state is zero even where it was not finite; sb3-contrib, which multiplies by
        zero, keeps the NaN. Dropout draws all steps' masks at once. An LSTM that is not ours, is
        batch_first or is bidirectional is run by sb3-contrib's own.

        Args:
            features: (B * T, I), row by row.
            lstm_states: (h_0, c_0), each (num_layers, B, H).
            episode_starts: (B * T,), row by row: other than 0 where an episode begins.
            lstm: the policy's torch.nn.LSTM.

        Returns:
            The output (B * T, H), row by row, and (h_n, c_n).
        """
        if not isinstance(lstm, LSTM) or lstm.batch_first or lstm.bidirectional:
            return _own()(features, lstm_states, episode_starts, lstm)
        batch = lstm_states[0].shape[1]
        x = features.reshape(batch, -1, lstm.input_size).transpose(0, 1)
        starts = episode_starts.reshape(batch, -1).transpose(0, 1) != 0
        output, states = lstm(x, lstm_states, reset=starts)
        return output.transpose(0, 1).flatten(0, 1), states

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return getattr, (_policy_class(), _NAME)


process_sequence = ProcessSequence()
# Another process of this program gets what is here; the string is the name above.
ForkingPickler.register(ProcessSequence, lambda _: "process_sequence")


def accelerate(policy: Any) -> None:
    """Have a policy run its LSTM in one call, unless it has a way of its own."""
    if not reason(policy):
        setattr(policy, _NAME, process_sequence)


def restore(policy: Any) -> None:
    """Undo `accelerate`."""
    if is_accelerated(policy):
        delattr(policy, _NAME)


def is_accelerated(policy: Any) -> bool:
    """Return whether this policy runs its LSTM in one call."""
    return isinstance(getattr(policy, _NAME), ProcessSequence)


def reason(policy: Any) -> str:
    """Return why a policy is left alone, or nothing."""
    if is_accelerated(policy) or getattr(policy, _NAME) is _own():
        return ""
    return f"a {_NAME} of its own ({type(policy).__module__}), which may differ"


def _own() -> Callable:
    return getattr(_policy_class(), _NAME)


def _policy_class() -> type:
    """Return the class of sb3-contrib's; it has been imported, for there is a policy."""
    return sys.modules["sb3_contrib.common.recurrent.policies"].RecurrentActorCriticPolicy
