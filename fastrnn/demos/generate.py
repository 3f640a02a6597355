"""A text, character by character, and how it could go on: one to many.

Task: the next character of a text, from all before it; and then a text of its own.
Data: Python's own documentation, as in `fastrnn train`; the last tenth is held out.
Network: LSTM(characters -> 256), Linear on the output; it reads 32 streams side by side, in pieces
of 128 characters (truncated BPTT).
Baseline: counts of what followed the last characters, interpolated, for as many as are the best.
Source: Mikolov et al. (2010), "Recurrent neural network based language model"; of the interpolation
Witten and Bell (1991), "The zero-frequency problem".
"""

import math
from collections import Counter, defaultdict
from functools import partial

from fastrnn import charlm, drawing
from fastrnn.demos.result import Measure, Report, Result, silent
from fastrnn.models import RNNGenerator

ORDERS = range(6)  # characters before


def run(quick: bool = False, seed: int = 0, progress: Report = silent) -> Result:
    """Train the network, count for the baseline, compare them on the held-out tenth, and write.

    Args:
        quick: a short text, a small network.
        seed: of everything random.
        progress: told how far it is.
    """
    text = charlm.read_text()
    text = text[: 60_000 if quick else len(text)]
    split = len(text) * 9 // 10
    network = RNNGenerator(
        64 if quick else 256, truncate=32 if quick else 128, batch_size=32,
        lr=1e-2 if quick else 5e-3, lr_decay=1.0 if quick else 0.8, epochs=4 if quick else 10,
        validation_fraction=0.1, seed=seed, verbose=partial(progress, "learning to write"),
    ).fit(text)  # fmt: skip
    learning = [loss / math.log(2) for loss in network.history_["validation_loss"]]
    n_grams = [bits(text, split, order) for order in ORDERS]
    best = min(ORDERS, key=lambda order: n_grams[order])
    values = {
        "network": min(learning),
        f"{best} characters before": n_grams[best],
    }
    measures = [Measure("bits per character", values, ".2f", higher=False)]
    sample = str(network.generate("\n", length=400, temperature=0.7, seed=seed)).strip()
    title = f"Python's documentation; of {len(text):,} characters the last tenth is held out"
    return Result(
        title, measures, partial(_draw, learning, n_grams, values), f"It writes:\n\n{sample}"
    )


def bits(text: str, split: int, order: int) -> float:
    """Return the bits per character of the text from `split` on, by counts of what is before.

    A character after a context has been seen c times of n, with k different ones there: its
    probability is (c + k p) / (n + k), where p is that after a context one shorter.

    Args:
        text: the whole.
        split: where what is held out begins.
        order: characters of the longest context.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    for at in range(split):
        for length in range(min(order, at) + 1):
            counts[text[at - length : at]][text[at]] += 1
    totals = {context: seen.total() for context, seen in counts.items()}
    found, alphabet = 0.0, len(set(text))
    for at in range(split, len(text)):
        probability = 1 / alphabet
        for length in range(order + 1):
            context = text[at - length : at]
            if context not in totals:
                break
            seen = counts[context]
            probability = (seen[text[at]] + len(seen) * probability) / (totals[context] + len(seen))
        found -= math.log2(probability)
    return found / (len(text) - split)


def _draw(learning, n_grams, values, figure) -> None:
    """How the network gets better, and how good counting is, by the characters that it looks at."""
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot(range(1, len(learning) + 1), learning, "o-", color=drawing.BLUE)
    left.set(xlabel="times that the text has been read", ylabel="bits per character, held out")
    left.set_title("the network")
    right.plot(ORDERS, n_grams, "o-", color=drawing.ORANGE)
    right.set(xlabel="characters before that are looked at")
    right.set_title("counting")
    for axes in (left, right):
        axes.axhline(values["network"], color=drawing.BLUE, linewidth=1, linestyle=":")
        axes.set_ylim(0, 1.05 * max(*n_grams, *learning))
    right.text(max(ORDERS), values["network"], f"the network, {values['network']:.2f}", ha="right",
               va="top", color=drawing.BLUE)  # fmt: skip
