"""What a fit shows: a bar, or what is missing for one."""

import contextlib
import io

import pytest

from tests.support.small_fits import made


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_verbose_shows_a_bar(fraction):
    pytest.importorskip("rich")
    model, data = made("classifier", epochs=2, verbose=True, validation_fraction=fraction)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        model.fit(*data)
    assert "epoch 2 of 2" in out.getvalue()
    assert f"loss {model.history_['loss'][-1]:.4g}" in out.getvalue()
    assert ("validation" in out.getvalue()) == bool(fraction)


def test_verbose_without_rich(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rich", None)
    model, data = made("classifier", verbose=True)
    with pytest.raises(ModuleNotFoundError, match=r'verbose=True needs rich: pip install "fastrnn'):
        model.fit(*data)
