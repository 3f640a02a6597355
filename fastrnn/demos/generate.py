"""A text, character by character, and how it could continue: one to many.

Task: predict the next character of a text from all before it; then generate text.
Data: Python's own documentation, as in `fastrnn train`; the last tenth is held out.
Network: LSTM(characters -> 256), Linear on the output; it reads 16 streams in parallel, in segments
of 64 characters (truncated BPTT).
Baseline: interpolated n-gram counts, with the context length that is best on the held-out text.
Source: Mikolov et al. (2010), "Recurrent neural network based language model"; for the
interpolation Witten and Bell (1991), "The zero-frequency problem".
"""

import math
from collections import Counter, defaultdict
from functools import partial

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNGenerator
from fastrnn.models.corpus import read_text

MAX_CONTEXT = 5  # characters, of the n-gram counts
PROMPT = "A function "


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train the network, count for the baseline, compare on the held-out tenth, and generate text.

    Args:
        quick: a short text, a small network.
        seed: seed of everything random.
        progress: called as training advances.
    """
    text = read_text()
    text = text[: 60_000 if quick else len(text)]
    split = len(text) * 9 // 10
    network = RNNGenerator(
        64 if quick else 256,
        truncate=64,
        batch_size=16,
        lr=1e-2 if quick else 4e-3,
        lr_decay=0.7,
        epochs=6,
        validation_fraction=0.1,
        seed=seed,
        verbose=partial(progress, "learning to write"),
    ).fit(text)
    learning = [loss / math.log(2) for loss in network.history_["validation_loss"]]
    by_counts = counted(text, split, MAX_CONTEXT)
    best = min(by_counts)
    values = {"network": min(learning), f"counts after {by_counts.index(best)} characters": best}
    measures = [Measure("bits per character", values, ".2f", higher=False)]
    sample = f"{PROMPT}{network.generate(PROMPT, length=400, temperature=0.5, seed=seed)}"
    title = f"Python's documentation: of {len(text):,} characters the last tenth is held out"
    draw = partial(_draw, learning=learning, by_counts=by_counts)
    return Result(title, measures, draw, f"It writes:\n\n{sample}")


def counted(text: str, split: int, max_context: int) -> list[float]:
    """Return the bits per character from `split` on, predicted by counts before it.

    If a character was seen c times of n after a context, where k different ones were seen, its
    probability is (c + k p) / (n + k), where p is its probability after a context shorter by one.

    Args:
        text: the whole text.
        split: start of the held-out part.
        max_context: number of characters in the longest context.

    Returns:
        The bits for each length of the longest context, from 0 to max_context.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    for at in range(split):
        for length in range(min(max_context, at) + 1):
            counts[text[at - length : at]][text[at]] += 1
    totals = {context: seen.total() for context, seen in counts.items()}
    bits, alphabet = [0.0] * (max_context + 1), len(set(text))
    for at in range(split, len(text)):
        probability = 1 / alphabet
        for length in range(max_context + 1):
            context = text[at - length : at]
            if context in totals:
                seen, total = counts[context], totals[context]
                probability = (seen[text[at]] + len(seen) * probability) / (total + len(seen))
            bits[length] -= math.log2(probability)
    return [found / (len(text) - split) for found in bits]


def _draw(figure, learning, by_counts) -> None:
    """How the network improves, and how good counts are, by the length of their context."""
    figure.set_size_inches(8, 3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot(range(1, len(learning) + 1), learning, "o-", color=plotting.BLUE)
    left.set(xlabel="times that the text has been read", ylabel="bits per character, held out")
    left.set_xticks(range(1, len(learning) + 1))
    left.set_title("network")
    right.plot(by_counts, "o-", color=plotting.ORANGE)
    right.set(xlabel="characters before that are looked at")
    right.set_title("counting")
    for axes, mine, other, colour, name in (
        (left, learning, by_counts, plotting.ORANGE, "best by counting"),
        (right, by_counts, learning, plotting.BLUE, "network"),
    ):
        axes.axhline(min(other), color=colour, linewidth=1, linestyle=":")
        at = axes.lines[0].get_xdata()[mine.index(min(mine))]
        points = {"textcoords": "offset points"}
        axes.annotate(f"{min(mine):.2f}", (at, min(mine)), (0, 7), ha="center", **points)
        axes.annotate(
            f"{name}: {min(other):.2f}",
            (0.02, min(other)),
            (0, -4),
            va="top",
            color=colour,
            xycoords=axes.get_yaxis_transform(),
            **points,
        )
        axes.set_ylim(0, 1.05 * max(*by_counts, *learning))
