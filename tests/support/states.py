"""A layer's state as a tuple of its members, and back: an LSTM has two, `(h, c)`, others one, h."""


def members(state):
    """Return a state as a tuple of its members."""
    return state if isinstance(state, tuple) else (state,)


def bare(states):
    """Return what `members` was given: the state itself where it has one member."""
    return states[0] if len(states) == 1 else tuple(states)
