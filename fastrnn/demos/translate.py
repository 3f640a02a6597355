"""Names of countries and languages, from English to French and to German: sequence to sequence.

Task: a name in another language, from the letters of the English one.
Data: CLDR's names of territories and languages through babel, about 940; a sixth of the names is
held out, except those with letters that occur in no other. Many are related (Ireland, Irish), so
parts of them are known; no held-out name is learnt from in any language.
Network: an encoder, two layers of bidirectional GRU(letters -> 2 x 128), whose final state is the
initial state of the decoder, two layers of GRU(letters -> 256) with a Linear on their output. The
first symbol of the input names the target language, so one network learns both languages, and also
to copy English, which teaches it to spell. Beam search.
Baseline: the English name unchanged. It is a strong one: two in five German names equal the
English ones. The network has to squeeze a name into one vector and back, which a few hundred names
teach it only roughly; attention would let it copy.
Source: Sutskever, Vinyals and Le (2014), "Sequence to sequence learning with neural networks"; for
the symbol of the language Johnson et al. (2017), "Google's multilingual neural machine translation
system".
"""

from functools import partial
from typing import Any

import numpy as np
from babel import Locale

from fastrnn import plotting
from fastrnn.demos.measures import character_error_rate, edit_distance, exact
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.models import Seq2Seq

LANGUAGES = {"fr": "French", "de": "German"}
FEW = 300  # names, in the short form


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


def split(seed: int, count: int | None = None):
    """Return the names to learn from, and those held out.

    Args:
        seed: seed of the split.
        count: number of names in all; None: all there are.

    Returns:
        Two lists of dicts, language -> name.
    """
    found = {language: names(language) for language in ("en", *LANGUAGES)}
    rows = {
        found["en"][key]: {language: of[key] for language, of in found.items()}
        for key in sorted(found["en"])
        if all(key in of for of in found.values())
    }
    drawn = np.random.default_rng(seed).permutation(sorted(rows))[:count].tolist()
    sixth = len(drawn) // 6
    known = set("".join(drawn[sixth:]))
    held_out = [name for name in drawn[:sixth] if set(name) <= known]
    return [rows[n] for n in drawn if n not in held_out], [rows[n] for n in held_out]


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Train the network, and compare its translations of the held-out names with copying.

    Args:
        quick: fewer names and epochs, a smaller network, greedy search.
        seed: seed of everything random.
        progress: called as training advances.
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
    pairs = [(_input(row, to), row[to]) for row in learnt for to in ("en", *LANGUAGES)]
    network.fit(*(list(side) for side in zip(*pairs, strict=True)))
    measures, written = [], {}
    english = [row["en"] for row in held_out]
    for to, language in LANGUAGES.items():
        right = [row[to] for row in held_out]
        inputs = [_input(row, to) for row in held_out]
        written[to] = network.predict(inputs, beam=1 if quick else 4)
        found = {"network": written[to], "copying": english}
        measures += [
            Measure(
                f"{language}, exactly right",
                {method: exact(some, right) for method, some in found.items()},
            ),
            Measure(
                f"{language}, character error rate",
                {method: character_error_rate(some, right) for method, some in found.items()},
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


def _input(row: dict[str, str], to: str) -> str:
    """Return the input of the network: the language's number and the name, which has no digit."""
    return f"{['en', *LANGUAGES].index(to)}{row['en']}"


def _examples(held_out, written) -> str:
    """Show some names, from the best translated to the worst."""
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
    """The share of held-out names within a number of edits, for the network and for copying."""
    for axes, (to, language) in zip(
        figure.subplots(1, 2, sharey=True), LANGUAGES.items(), strict=True
    ):
        right = [row[to] for row in held_out]
        for method, found, colour in (
            ("network", written[to], plotting.BLUE),
            ("copying English", [row["en"] for row in held_out], plotting.ORANGE),
        ):
            rates = sorted(edit_distance(a, b) / len(b) for a, b in zip(found, right, strict=True))
            shares = np.arange(1, len(rates) + 1) / len(rates)
            line = "-" if method == "network" else "--"
            axes.step(
                [0, *rates, 2],
                [0, *shares, 1],
                line,
                where="post",
                color=colour,
                label=f"{method}, {exact(found, right):.0%} exactly right",
            )
        axes.set(xlim=(0, 1.2), ylim=(0, 1.02), xlabel="edits to the right name, per character")
        axes.set_title(f"to {language}")
        axes.legend(loc="lower right")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    figure.axes[0].set_ylabel("share of held-out names within that distance")
