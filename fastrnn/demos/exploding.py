"""Exploding gradients: a tanh network that cannot be trained, and can be with its gradient clipped.

Task: a sequence of 50 random bits, +1 or -1; at its end, say the first one. Made as it is learned.
Network: a tanh RNN(1 -> 50), and a Linear on its final h. Its W_hh starts as 1.5 times an
orthogonal matrix, so that gradients grow on their way back. Plain gradient descent (SGD).
Baselines: the same without clipping, from the same start on the same sequences; also at a tenth of
the learning rate, the other remedy; and 1, the error of who always says 0.
Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks"
(arXiv 1211.5063); whether a bit is remembered: Bengio, Simard & Frasconi 1994.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastrnn import init, plotting
from fastrnn.demos.result import Measure, Report, Result, silent
from fastrnn.losses import mse
from fastrnn.nn.layers import RNN
from fastrnn.nn.linear import Linear
from fastrnn.optim import SGD, clip_grad_norm
from fastrnn.tracing import GradientFlow, gradient_flow
from fastrnn.tracing.plot import curves

STEPS, HIDDEN, BATCH, GAIN, LR, CLIP = 50, 50, 32, 1.5, 0.05, 1.0
# who -> the longest gradient, the learning rate
RUNS = {
    "clipped": (CLIP, LR),
    "not clipped": (math.inf, LR),
    "not clipped, lr / 10": (math.inf, LR / 10),
}
COLOURS = dict(zip(RUNS, (plotting.BLUE, plotting.ORANGE, plotting.GREY), strict=True))
SOLVED = 0.1  # an error below which every bit is right, or nearly


class Training(NamedTuple):
    """One run.

    Attributes:
        losses: of each update; it ends where the loss is no number any more.
        norms: of the gradient, before clipping.
        start: gradient flow at the first update, of the loss of one step at a time.
    """

    losses: np.ndarray
    norms: np.ndarray
    start: GradientFlow


def run(quick: bool = False, seed: int = 0, progress: Report = silent) -> Result:
    """Train with and without clipping, from several starts.

    Args:
        quick: fewer starts and updates.
        seed: of the first start; the others count up.
        progress: told how far it is.
    """
    starts, updates = (2, 250) if quick else (5, 600)
    found: dict[str, list[Training]] = {who: [] for who in RUNS}
    for start in range(starts):
        for number, (who, (clip, lr)) in enumerate(RUNS.items()):
            progress(f"start {start + 1}, {who}", start * len(RUNS) + number, starts * len(RUNS))
            found[who].append(train(clip, lr, updates, seed + start))
    errors = {who: [_final(t) for t in runs] for who, runs in found.items()}
    measures = [
        Measure(
            "starts that learn",
            {who: sum(e < SOLVED for e in es) / starts for who, es in errors.items()},
            ".0%",
        ),
        Measure(
            "error, median of starts",
            {**{who: float(np.median(es)) for who, es in errors.items()}, "always 0": 1.0},
            ".2g",
            higher=False,
        ),
        Measure(
            "error, worst start", {who: max(es) for who, es in errors.items()}, ".2g", higher=False
        ),
        Measure(
            "longest gradient",
            {who: max(float(t.norms.max()) for t in runs) for who, runs in found.items()},
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
        clip: the longest that a gradient may be; inf: any.
        lr: learning rate.
        updates: how many.
        seed: of the start and of the sequences.
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
        with np.errstate(over="ignore", invalid="ignore"):  # it is what is to be seen
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
    """Return the mean loss of the last updates; inf where training did not get so far."""
    return float(np.mean(one.losses[-50:]))


def _draw(figure: Any, found: dict[str, list[Training]]) -> None:
    """Loss and gradient norm of every start, and how the gradient flows at the first of them."""
    figure.set_size_inches(11, 6.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1])
    loss, norm = upper.subplots(1, 2)
    for who, runs in found.items():
        for number, one in enumerate(runs):
            label = who if not number else None
            for axes, values in ((loss, one.losses), (norm, one.norms)):
                _curve(axes, values, COLOURS[who], label)
    loss.axhline(1, color="black", linewidth=0.8, linestyle=":")
    _tell(loss, "always 0", 1)
    loss.set(yscale="log", xlabel="update", ylabel="mean squared error", ylim=(3e-5, 30))
    loss.set_title("The error; a line for each start, of 10 updates; a cross: it overflows")
    norm.axhline(CLIP, color="black", linewidth=0.8, linestyle=":")
    _tell(norm, f"clipped to {CLIP:g}", CLIP)
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


def _tell(axes: Any, what: str, at: float) -> None:
    """Write something above a horizontal line, at its right end."""
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
    for y, (who, runs) in enumerate(found.items()):
        errors = np.array([_final(one) for one in runs])
        finite = errors[np.isfinite(errors)]
        axes.plot(finite, np.full(len(finite), y), "o", color=COLOURS[who], alpha=0.7)
        lost = len(errors) - len(finite)
        if lost:
            axes.plot(
                [0.97],
                [y],
                "x",
                color=COLOURS[who],
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
                color=COLOURS[who],
            )
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(3e-5, 30), xlabel="mean squared error, last 50 updates")
    plotting.plain_numbers(axes.xaxis)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_title("What every start ends with")
