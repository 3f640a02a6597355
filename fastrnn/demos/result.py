"""What a demo returns: figures beside baselines, a text, and a way to draw them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class Measure(NamedTuple):
    """One figure and its baselines: a row of the table.

    Attributes:
        name: what is measured, and its unit where it has one.
        values: who -> the figure; a column each. Networks come first, baselines after them.
        form: how a figure is written, as by `format`.
        higher: higher is better; else lower is.
    """

    name: str
    values: dict[str, float]
    form: str = ".1%"
    higher: bool = True

    @property
    def best(self) -> str:
        """Who has the best figure."""
        return (max if self.higher else min)(self.values, key=lambda who: self.values[who])


class Result(NamedTuple):
    """What a demo has found.

    Attributes:
        title: what was learned from what, in one line.
        measures: the rows of the table.
        draw: fills a matplotlib Figure that has a constrained layout and 8 x 4.5 inches.
        text: what else is to be read: examples, a sample.
    """

    title: str
    measures: list[Measure]
    draw: Callable[[Any], None]
    text: str = ""


class Report(Protocol):
    """Told how far a demo is: at what, how many parts of it are done, and of how many."""

    def __call__(self, what: str, done: int, total: int) -> None: ...  # noqa: D102


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
