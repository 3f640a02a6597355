"""fastrnn/plotting.py: files and their formats; how a picture looks is tested where it is drawn."""

import sys

import pytest

from fastrnn import plotting


def test_a_file(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra: plot")
    sizes = []
    plotting.save(tmp_path / "a.svg", "plot", lambda figure: sizes.append(figure.get_size_inches()))
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert sizes[0].tolist() == [8.0, 4.5]


def test_formats(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"^plot: the file is 'a\.tif'; expected .*\.png, \.svg"):
        plotting.save("a.tif", "plot", print)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r'^plot needs matplotlib: .*"fastrnn\[plot\]"$'):
        plotting.format_of("a.png", "plot")
