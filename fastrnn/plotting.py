"""What all pictures share: file formats, one style, and colours that colour-blind readers can tell.

What is in a picture is decided where its numbers are. matplotlib is only imported when a picture is
drawn, and without pyplot: no window opens and no global state changes.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastrnn import files

FORMATS = ("png", "svg", "pdf", "jpg")
# Okabe and Ito's palette (2008), except for the grey.
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
    "text.parse_math": False,  # a name may contain a dollar sign
}


def save(path: Any, caller: str, draw: Callable[[Any], None]) -> None:
    """Write a picture into a file.

    Args:
        path: the file to write; its ending chooses the format.
        caller: what asks for the picture, for messages.
        draw: draws into a matplotlib Figure that has a constrained layout.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the ending is none of FORMATS.
        OSError: the file cannot be written.
    """
    kind = format_of(path, caller)
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # whatever style the user has set
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        draw(figure)
        picture = io.BytesIO()
        figure.savefig(picture, format=kind)
    files.write(path, picture.getvalue())


def format_of(path: Any, caller: str) -> str:
    """Return the format of a picture; raises early what `save` would raise later.

    Args:
        path: the file to write.
        caller: what asks for the picture, for messages.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the ending is none of FORMATS.
    """
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{caller}: the file is {str(path)!r}; expected a name that ends in "
            f"{', '.join('.' + known for known in FORMATS)}."
        )
    try:
        import matplotlib as _  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ModuleNotFoundError(
            f'{caller} needs matplotlib: pip install "fastrnn[plot]"', name="matplotlib"
        ) from None
    return kind


def plain_numbers(axis: Any) -> None:
    """Label the powers of ten of a log axis as 0.01 and 1e-06, since formulas are switched off.

    Args:
        axis: the xaxis or yaxis of a matplotlib Axes.
    """
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")
