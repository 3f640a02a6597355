"""Names of countries and languages, from English to French and to German: sequence to sequence.

Task: another language's name from the letters of the English one.
Data: CLDR's names of territories and languages through babel, about 940; a sixth of the names is
held out, but for those with letters that no other has. Many belong together (Ireland, Irish), so
parts of them are known; no held-out name is learnt from in any language.
Network: an encoder, two layers of bidirectional GRU(letters -> 2 x 128), whose final state is where
the decoder begins, two layers of GRU(letters -> 256); Linear on its output. The first symbol that
is read says what to write, so one network learns both languages, and to copy English too, which is
how it learns to spell. Beam search writes.
Baseline: the English name as it is. It is a strong one: of the German names two in five are the
English ones. The network has to squeeze a name into one vector and back, and few hundred names
teach it that only roughly; attention would let it copy.
Source: Sutskever, Vinyals and Le (2014), "Sequence to sequence learning with neural networks"; the
symbol that says the language: Johnson et al. (2017), "Google's multilingual neural machine
translation system".
"""

from functools import partial
from typing import Any

import numpy as np
from babel import Locale

from fastrnn import plotting
from fastrnn.demos.measures import character_error_rate, edit_distance, exact
from fastrnn.demos.result import Measure, Report, Result, silent
from fastrnn.models import Seq2Seq

LANGUAGES = {"fr": "French", "de": "German"}
FEW = 300  # names, of the short form


def names(language: str) -> dict[Any, str]:
    """Return the names of territories and languages in a language.

    Args:
        language: its code.

    Returns:
        (kind, code) -> name.
    """
    locale = Locale(language)
    kinds = {"territory": locale.territories, "language": locale.languages}
    return {(kind, code): of[code] for kind, of in kinds.items() for code in of}


def split(seed: int, most: int | None = None):
    """Return the names to learn from, and those held out.

    Args:
        seed: of the split.
        most: names in all; None: all there are.

    Returns:
        Two lists of dicts, language -> name.
    """
    found = {language: names(language) for language in ("en", *LANGUAGES)}
    rows = {
        found["en"][key]: {language: of[key] for language, of in found.items()}
        for key in sorted(found["en"])
        if all(key in of for of in found.values())
    }
    drawn = np.random.default_rng(seed).permutation(sorted(rows))[:most].tolist()
    sixth = len(drawn) // 6
    known = set("".join(drawn[sixth:]))
    held_out = [name for name in drawn[:sixth] if set(name) <= known]
    return [rows[n] for n in drawn if n not in held_out], [rows[n] for n in held_out]


def run(quick: bool = False, seed: int = 0, progress: Report = silent) -> Result:
    """Train the network, and compare what it writes for the held-out names with copying.

    Args:
        quick: fewer names and epochs, a smaller network, greedy search.
        seed: of everything random.
        progress: told how far it is.
    """
    learnt, held_out = split(seed, FEW if quick else None)
    network = Seq2Seq(
        96 if quick else 256,
        cell="gru",
        num_layers=1 if quick else 2,
        bidirectional=True,
        dropout=0.0 if quick else 0.4,
        lr=5e-3,
        lr_decay=0.92,
        epochs=12 if quick else 28,
        seed=seed,
        verbose=partial(progress, "learning names"),
    )
    pairs = [(_asked(row, to), row[to]) for row in learnt for to in ("en", *LANGUAGES)]
    network.fit(*(list(side) for side in zip(*pairs, strict=True)))
    measures, written = [], {}
    english = [row["en"] for row in held_out]
    for to, language in LANGUAGES.items():
        right = [row[to] for row in held_out]
        asked = [_asked(row, to) for row in held_out]
        written[to] = network.predict(asked, beam=1 if quick else 4)
        found = {"network": written[to], "copying": english}
        measures += [
            Measure(
                f"{language}, exactly right",
                {who: exact(some, right) for who, some in found.items()},
            ),
            Measure(
                f"{language}, character error rate",
                {who: character_error_rate(some, right) for who, some in found.items()},
                higher=False,
            ),
        ]
    title = f"Names of countries and languages; {len(held_out)} held-out names"
    return Result(
        title,
        measures,
        partial(_draw, held_out=held_out, written=written),
        _examples(held_out, written),
    )


def _asked(row: dict[str, str], to: str) -> str:
    """Return what the network reads; no name has a digit that could be mistaken."""
    return f"{['en', *LANGUAGES].index(to)}{row['en']}"


def _examples(held_out, written) -> str:
    """Show some names, from those that are written best to those that are written worst."""
    lines = []
    for to, language in LANGUAGES.items():
        rates = [
            edit_distance(a, row[to]) / len(row[to])
            for a, row in zip(written[to], held_out, strict=True)
        ]
        changed = [
            i for i in np.argsort(rates, kind="stable") if held_out[i]["en"] != written[to][i]
        ]
        for i in np.array(changed)[np.linspace(0, 0.9 * (len(changed) - 1), 6).astype(int)]:
            row = held_out[i]
            verdict = "right" if written[to][i] == row[to] else f"is {row[to]}"
            lines.append(f"{language}: {row['en']} -> {written[to][i]} ({verdict})")
    return "\n".join(lines)


def _draw(figure, held_out, written) -> None:
    """How many held-out names are within how many edits, beside copying."""
    for axes, (to, language) in zip(
        figure.subplots(1, 2, sharey=True), LANGUAGES.items(), strict=True
    ):
        right = [row[to] for row in held_out]
        for who, found, colour in (
            ("network", written[to], plotting.BLUE),
            ("copying English", [row["en"] for row in held_out], plotting.ORANGE),
        ):
            rates = sorted(edit_distance(a, b) / len(b) for a, b in zip(found, right, strict=True))
            shares = np.arange(1, len(rates) + 1) / len(rates)
            line = "-" if who == "network" else "--"
            axes.step(
                [0, *rates, 2],
                [0, *shares, 1],
                line,
                where="post",
                color=colour,
                label=f"{who}, {exact(found, right):.0%} exactly right",
            )
        axes.set(xlim=(0, 1.2), ylim=(0, 1.02), xlabel="edits to the right name, per character")
        axes.set_title(f"to {language}")
        axes.legend(loc="lower right")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    figure.axes[0].set_ylabel("held-out names with at most so many")
