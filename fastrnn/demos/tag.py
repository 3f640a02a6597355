"""Python source, character by character, to kinds of token: synced many to many.

Task: for each character, the kind of token it belongs to: a comment, a string, a number, a keyword,
another name, an operator, or none of these (space). "for" is a keyword in "for x" and not in
"format": a network that reads in one direction cannot know in time.
Data: modules of Python's standard library, some pieces of whole lines of each, about 256 characters
long, labelled by tokenize. A fifth of the modules is held out.
Network: bidirectional LSTM(characters -> 2 x 64), Linear on the output at each step; for comparison
an LSTM of one direction with 128 units.
Baseline: for each character its most frequent kind.
Source: Graves and Schmidhuber (2005), "Framewise phoneme classification with bidirectional LSTM and
other neural network architectures".
"""

import io
import keyword
import os
import token
import tokenize
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import RNNTagger

# A letter for each kind, because the labels of a piece are one string.
KINDS = {
    "c": "comment",
    "s": "string",
    "n": "number",
    "k": "keyword",
    "i": "other name",
    "o": "operator",
    " ": "space",
}
OF = {token.COMMENT: "c", token.STRING: "s", token.NUMBER: "n", token.OP: "o"}
COLOURS = {
    "c": "#dddddd",
    "s": "#b7e3d3",
    "n": "#f3d3e4",
    "k": "#b5d8ee",
    "i": "#fff7c2",
    "o": "#f7d3b5",
    " ": "#ffffff",
}
PIECE = 256  # characters, about
EXAMPLE = 'if notes is None: return format(index, "for")  # why not\n'


def kinds_of(source: str) -> str:
    """Return the kind of each character of a source, as one string.

    Args:
        source: valid Python.
    """
    starts = np.cumsum([0, *(len(line) for line in source.splitlines(keepends=True))])
    kinds = np.full(len(source), " ")
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = OF.get(found.type)
        if found.type == token.NAME:
            kind = "k" if keyword.iskeyword(found.string) else "i"
        elif "STRING" in token.tok_name[found.type]:  # the parts of an f-string
            kind = "s"
        (row, column), (last_row, last_column) = found.start, found.end
        if kind:
            kinds[starts[row - 1] + column : starts[last_row - 1] + last_column] = kind
    return "".join(kinds)


def modules() -> list[str]:
    """Return the sources of the modules of the standard library that are plain ASCII, by name."""
    plain = {*map(chr, range(32, 127)), "\n"}
    paths = sorted(Path(os.__file__).parent.glob("*.py"))
    texts = (path.read_bytes().decode("ascii", "replace") for path in paths)
    return [text for text in (text.replace("\r\n", "\n") for text in texts) if {*text} <= plain]


def pieces(sources: Sequence[str], count: int, random: np.random.Generator):
    """Cut sources between lines; return some pieces of each, and their kinds.

    Args:
        sources: the texts to cut.
        count: number of pieces taken of each, if it has as many.
        random: generator that chooses them.
    """
    texts, labels = [], []
    for source in sources:
        ends = np.cumsum([0, *(len(line) for line in source.splitlines(keepends=True))])
        cuts = ends[np.unique(np.searchsorted(ends, np.arange(0, len(source), PIECE)))]
        kinds = kinds_of(source)
        for i in random.permutation(len(cuts) - 1)[:count]:
            texts.append(source[cuts[i] : cuts[i + 1]])
            labels.append(kinds[cuts[i] : cuts[i + 1]])
    return texts, labels


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train both networks, count for the baseline, and compare them on the held-out files.

    Args:
        quick: fewer files and epochs.
        seed: seed of everything random.
        progress: called as training advances.
    """
    random = np.random.default_rng(seed)
    sources = modules()
    random.shuffle(sources)
    fifth, count = len(sources) // 5, 2 if quick else 8
    x, y = pieces(sources[fifth:], count, random)
    x_test, y_test = pieces(sources[:fifth], count, random)
    known = set("".join(x))
    x_test = ["".join(c if c in known else " " for c in text) for text in x_test]
    truth = np.array(list("".join(y_test)))
    models = {
        "bidirectional": RNNTagger(32 if quick else 64),
        "one direction": RNNTagger(64 if quick else 128, bidirectional=False),
    }
    found = {}
    for name, model in models.items():
        model.set_params(
            lr=6e-3,
            lr_decay=0.8,
            batch_size=8,
            epochs=3 if quick else 8,
            seed=seed,
            verbose=partial(progress, name),
        ).fit(x, y)
        found[name] = np.concatenate(model.predict(x_test))
    seen: dict[str, Counter] = defaultdict(Counter)
    for character, kind in zip("".join(x), "".join(y), strict=True):
        seen[character][kind] += 1
    commonest = {character: kinds.most_common(1)[0][0] for character, kinds in seen.items()}
    found["commonest kind"] = np.array([commonest.get(c, " ") for c in "".join(x_test)])
    measures = [
        Measure(
            "accuracy", {method: float((kinds == truth).mean()) for method, kinds in found.items()}
        )
    ]
    for kind in "kis":
        rates = {method: found_of(kinds, truth, kind) for method, kinds in found.items()}
        measures.append(Measure(f"found of {KINDS[kind]}s", rates))
    title = (
        f"Kind of token of each character of Python source; {len(truth):,} held-out "
        f"characters of {fifth} files"
    )
    return Result(title, measures, partial(_draw, models=models, found=found, truth=truth))


def found_of(kinds, truth, kind: str) -> float:
    """Return the recall of a kind: the share of its characters that are recognised."""
    return float((kinds == truth)[truth == kind].mean())


def _draw(figure, models, found, truth) -> None:
    """A line of source as the networks see it, and the recall of each kind."""
    figure.set_size_inches(9.5, 5)
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.9))
    rows = {"tokenize": kinds_of(EXAMPLE)}
    rows |= {method: model.predict([EXAMPLE])[0] for method, model in models.items()}
    for y, kinds in enumerate(rows.values()):
        for x, (character, kind) in enumerate(zip(EXAMPLE[:-1], kinds, strict=False)):
            wrong = kind != rows["tokenize"][x]
            above.barh(y, 1, 1, x, color=COLOURS[kind], edgecolor="white", linewidth=0.5)
            above.text(
                x + 0.5,
                y,
                character,
                ha="center",
                va="center",
                family="monospace",
                weight="bold" if wrong else "normal",
                color=plotting.ORANGE if wrong else "black",
            )
    above.set(xlim=(0, len(EXAMPLE) - 1), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    above.set_yticks(range(len(rows)), rows)
    above.tick_params(length=0)
    above.spines[:].set_visible(False)
    above.set_title("colours: kinds, as named below; an orange letter: taken for another kind")
    markers = {
        "bidirectional": ("o", plotting.BLUE),
        "one direction": ("s", plotting.ORANGE),
        "commonest kind": ("|", plotting.GREY),
    }
    for method, (marker, colour) in markers.items():
        shares = [found_of(found[method], truth, kind) for kind in KINDS]
        below.plot(
            shares,
            range(len(KINDS)),
            marker,
            color=colour,
            markersize=8,
            label=method,
            markeredgewidth=2 if marker == "|" else 0,
        )
    for y, kind in enumerate(KINDS):
        below.axhspan(y - 0.35, y + 0.35, color=COLOURS[kind], zorder=0)
    below.set_yticks(range(len(KINDS)), KINDS.values())
    below.set(xlim=(0, 1.01), ylim=(len(KINDS) - 0.5, -0.5))
    below.set_xlabel("share of the characters of a kind that is found")
    below.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    below.tick_params(axis="y", length=0)
    below.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
