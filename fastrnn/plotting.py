"""What all pictures share: file formats, one look, and colours that every eye tells apart.

What is in a picture is decided where its numbers are. matplotlib is imported here only, when asked
for, and without its pyplot: no window opens and no state is left behind.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

FORMATS = ("png", "svg", "pdf", "jpg")
# Okabe and Ito's (2008), but for the grey.
BLUE, ORANGE, GREEN, SKY, PURPLE, GREY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#56b4e9",
    "#cc79a7",
    "#888888",
)
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "savefig.dpi": 130,
    "text.parse_math": False,  # a name may have a dollar
}


def save(path: Any, who: str, draw: Callable[[Any], None]) -> None:
    """Write a picture into a file.

    Args:
        path: of the file; its ending says the format.
        who: asks for it, for messages.
        draw: takes a matplotlib Figure, with a constrained layout, and draws into it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the ending is none of FORMATS.
        OSError: the file cannot be written.
    """
    kind = format_of(path, who)
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # whatever style the user has set
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        draw(figure)
        figure.savefig(path, format=kind)


def format_of(path: Any, who: str) -> str:
    """Return the format of a picture; a way to learn early that `save` would refuse.

    Args:
        path: of the file.
        who: as for `save`.

    Raises:
        ModuleNotFoundError, ValueError: as `save`.
    """
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{who}: the file is {str(path)!r}; expected a name that ends in "
            f"{', '.join('.' + known for known in FORMATS)}."
        )
    try:
        import matplotlib as _  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ModuleNotFoundError(
            f'{who} needs matplotlib: pip install "fastrnn[plot]"', name="matplotlib"
        ) from None
    return kind


def plain_numbers(axis: Any) -> None:
    """Label the powers of ten of a log axis as 0.01 and 1e-06: formulas are off.

    Args:
        axis: of a matplotlib Axes.
    """
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")
