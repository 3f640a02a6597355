"""Checks that every demo must pass in its short form: table, progress, and a legible picture."""

import io
import math

import pytest
from rich.console import Console

from fastrnn.cli.demo import table_of
from tests.support.pictures import check_legible, drawn


def short_form(demo, told=None, overflows=(), width=80):
    """Run a demo in its short form, check its progress, table and picture, and return its result.

    Args:
        demo: a module of fastrnn.demos.
        told: a list, to which the arguments of each call of its progress are appended.
        overflows: columns of the table that may be infinite.
        width: of a terminal in which no row of the table is wrapped.
    """
    told = [] if told is None else told
    result = demo.run(quick=True, progress=lambda *args: told.append(args))
    assert told
    assert all(isinstance(what, str) and 0 < done <= total for what, done, total in told)
    for measure in result.measures:
        assert len(measure.values) > 1, "no baseline"
        assert not any(math.isnan(value) for value in measure.values.values())
        infinite = {column for column, value in measure.values.items() if math.isinf(value)}
        assert infinite <= {*overflows}
    console = Console(file=io.StringIO(), width=width)
    console.print(table_of(result))
    lines = console.file.getvalue().splitlines()
    for measure in result.measures:
        [line] = [line for line in lines if line.strip().startswith(f"{measure.name} ")]
        assert all(format(value, measure.form) in line for value in measure.values.values())
    pytest.importorskip("matplotlib.style", reason="needs the extra: plot")
    check_legible(*drawn(result.draw))
    return result
