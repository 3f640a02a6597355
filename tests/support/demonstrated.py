"""What holds of every demo in its short form: a table, progress, and a picture that can be read."""

import io
import math

import pytest
from rich.console import Console

from fastrnn.cli.demo import table_of
from tests.support.pictures import check_legible, drawn


def short_form(demo):
    """Run a demo, check what it tells and draws, and return its result."""
    told = []
    result = demo.run(quick=True, progress=lambda *args: told.append(args))
    assert told
    assert all(isinstance(what, str) and 0 < done <= total for what, done, total in told)
    for measure in result.measures:
        assert len(measure.values) > 1, "no baseline"
        assert all(math.isfinite(value) for value in measure.values.values())
    console = Console(file=io.StringIO(), width=80)
    console.print(table_of(result))
    lines = console.file.getvalue().splitlines()
    for measure in result.measures:
        [line] = [line for line in lines if line.strip().startswith(f"{measure.name} ")]
        assert all(format(value, measure.form) in line for value in measure.values.values())
    pytest.importorskip("matplotlib.style", reason="needs the extra: plot")
    check_legible(*drawn(result.draw))
    return result
