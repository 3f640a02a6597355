"""`fastrnn info`: a line for everything that a report of a fault should say."""

import fastrnn
from tests.support.commands import run


def test_info(capsys):
    assert run("info") == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["fastrnn"] == fastrnn.__version__
    assert rows["threads"].startswith(f"{fastrnn.get_num_threads()}, ")
    assert rows.keys() >= {"python", "numba", "llvmlite", "numpy", "torch", "cache folder"}
    assert all(rows.values())
