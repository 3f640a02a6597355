"""Exploding gradients: a tanh network that can only be trained with its gradient clipped.

Task: a sequence of 50 random bits, +1 or -1; at its end, output the first one. Drawn anew for each
update.
Network: a tanh RNN(1 -> 50), and a Linear on its final h. Its W_hh starts as 1.5 times an
orthogonal matrix, so that gradients grow on their way back. Plain gradient descent (SGD).
Baselines: the same without clipping, from the same start on the same sequences; also with a tenth
of the learning rate, the other remedy; and 1, the error of always answering 0.
Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks"
(arXiv 1211.5063); whether a bit is remembered: Bengio, Simard & Frasconi 1994.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastrnn import init, plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.losses import mse
from fastrnn.nn.layers import RNN
from fastrnn.nn.linear import Linear
from fastrnn.optim import SGD, clip_grad_norm
from fastrnn.tracing import GradientFlow, gradient_flow
from fastrnn.tracing.plot import curves

STEPS, HIDDEN, BATCH, GAIN, LR, CLIP = 50, 50, 32, 1.5, 0.05, 1.0
# run -> (maximal norm of a gradient, learning rate)
RUNS = {
    "clipped": (CLIP, LR),
    "not clipped": (math.inf, LR),
    "not clipped, lr / 10": (math.inf, LR / 10),
}
COLOURS = dict(zip(RUNS, (plotting.BLUE, plotting.ORANGE, plotting.GREY), strict=True))
SOLVED = 0.1  # an error below which (nearly) every bit is right


class Training(NamedTuple):
    """One run.

    Attributes:
        losses: loss at each update; it ends where the loss overflows.
        norms: norm of the gradient at each update, before clipping.
        start: gradient flow at the first update.
    """

    losses: np.ndarray
    norms: np.ndarray
    start: GradientFlow


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train with and without clipping, from several starts.

    Args:
        quick: fewer starts and updates.
        seed: seed of the first start; the others have the numbers that follow.
        progress: called after each run.
    """
    starts, updates = (2, 250) if quick else (5, 600)
    found: dict[str, list[Training]] = {method: [] for method in RUNS}
    for start in range(starts):
        for method, (clip, lr) in RUNS.items():
            found[method].append(train(clip, lr, updates, seed + start))
            done = sum(map(len, found.values()))
            progress(f"start {start + 1}, {method}", done, starts * len(RUNS))
    errors = {method: [_final(t) for t in runs] for method, runs in found.items()}
    measures = [
        Measure(
            "starts that learn",
            {method: sum(e < SOLVED for e in es) / starts for method, es in errors.items()},
            ".0%",
        ),
        Measure(
            "error, median of starts",
            {**{method: float(np.median(es)) for method, es in errors.items()}, "always 0": 1.0},
            ".2g",
            higher=False,
        ),
        Measure(
            "error, worst start",
            {method: max(es) for method, es in errors.items()},
            ".2g",
            higher=False,
        ),
        Measure(
            "longest gradient",
            {method: max(float(t.norms.max()) for t in runs) for method, runs in found.items()},
            ".1e",
            higher=False,
        ),
    ]
    lost = sum(not math.isfinite(e) for e in errors["not clipped"])
    text = f"Not clipped, {lost} of {starts} starts overflow (inf).\n\n"
    text += str(found["clipped"][0].start)
    title = f"The first of {STEPS} bits, remembered by a tanh network; mean squared error"
    return Result(title, measures, partial(_draw, found=found), text)


def train(clip: float, lr: float, updates: int, seed: int) -> Training:
    """Train one network.

    Args:
        clip: maximal norm of a gradient; inf: no clipping.
        lr: learning rate.
        updates: number of updates.
        seed: seed of the start and of the sequences.
    """
    random = np.random.default_rng(seed)
    rnn = init.orthogonal(RNN(1, HIDDEN, seed=seed), GAIN, seed=seed)
    head = Linear(HIDDEN, 1, seed=seed)
    optimizer = SGD([rnn.params, head.params], lr=lr)
    losses, norms, start = [], [], None
    for _ in range(updates):
        x = random.choice(np.array([-1, 1], np.float32), (STEPS, BATCH, 1))
        (_, h_n), pull = rnn.vjp(x)
        guess, pull_head = head.vjp(h_n[0])
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is what this demo shows
            loss, d_guess = mse(guess, x[0])
            of_head = pull_head(d_guess)
            d_h = np.asarray(of_head.input)[None]
            grads = [pull(None, d_h).params, of_head.params]
            norm = clip_grad_norm(grads, clip)
        if start is None:
            start = gradient_flow(rnn, x, d_state=d_h)
        if not math.isfinite(loss + norm):
            losses.append(math.inf)
            norms.append(math.inf)
            break
        losses.append(loss)
        norms.append(norm)
        optimizer.step(grads)
    assert start is not None
    return Training(np.array(losses), np.array(norms), start)


def _final(one: Training) -> float:
    """Return the mean loss of the last updates; inf if training overflowed."""
    return float(np.mean(one.losses[-50:]))


def _draw(figure: Any, found: dict[str, list[Training]]) -> None:
    """Loss and gradient norm of every start, and the gradient flow of the first start."""
    figure.set_size_inches(11, 6.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1])
    loss, norm = upper.subplots(1, 2)
    for method, runs in found.items():
        for number, one in enumerate(runs):
            label = method if not number else None
            for axes, values in ((loss, one.losses), (norm, one.norms)):
                _curve(axes, values, COLOURS[method], label)
    loss.axhline(1, color="black", linewidth=0.8, linestyle=":")
    _label(loss, "always 0", 1)
    loss.set(yscale="log", xlabel="update", ylabel="mean squared error", ylim=(3e-5, 30))
    loss.set_title("The error; a line for each start, of 10 updates; a cross: it overflows")
    norm.axhline(CLIP, color="black", linewidth=0.8, linestyle=":")
    _label(norm, f"clipped to {CLIP:g}", CLIP)
    norm.set(yscale="log", xlabel="update", ylabel="norm of the gradient")
    norm.set_title("The gradient, before clipping")
    norm.legend(loc="upper right")
    for axis in (loss.yaxis, norm.yaxis):
        plotting.plain_numbers(axis)
    flow, errors = lower.subplots(1, 2)
    first = found["clipped"][0].start["l0"]
    curves(flow, {"dL/dh": first.d_states["h"]})
    flow.set(xlabel="steps back from the last", ylabel="norm of dL/dh")
    flow.set_title(
        f"Before the first update: W_hh has the spectral radius {GAIN:g}, "
        f"the mean Jacobian {first.jacobian_radius:.2f}"
    )
    _finals(errors, found)


def _label(axes: Any, what: str, at: float) -> None:
    """Write a label above a horizontal line, at its right end."""
    axes.annotate(
        what,
        (1, at),
        (0, 12),
        ha="right",
        fontsize=8,
        textcoords="offset points",
        xycoords=axes.get_yaxis_transform(),
    )


def _curve(axes: Any, values: np.ndarray, colour: str, label: str | None) -> None:
    finite = values[np.isfinite(values)]
    smooth = np.exp(
        [np.log(finite[max(0, k - 9) : k + 1] + 1e-30).mean() for k in range(len(finite))]
    )
    axes.plot(smooth, color=colour, linewidth=1, alpha=0.8, label=label)
    if len(finite) < len(values):
        axes.plot(len(finite) - 1, smooth[-1], "x", color=colour, markersize=7, markeredgewidth=2)


def _finals(axes: Any, found: dict[str, list[Training]]) -> None:
    for y, (method, runs) in enumerate(found.items()):
        errors = np.array([_final(one) for one in runs])
        finite = errors[np.isfinite(errors)]
        axes.plot(finite, np.full(len(finite), y), "o", color=COLOURS[method], alpha=0.7)
        lost = len(errors) - len(finite)
        if lost:
            axes.plot(
                [0.97],
                [y],
                "x",
                color=COLOURS[method],
                markersize=8,
                markeredgewidth=2,
                transform=axes.get_yaxis_transform(),
            )
            axes.annotate(
                f"{lost} overflowed",
                (0.97, y),
                (0, 8),
                ha="right",
                fontsize=8,
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                color=COLOURS[method],
            )
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(3e-5, 30), xlabel="mean squared error, last 50 updates")
    plotting.plain_numbers(axes.xaxis)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_title("What every start ends with")
