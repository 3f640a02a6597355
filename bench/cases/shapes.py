"""The shapes that are measured, and the reason for each."""

from typing import NamedTuple


class Shape(NamedTuple):
    """T steps of a batch of B, input size I, hidden size H."""

    time: int
    batch: int
    input: int
    hidden: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


def parse(text: str) -> Shape:
    """Return the shape given as text, T,B,I,H.

    Raises:
        ValueError: the text has another form.
    """
    numbers = text.split(",")
    if len(numbers) != 4 or not all(n.isdecimal() and int(n) for n in numbers):
        raise ValueError(f"shape {text!r}: expected four whole numbers T,B,I,H, e.g. 100,16,40,128")
    return Shape(*map(int, numbers))


SHAPES = {
    "one_step": Shape(1, 1, 64, 64),  # a policy or a server answers one request: overhead
    "one_step_wide": Shape(1, 1, 512, 512),  # the same, with weights that fill a cache
    "decoder": Shape(1, 32, 256, 256),  # one step of beam search or of many users
    "tiny": Shape(100, 1, 16, 16),  # sensors, audio effects: latency alone counts
    "audio_stream": Shape(1000, 1, 1, 32),  # a small network over samples
    "forecast_b1": Shape(100, 1, 64, 64),  # one series at a time
    "forecast": Shape(168, 64, 8, 128),  # a week of hours, few features
    "speech_b1": Shape(100, 1, 256, 256),  # one speaker: the weights fill both L2
    "large_b1": Shape(100, 1, 512, 512),  # the weights fill the L3
    "keyword_spotting": Shape(100, 16, 40, 128),  # filter banks of a second of speech
    "odd_sizes": Shape(100, 9, 50, 100),  # nothing is a multiple of a vector
    "char_lm": Shape(128, 32, 103, 256),  # a character model
    "word_lm": Shape(35, 20, 650, 650),  # Zaremba et al. 2014, "medium"
    "square": Shape(100, 32, 256, 256),
    "wide": Shape(50, 64, 512, 512),  # weights larger than one core's L2
    "huge": Shape(20, 128, 1024, 1024),  # as near to one large product as a network comes
}

# `python -m bench report --grid N` adds N shapes drawn at random from this grid, with a fixed seed.
GRID = {
    "time": (1, 100, 1000),
    "batch": (1, 2, 8, 16, 32, 64, 128),
    "size": (16, 32, 64, 128, 256, 512, 1024, 50, 100, 200, 300, 650),
}

# For the growth of time and memory with the length of the sequence; all else is small.
GROWTH = [Shape(time, 1, 64, 64) for time in (100, 300, 1000, 3000, 10_000, 30_000, 100_000)]
