"""A digit's image to its name, letter by letter: one to many.

Task: 64 pixels in, the English name out; the network also learns where a name ends.
Data: scikit-learn's digits, 1,797 images of 8 x 8 pixels; a fifth is held out, each class in
proportion.
Network: a Linear (64 -> 2 x 96) from the pixels to h_0 of two layers of GRU(96), which read the
previous letter; a Linear on their output predicts the next one. Greedy search.
Baselines: the most frequent name; and logistic regression, whose class is always spelt correctly.
Source: Vinyals et al. (2015), "Show and tell: a neural image caption generator"; the digits are
Alpaydin and Kaynak's (1998).
"""

from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression

from fastrnn import plotting
from fastrnn.demos.digits import images
from fastrnn.demos.measures import character_error_rate, exact
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNGenerator

NAMES = np.array("zero one two three four five six seven eight nine".split())


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train network and baseline, and compare the names they give to the held-out images.

    Args:
        quick: fewer epochs.
        seed: seed of everything random.
        progress: called as training advances.
    """
    x, x_test, y, y_test = images(seed)
    network = RNNGenerator(
        96,
        cell="gru",
        num_layers=2,
        dropout=0.3,
        lr=5e-3,
        lr_decay=0.94,
        epochs=8 if quick else 40,
        seed=seed,
        verbose=partial(progress, "learning to spell"),
    )
    network.fit(x, NAMES[y].tolist())
    found = {
        "network": network.predict(x_test),
        "logistic regression": NAMES[LogisticRegression(max_iter=1000).fit(x, y).predict(x_test)],
        "commonest name": NAMES[np.full(len(y_test), np.bincount(y).argmax())],
    }
    right = NAMES[y_test].tolist()
    measures = [
        Measure(
            "names exactly right", {method: exact(names, right) for method, names in found.items()}
        ),
        Measure(
            "character error rate",
            {method: character_error_rate(names, right) for method, names in found.items()},
            higher=False,
        ),
    ]
    wrong = sorted({name for name in found["network"] if name not in NAMES})
    text = f"written, but no digit's name: {', '.join(wrong) or 'none'}"
    title = f"A digit's name from its image, letter by letter; {len(right)} held-out images"
    return Result(
        title, measures, partial(_draw, x=x_test, found=found["network"], right=right), text
    )


def _draw(figure, x, found, right) -> None:
    """Images with the names given to them: one of each digit, and mistakes."""
    wrong = [i for i, name in enumerate(found) if name != right[i]]
    first = {right[i]: i for i in reversed(range(len(found))) if i not in wrong}
    rows = -(-min(len(wrong), 20) // 10)
    figure.set_size_inches(9, 1.6 * (1 + rows) + 0.3)
    panels = figure.subplots(1 + rows, 10, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    shown = [first[name] for name in NAMES if name in first] + wrong[:20]
    for axes, i in zip(panels.flat, shown, strict=False):
        axes.imshow(x[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        mistake = found[i] != right[i]
        axes.set_title(
            found[i] or "(nothing)",
            loc="center",
            weight="bold",
            color=plotting.ORANGE if mistake else plotting.BLUE,
        )
        if mistake:
            axes.text(0.5, -0.06, f"is {right[i]}", transform=axes.transAxes, ha="center", va="top")
    share = exact(found, right)
    figure.suptitle(
        f"what is written for an image: {share:.1%} of {len(right)} are right",
        x=0.01,
        ha="left",
        size=10,
    )
