"""Handwritten digits, read as sequences: by rows, and pixel by pixel.

Task: the class of an image, from its rows (T = 8 steps of I = 8 pixels) and from its pixels
(T = 64, I = 1: the first pixel has to be remembered for 63 steps).
Data: scikit-learn's digits, 1,797 images of 8 x 8 pixels; a fifth is held out, each class in
proportion.
Network: bidirectional LSTM(8 -> 2 x 128) for rows; GRU(1 -> 128) for pixels; Linear on the final h.
Baseline: logistic regression on the same 64 numbers.
Source: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of rectified
linear units", for pixels as a sequence; the digits are Alpaydin and Kaynak's (1998).
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNClassifier

SHAPES = {"rows": (8, 8), "pixels": (64, 1)}  # (T, I)


def images(seed: int) -> Any:
    """Return the images (N, 64) in [0, 1] and their classes: to learn from, and held out.

    Args:
        seed: seed of the split.
    """
    x, y = load_digits(return_X_y=True)
    return train_test_split(
        (np.asarray(x) / 16).astype(np.float32), y, test_size=0.2, stratify=y, random_state=seed
    )


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train both networks and the baseline, and compare them on the held-out images.

    Args:
        quick: fewer epochs.
        seed: seed of everything random.
        progress: called as training advances.
    """
    x, x_test, y, y_test = images(seed)
    baseline = LogisticRegression(max_iter=1000).fit(x, y).score(x_test, y_test)
    models = {
        "rows": RNNClassifier(
            128, bidirectional=True, lr=5e-3, lr_decay=0.93, epochs=4 if quick else 30, seed=seed
        ),
        "pixels": RNNClassifier(
            128,
            cell="gru",
            lr=8e-3,
            lr_decay=0.95,
            batch_size=64,
            epochs=6 if quick else 40,
            seed=seed,
        ),
    }
    measures, predicted = [], {}
    for name, model in models.items():
        shape = (-1, *SHAPES[name])
        model.set_params(verbose=partial(progress, f"learning to read {name}"))
        model.fit(x.reshape(shape), y)
        predicted[name] = model.predict(x_test.reshape(shape))
        accuracy = float((predicted[name] == y_test).mean())
        values = {"network": accuracy, "logistic regression": baseline}
        measures.append(Measure(f"accuracy, by {name}", values))
    title = f"A digit from its image, read step by step; {len(y_test)} held-out images"
    return Result(title, measures, partial(_draw, x=x_test, y=y_test, predicted=predicted))


def _draw(figure, x, y, predicted) -> None:
    """Confusion matrices, and the images that are misread."""
    figure.set_size_inches(9, 5.6)
    above, below = figure.subfigures(2, 1, height_ratios=(3, 1.6))
    for axes, (name, classes) in zip(above.subplots(1, 2), predicted.items(), strict=True):
        counts = np.zeros((10, 10), int)
        np.add.at(counts, (y, classes), 1)
        wrong = counts * (1 - np.eye(10, dtype=int))
        axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(4, 2 * wrong.max()))
        for i, j in np.argwhere(counts):
            axes.text(
                j,
                i,
                counts[i, j],
                ha="center",
                va="center",
                fontsize=8,
                color=plotting.GREY if i == j else "black",
            )
        axes.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="digit")
        axes.set_title(f"by {name}: {(y == classes).mean():.1%} right")
    panels = below.subplots(2, 12)
    for row, (name, classes) in zip(panels, predicted.items(), strict=True):
        row[0].text(
            -0.35, 0.5, f"misread\nby {name}", transform=row[0].transAxes, ha="right", va="center"
        )
        for axes, i in zip(row, np.flatnonzero(classes != y), strict=False):
            axes.imshow(x[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(f"{y[i]} as {classes[i]}", loc="center", fontsize=7, pad=2)
    for axes in panels.flat:
        axes.set_axis_off()
