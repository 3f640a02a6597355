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


def test_an_earlier_picture_is_lost_to_a_whole_one_only(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra: plot")
    (tmp_path / "a.svg").write_text("old")
    (tmp_path / "b.svg").symlink_to("a.svg")
    with pytest.raises(ZeroDivisionError):
        plotting.save(tmp_path / "b.svg", "plot", lambda figure: 1 / 0)
    assert (tmp_path / "a.svg").read_text() == "old"
    plotting.save(tmp_path / "b.svg", "plot", lambda figure: None)
    assert (tmp_path / "b.svg").is_symlink()
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]
