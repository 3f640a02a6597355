"""The shapes that are measured, each with the reason why it is there; no contender is named."""

from typing import NamedTuple


class Shape(NamedTuple):
    """T steps of a batch of B, input size I, hidden size H."""

    time: int
    batch: int
    input: int
    hidden: int


SHAPES = {
    "one_step": Shape(1, 1, 64, 64),  # a policy or a server answers one request: overhead
    "audio": Shape(1000, 1, 1, 32),  # a small network over samples: latency of a step
    "forecast": Shape(168, 64, 8, 128),  # a week of hours, few features
    "keywords": Shape(100, 16, 40, 128),  # filter banks of a second of speech
    "text": Shape(128, 32, 103, 256),  # a character model
    "wide": Shape(50, 64, 512, 512),  # weights larger than one core's L2
}

# How time and memory grow with the length of the sequence, all else small.
GROWTH = [Shape(2**n, 1, 64, 64) for n in range(5, 15, 1)]
