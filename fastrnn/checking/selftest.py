"""The checker checked: how many planted errors each mode finds, and how many false alarms it gives.

The errors are those of mutants.py and extremes.py. False alarms are counted over random correct
targets: layers, cells and Linear on the compiled kernels in both dtypes, the reference, the losses,
and functions of numbers from 1e-200 to 1e200.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastrnn.checking import extremes, mutants
from fastrnn.checking.check import gradcheck
from fastrnn.checking.extremes import EXTREMES
from fastrnn.checking.mutants import MUTANTS, TargetAndInputs
from fastrnn.checking.options import MODES
from fastrnn.checking.table import columns
from fastrnn.nn import cells, layers, linear

PLANTED = (*MUTANTS, *EXTREMES)
REQUIRED = {"full": 1.0, "sample": 0.99, "project": 0.99}  # share of the planted errors
_CALLS = {  # kind of target -> what its call may have
    "rnn": ("lengths", "reverse"),
    "relu": ("lengths", "reverse"),
    "gru": ("lengths", "reverse"),
    "lstm": ("lengths", "reverse", "projection"),
    "linear": ("square",),
    "mse": ("mask",),
    "cross_entropy": ("mask",),
    "stack": ("dropout",),
}


@dataclass
class SelfTest:
    """The result of `self_test`.

    Attributes:
        planted: (number of errors, number of seeds with which each was checked).
        found: mode -> number of errors found, of planted[0] * planted[1].
        seconds: mode -> time for all of them.
        missed: (mode, where, words, seed) of each error not found.
        configurations: number of correct targets checked.
        alarms: summaries of those that were reported as wrong.
    """

    planted: tuple[int, int]
    found: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    missed: list[tuple[str, str, str, int]] = field(default_factory=list)
    configurations: int = 0
    alarms: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """All errors found in mode full, 99 % in the others, and no false alarm."""
        total = self.planted[0] * self.planted[1]
        rates = all(self.found[mode] >= REQUIRED[mode] * total for mode in self.found)
        return rates and not self.alarms

    def table(self) -> str:
        """Return the result as text."""
        errors, seeds = self.planted
        rows: list[tuple] = [("mode", "found", "of", "rate", "required", "ms each")]
        for mode, found in self.found.items():
            total = errors * seeds
            rows.append(
                (
                    mode,
                    found,
                    total,
                    f"{found / total:.2%}",
                    f"{REQUIRED[mode]:.0%}",
                    f"{1e3 * self.seconds[mode] / total:.0f}",
                )
            )
        lines = [f"{errors} planted errors, {seeds} times each:", "", *columns(rows), ""]
        lines += [
            f"missed in mode {mode}: {where}, {words} (seed {seed})"
            for mode, where, words, seed in self.missed
        ]
        lines += [
            f"false alarms: {len(self.alarms)} in {self.configurations:,} random correct "
            "configurations",
            *self.alarms,
        ]
        return "\n".join(lines)


def self_test(
    progress: Callable[[int, int], None] | None = None,
    *,
    seeds: int = 3,
    configurations: int = 2000,
) -> SelfTest:
    """Check planted errors in every mode, and random correct targets.

    Args:
        progress: called with (done, total) after each check; None: nothing is called.
        seeds: how often each error is planted, each time with other sizes and values.
        configurations: number of correct targets to check.
    """
    result = SelfTest((len(PLANTED), seeds))
    total, done = len(MODES) * len(PLANTED) * seeds + configurations, 0

    def step():
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for mode in MODES:
        start, result.found[mode] = time.perf_counter(), 0
        for seed in range(seeds):
            for mutant in PLANTED:
                report = gradcheck(
                    *mutant.problem(seed),
                    mode=mode,
                    seed=seed,
                    localize=False,
                    raise_exception=False,
                )
                result.found[mode] += not report.ok
                if report.ok:
                    result.missed.append((mode, mutant.where, mutant.words, seed))
                step()
        result.seconds[mode] = time.perf_counter() - start
    for seed in range(configurations):
        mode = MODES[seed % len(MODES)]
        report = gradcheck(
            *correct(seed),
            mode=mode,
            seed=seed,
            localize=False,
            second_order=seed % 8 == 0,
            raise_exception=False,
        )
        result.configurations += 1
        if not report.ok:
            result.alarms.append(f"{seed}, mode {mode}: {report.summary()}")
        step()
    return result


def correct(seed: int) -> TargetAndInputs:
    """Return a random target whose gradient is right, and inputs for it."""
    random = np.random.default_rng([seed, 77])
    kinds = ["layer", "layer", "layer", "layer", "cell", "linear", "function", "extreme"]
    kind = random.choice(kinds)
    if kind == "extreme":
        return extremes.right(seed)
    if kind == "function":
        where = str(random.choice(mutants.WHERE))
        return mutants.right(where, seed, tuple(h for h in _CALLS[where] if random.random() < 0.5))
    dtype: Any = np.dtype(str(random.choice(["float32", "float64"])))

    def normal(*shape):
        scale = random.choice([0.1, 1.0, 1.0, 3.0])
        return (scale * random.standard_normal(shape)).astype(dtype)

    T, B, I, H = (int(n) for n in random.integers(1, [9, 5, 7, 10]))  # noqa: E741
    if kind == "linear":
        return linear.Linear(I, H, random.random() < 0.8, dtype=dtype, seed=seed), (
            normal(T, B, I),
        )
    name = str(random.choice(["RNN", "LSTM", "GRU"]))
    options: dict[str, Any] = {"bias": bool(random.random() < 0.8), "dtype": dtype, "seed": seed}
    if name == "RNN":
        options["nonlinearity"] = str(random.choice(["tanh", "relu"]))
        # Without a bias, a ReLU with all inputs dropped out is at its kink, which is reported; so
        # is a layer whose units are all off, of which there is nothing to see.
        options["bias"] |= options["nonlinearity"] == "relu"
    if kind == "cell":
        cell = _one_on(getattr(cells, f"{name}Cell")(I, H, **options))
        return cell, (normal(B, I),)
    options |= {name: bool(random.random() < 0.3) for name in ("batch_first", "bidirectional")}
    options["num_layers"] = int(random.integers(1, 4))
    if name == "LSTM" and H > 1 and random.random() < 0.3:
        options["proj_size"] = int(random.integers(1, H))
    if options["num_layers"] > 1 and random.random() < 0.3:
        options["dropout"] = 0.3
    layer = _one_on(getattr(layers, name)(I, H, **options))
    if random.random() < 0.15:
        return layer, (normal(T, I),)
    shape = (B, T) if layer.batch_first else (T, B)
    x = random.integers(0, I, shape) if random.random() < 0.2 else normal(*shape, I)
    lengths = random.integers(0, T + 1, B) if random.random() < 0.3 else None
    return layer, (x, None, lengths)


def _one_on(target: Any) -> Any:
    """Return a layer or cell; one unit of each ReLU is on, whatever it reads."""
    if target.cell.name == "rnn_relu":
        for name, bias in target.params.items():
            if name.startswith("bias_ih"):
                bias[0] = 20
    return target
