"""The characters of a word to its polarity: is it positive or negative?

Task: positive or negative, from the letters of a word alone, once with words held out at random,
once with whole families of them.
Data: vaderSentiment's lexicon: the 7,174 of its entries that are words of at least three letters
a-z, each with the mean rating of ten people, of which the sign is taken. A fifth is held out. At
random, most held-out words have relatives among the others (cheer, cheered, cheerful), so their
stems are known. A family is all words with the same first five letters; if it is held out as a
whole, only prefixes and suffixes are known (un-, -less), and relatives with a prefix (distrust,
trust).
Network: two layers of bidirectional GRU(26 -> 2 x 96), dropout, Linear on the final h.
Baselines: the more frequent polarity; logistic regression on n-grams of two to six characters.
Source: Hutto and Gilbert (2014), "VADER: a parsimonious rule-based model for sentiment analysis of
social media text", for the lexicon.
"""

import re
from functools import partial
from importlib import resources

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNClassifier

FAMILY = 5  # letters
SHOWN = "ful|less"  # the held-out words shown are those in which the suffix matters


def lexicon():
    """Return the words, sorted, and whether each is positive."""
    text = (resources.files("vaderSentiment") / "vader_lexicon.txt").read_text(encoding="utf-8")
    rows = (line.split("\t")[:2] for line in text.splitlines())
    ratings = {word: float(mean) for word, mean in rows if re.fullmatch("[a-z]{3,}", word)}
    words = sorted(ratings)
    return np.array(words), np.array([ratings[word] > 0 for word in words])


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train network and baseline on each split, and compare them on the held-out words.

    Args:
        quick: a third of the families, fewer epochs and units.
        seed: seed of everything random.
        progress: called as training advances.
    """
    words, positive = lexicon()
    families = np.array([word[:FAMILY] for word in words])
    if quick:
        some = np.isin(families, np.unique(families)[::3])
        words, positive, families = words[some], positive[some], families[some]
    measures, shown = [], []
    for name, groups in (("words", words), ("families", families)):
        splitter = GroupShuffleSplit(1, test_size=0.2, random_state=seed)
        ((learnt, held_out),) = splitter.split(words, positive, groups)
        network = RNNClassifier(
            48 if quick else 96,
            cell="gru",
            bidirectional=True,
            num_layers=1 if quick else 2,
            dropout=0.0 if quick else 0.6,
            lr=6e-3,
            lr_decay=0.87,
            batch_size=64,
            epochs=6 if quick else 20,
            seed=seed,
            verbose=partial(progress, f"new {name}"),
        )
        n_grams = make_pipeline(
            CountVectorizer(analyzer="char_wb", ngram_range=(2, 6), binary=True),
            LogisticRegression(max_iter=2000),
        )
        x, y, x_test, y_test = words[learnt], positive[learnt], words[held_out], positive[held_out]
        network.fit(x.tolist(), y)
        said = network.predict_proba(x_test.tolist())[:, 1]
        accuracy = {
            "network": float(((said > 0.5) == y_test).mean()),
            "n-grams": float(n_grams.fit(x, y).score(x_test, y_test)),
            "commoner polarity": float((y_test == (y.mean() > 0.5)).mean()),
        }
        measures.append(Measure(f"accuracy, new {name}", accuracy))
        shown.append((network, x_test, y_test, said))
    title = f"Polarity of a word from its characters; a fifth of {len(words):,} is held out"
    return Result(title, measures, partial(_draw, shown=shown[0]), _examples(*shown[0][1:]))


def _examples(words, positive, said) -> str:
    """Name some held-out words: those the network is most certain of, right and wrong."""
    shown = np.array([bool(re.search(SHOWN, word)) for word in words])
    words, positive, said = words[shown], positive[shown], said[shown]
    order, lines = np.argsort(-np.abs(said - 0.5)), []  # the most certain first
    for verdict, right in (("rightly", True), ("wrongly", False)):
        for polarity in (True, False):
            some = [
                i
                for i in order
                if (said[i] > 0.5) == polarity and (positive[i] == polarity) == right
            ]
            lines.append(
                f"{verdict} {'positive' if polarity else 'negative'}: "
                f"{', '.join(words[some[:6]]) or 'none'}"
            )
    return "\n".join(lines)


def _draw(figure, shown) -> None:
    """How certain the network is, and its opinion of some words letter by letter."""
    network, words, positive, said = shown
    figure.set_size_inches(9.5, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    bins = np.linspace(0, 1, 21)
    for polarity, colour in (("positive", plotting.BLUE), ("negative", plotting.ORANGE)):
        some = said[positive == (polarity == "positive")]
        left.hist(some, bins, histtype="step", color=colour, linewidth=1.6)
        at = 0.97 if polarity == "positive" else 0.03
        left.text(
            at,
            0.97,
            f"{polarity}\nwords",
            color=colour,
            va="top",
            weight="bold",
            ha="right" if at > 0.5 else "left",
            transform=left.transAxes,
        )
    left.axvline(0.5, color=plotting.GREY, linewidth=1, linestyle=":")
    left.set(xlabel="probability of positive", ylabel="held-out words", xlim=(0, 1))
    left.set_ylim(top=1.25 * left.get_ylim()[1])
    left.set_title("words that are new, relatives of which are known")
    _letters(right, network, [str(word) for word in words])


def _letters(axes, network, words) -> None:
    """Draw the words on which the network changes its mind most, letter by letter."""
    from matplotlib.colors import LinearSegmentedColormap

    read = {}
    for word in {word[:FAMILY]: word for word in words if re.search(SHOWN, word)}.values():
        read[word] = network.predict_proba([word[:k] for k in range(1, len(word) + 1)])[:, 1]
    rows = sorted(read, key=lambda word: float(np.abs(np.diff(read[word])).max()))[-14:]
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, word in enumerate(sorted(rows, key=lambda word: float(read[word][-1]))):
        table[row, : len(word)] = read[word]
        for at, letter in enumerate(word):
            axes.text(at, row, letter, ha="center", va="center")
    colours = LinearSegmentedColormap.from_list("", [plotting.ORANGE, "#f7f7f7", plotting.BLUE])
    image = axes.imshow(table, cmap=colours, vmin=-0.2, vmax=1.2, aspect="auto")
    axes.figure.colorbar(
        image,
        ax=axes,
        label="probability of positive",
        ticks=[0, 0.5, 1],
        boundaries=np.linspace(0, 1, 51),
    )
    axes.set_axis_off()
    axes.set_title("what it thinks after each letter of words with -ful and -less")
