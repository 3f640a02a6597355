"""Sunspots: their number on the sun next year, and in twelve years.

Task: predict the next year from the last 33 (three cycles of about 11); twelve years ahead,
forecasts are fed back as if they had been observed, as in an autoregression.
Data: statsmodels' yearly sunspot numbers, 1700 to 2008; the years from 1929 on are held out, and
the first years are only read. The forecast for a year sees all years up to 1 or 12 before it.
Network: the mean of four LSTM(1 -> 16), each with a Linear on its final h.
Baselines: persistence (the last number seen) and statsmodels' AutoReg, fitted to the same years,
with the order of 1 to 24 that is the best one year ahead on the held-out years themselves.
Source: Yule (1927), "On a method of investigating periodicities in disturbed series", the first
autoregression, was made for these numbers. Size and epochs of the network were chosen on the years
1869 to 1928.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from statsmodels.datasets import sunspots
from statsmodels.tsa.ar_model import AutoReg

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNRegressor

WINDOW, FIRST_HELD_OUT, AHEAD = 33, 1929, (1, 12)  # years
ORDER = 9  # of the autoregression
SCALE = 50.0  # about the mean
Forecaster = Callable[[NDArray], NDArray]  # windows (N, WINDOW) -> the year after each (N,)


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train the networks and the autoregression, and compare their forecasts.

    Args:
        quick: fewer epochs, and one network.
        seed: seed of everything random.
        progress: called as training advances.
    """
    data: Any = sunspots.load_pandas().data
    years, numbers = data["YEAR"].to_numpy(int), data["SUNACTIVITY"].to_numpy()
    split = int(np.searchsorted(years, FIRST_HELD_OUT))
    forecasters = {
        "network": _network(numbers[:split], quick, seed, progress),
        "autoregression": _autoregression(numbers[:split]),
        "persistence": lambda windows: windows[:, -1],
    }
    windows, truth = sliding_window_view(numbers, WINDOW), numbers[split:]
    measures, forecasts = [], {}
    for ahead in AHEAD:
        seen = windows[split - WINDOW - ahead + 1 :][: len(truth)]
        forecasts[ahead] = {
            method: _ahead(step, seen, ahead) for method, step in forecasters.items()
        }
        errors = {
            method: float(np.sqrt(np.mean((found - truth) ** 2)))
            for method, found in forecasts[ahead].items()
        }
        name = f"error {ahead} year{'s' * (ahead > 1)} ahead"
        measures.append(Measure(name, errors, ".1f", higher=False))
    title = f"Sunspot numbers, {FIRST_HELD_OUT} to {years[-1]} held out; root mean square error"
    return Result(
        title,
        measures,
        partial(_draw, years=years, numbers=numbers, measures=measures, forecasts=forecasts),
    )


def _network(numbers, quick, seed, progress) -> Forecaster:
    def scaled(windows):
        return (windows[:, :, None] / SCALE - 1).astype(np.float32)

    inputs, targets = scaled(sliding_window_view(numbers[:-1], WINDOW)), numbers[WINDOW:]
    models = [
        RNNRegressor(
            16,
            lr=5e-3,
            epochs=40 if quick else 100,
            seed=seed + i,
            verbose=partial(progress, f"network {i + 1}"),
        ).fit(inputs, targets / SCALE - 1)
        for i in range(1 if quick else 4)
    ]

    def step(windows):
        mean = np.mean([model.predict(scaled(windows)) for model in models], axis=0)
        return np.maximum(0, (mean + 1) * SCALE)

    return step


def _autoregression(numbers) -> Forecaster:
    constant, *weights = AutoReg(numbers, ORDER).fit().params  # the last year's weight first
    return lambda windows: np.maximum(0, constant + windows[:, : -ORDER - 1 : -1] @ weights)


def _ahead(step: Forecaster, windows, years: int):
    """Forecast a number of years ahead, each from the years before it, forecasts included."""
    for _ in range(years):
        windows = np.column_stack([windows[:, 1:], step(windows)])
    return windows[:, -1]


def _draw(figure, years, numbers, measures, forecasts) -> None:
    """The forecasts over the observed numbers, one and twelve years ahead."""
    figure.set_size_inches(9, 5.6)
    looks = {
        "network": (plotting.BLUE, "-"),
        "autoregression": (plotting.ORANGE, "--"),
        "persistence": ("none", ""),  # would be the grey area, shifted: its error is enough
    }
    panels = figure.subplots(len(AHEAD), 1, sharex=True)
    for axes, ahead, measure in zip(panels, AHEAD, measures, strict=True):
        axes.fill_between(years, numbers, color="#e3e3e3", label="observed")
        held_out = years[-len(forecasts[ahead]["network"]) :]
        for method, found in forecasts[ahead].items():
            colour, line = looks[method]
            axes.plot(
                held_out,
                found,
                line,
                color=colour,
                linewidth=1.4,
                label=f"{method}, error {measure.values[method]:.1f}",
            )
        axes.axvline(FIRST_HELD_OUT - 0.5, color="black", linewidth=0.8)
        axes.set(xlim=(1880, years[-1]), ylim=(0, 215), ylabel="sunspot number")
        axes.set_title(f"{ahead} year{'s' * (ahead > 1)} ahead")
        axes.legend(loc="upper left")
    panels[0].annotate("held out", (FIRST_HELD_OUT, 200), (4, 0), textcoords="offset points")
    panels[-1].set_xlabel("year")
