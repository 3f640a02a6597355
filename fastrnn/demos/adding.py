"""The adding problem: two numbers far back in time, which tanh loses and the others add.

Task: 150 steps of a random number in [0, 1) and a mark; two random steps are marked, and the
answer at the end is the sum of their two numbers.
Data: generated, 10,000 sequences to learn from and 2,000 held out.
Network: 64 units of each kind, and a Linear on the final h. W_hh of the ReLU network starts as the
identity and its W_ih as N(0, 0.01^2) (the paper: 0.001^2, which also works, but takes longer), the
LSTM's forget gates with a bias of 1; tanh and GRU start as in torch. Adam, gradients clipped to 1.
Each kind is trained for as many epochs as it needs, and tanh for as many as the ReLU network.
Baseline: always the mean, 1; its error is the sum's variance, 1/6 (the second paper has 0.1767).
Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", section 5.4, in the form given by
Le, Jaitly & Hinton 2015 (arXiv 1504.00941), section 4.1.
"""

from functools import partial
from typing import Any

import numpy as np

from fastrnn import init, plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNRegressor

STEPS, HIDDEN, BATCH, VARIANCE = 150, 64, 16, 1 / 6
# network -> the options of RNNRegressor
NETWORKS: dict[str, dict[str, Any]] = {
    "tanh": {"cell": "rnn", "lr": 1e-3, "epochs": 12},
    "ReLU, identity": {
        "cell": "relu",
        "init": partial(init.identity, std=0.01),
        "lr": 3e-4,
        "epochs": 12,
    },
    "LSTM": {"cell": "lstm", "init": "forget_bias", "lr": 1e-2, "epochs": 6},
    "GRU": {"cell": "gru", "lr": 5e-3, "epochs": 4},
}
_TOP = 1.0  # of the picture: larger losses are drawn at its upper edge
COLOURS = (plotting.GREY, plotting.ORANGE, plotting.BLUE, plotting.GREEN)


def sequences(count: int, steps: int, random: np.random.Generator):
    """Draw sequences and their sums, (count, steps, 2) and (count,).

    Args:
        count: number of sequences.
        steps: T, their length.
        random: generator.
    """
    x = np.zeros((count, steps, 2), np.float32)
    x[..., 0] = random.random((count, steps))
    places = random.random((count, steps)).argsort(axis=1)[:, :2]
    np.put_along_axis(x[..., 1], places, 1, axis=1)
    return x, (x[..., 0] * x[..., 1]).sum(axis=1)


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train the four networks on the same sequences.

    Args:
        quick: 20 steps, fewer sequences, and fewer epochs for tanh and ReLU.
        seed: seed of the sequences and of the networks.
        progress: called as training advances.
    """
    random = np.random.default_rng(seed)
    steps, count = (20, 3000) if quick else (STEPS, 10_000)
    x, y = sequences(count, steps, random)
    held_out = sequences(2000, steps, random)
    errors, losses = {}, {}
    for method, chosen in NETWORKS.items():
        options = {**chosen, "epochs": min(chosen["epochs"], 6)} if quick else chosen
        model = RNNRegressor(
            HIDDEN, **options, batch_size=BATCH, seed=seed, verbose=partial(progress, method)
        ).fit(x, y)
        errors[method] = float(np.mean((model.predict(held_out[0]) - held_out[1]) ** 2))
        losses[method] = model.history_["loss"]
    measures = [
        Measure(
            "mean squared error, held out", {**errors, "always 1": VARIANCE}, ".4f", higher=False
        )
    ]
    title = f"The adding problem, {steps} steps"
    return Result(title, measures, partial(_draw, errors=errors, losses=losses, count=count))


def _draw(figure: Any, errors: dict[str, float], losses: dict[str, list], count: int) -> None:
    """The loss of each network against the number of sequences it has learned from."""
    axes = figure.subplots()
    for colour, (method, loss) in zip(COLOURS, losses.items(), strict=True):
        read, shown = count * np.arange(1, len(loss) + 1) / 1000, np.minimum(loss, _TOP)
        axes.plot(
            read,
            shown,
            "o-",
            color=colour,
            markersize=3.5,
            label=f"{method}: {errors[method]:.4f} held out",
        )
        above = shown == _TOP
        axes.plot(read[above], shown[above], "^", color=colour, markersize=9)
        if above.any():
            axes.annotate(
                f"up to {max(loss):.0e}",
                (read[above][-1], _TOP),
                (8, -3),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
    axes.axhline(VARIANCE, color="black", linewidth=0.8, linestyle=":")
    axes.annotate(
        "always 1: 0.167",
        (1, VARIANCE),
        (-2, -11),
        ha="right",
        fontsize=8,
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
    )
    axes.set(
        yscale="log",
        xlabel="sequences read, in thousands",
        ylabel="mean squared error",
        ylim=(None, 1.5 * _TOP),
    )
    plotting.plain_numbers(axes.yaxis)
    axes.set_title("The adding problem: the mean loss of each epoch")
    axes.legend(loc="lower right")
