"""Tables, of pandas, Polars or Arrow: their columns, and the names that fit saw. None is imported.

A table with one column of texts or sequences is that column. A list of tables is a list of
sequences, with a step a row and a feature a column. What else a table could mean is for the user to
say.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


def columns(given: Any) -> list | None:
    """Return the names of a table's columns; None: it is no table."""
    shape = getattr(given, "shape", ())
    if isinstance(given, np.ndarray) or not isinstance(shape, tuple) or len(shape) != 2:
        return None
    names = getattr(given, "column_names", None)  # Arrow's, whose `columns` are the data
    names = getattr(given, "columns", None) if names is None else names
    return None if names is None else list(names)


def first_column(table: Any, names: list) -> Any:
    """Return the first column of a table."""
    if hasattr(table, "iloc"):
        return table.iloc[:, 0]
    return table.column(0) if hasattr(table, "column_names") else table[names[0]]


def feature_names(where: str, given: Any) -> NDArray | None:
    """Return the names of the columns of a table, or of those of all tables in a list.

    Args:
        where: the model and the argument, for errors.
        given: X; a table of one column of texts or sequences is a list of these, without names.

    Returns:
        Strings, as an array of objects, as scikit-learn has them; None: there are none.

    Raises:
        TypeError: some names are strings, others not.
        ValueError: two tables have different names.
    """
    whole = columns(given)
    if whole is not None:
        if len(whole) == 1 and np.asarray(given).dtype.kind not in "fiub":
            return None
        return _strings(where, whole)
    if not isinstance(given, list | tuple) or not given:
        return None
    found = [columns(row) for row in given]
    if any(names is None for names in found):
        return None
    for n, names in enumerate(found):
        if names != found[0]:
            raise ValueError(
                f"{where}[{n}] has the columns {names}, and the first has {found[0]}; expected the "
                "same, in one order."
            )
    return _strings(where, found[0])


def check_names(owner: str, fitted: NDArray | None, given: NDArray | None) -> None:
    """Raise ValueError unless the names are those of fit; warn where only one of the two has names.

    Args:
        owner: the model, for errors.
        fitted: the names that X had in fit.
        given: those that it has now.
    """
    if fitted is None and given is None:
        return
    if fitted is None:
        message = f"X has feature names, but {owner} was fitted without feature names"
        warnings.warn(message, stacklevel=4)
    elif given is None:
        message = f"X does not have valid feature names, but {owner} was fitted with feature names"
        warnings.warn(message, stacklevel=4)
    elif fitted.tolist() != given.tolist():
        raise ValueError(
            f"{owner}: The feature names should match those that were passed during fit.\n"
            + _listed("Feature names unseen at fit time:", set(given) - set(fitted))
            + _listed("Feature names seen at fit time, yet now missing:", set(fitted) - set(given))
            + "Feature names must be in the same order as they were in fit.\n"
            * (set(fitted) == set(given))
            + "Give X[model.feature_names_in_]."
        )


def _listed(title: str, names: set) -> str:
    shown = [f"- {name}\n" for name in sorted(names)]
    return f"{title}\n{''.join(shown[:5])}{'- ...' * (len(shown) > 5)}" if shown else ""


def _strings(where: str, names: list | None) -> NDArray | None:
    text = [isinstance(name, str) for name in names or ()]
    if any(text) and not all(text):
        raise TypeError(
            f"{where}: Feature names are only supported if all input features have string names, "
            f"but here they are {names}; X.columns = X.columns.astype(str) makes them so."
        )
    return np.array(names, object) if any(text) else None
