"""What a demo returns: figures and those of its baselines, a text, and a function to draw them.

How a result is printed is in cli/demo.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class Measure(NamedTuple):
    """One figure and its baselines: a row of the table.

    Attributes:
        name: the quantity measured, with its unit if it has one.
        values: method -> its figure, a column each; networks first, baselines after them.
        form: format specification of a figure, as for `format`.
        higher: higher is better; else lower is.
    """

    name: str
    values: dict[str, float]
    form: str = ".1%"
    higher: bool = True

    @property
    def best(self) -> str:
        """The method with the best figure."""
        return (max if self.higher else min)(self.values, key=lambda method: self.values[method])


class Result(NamedTuple):
    """The result of a demo.

    Attributes:
        title: what was learned from what, in one line.
        measures: the rows of the table.
        draw: draws into a matplotlib Figure of 8 x 4.5 inches with a constrained layout.
        text: examples or a sample, to print below the table.
    """

    title: str
    measures: list[Measure]
    draw: Callable[[Any], None]
    text: str = ""


class ProgressReport(Protocol):
    """A function that a demo calls: what it is doing, how many parts are done, and the total."""

    def __call__(self, what: str, done: int, total: int) -> None: ...  # noqa: D102


def silent(what: str, done: int, total: int) -> None:
    """Default progress callback; does nothing."""
