"""fastrnn/demos/sunspots.py in its short form: forecasts beside those that are hard to beat."""

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="needs the extra: demo")

from fastrnn.demos import sunspots
from tests.support.demonstrated import short_form


def test_forecasts_go_on_from_forecasts():
    windows = np.tile(np.arange(sunspots.WINDOW), (2, 1)) * [[1], [2]]
    line = lambda seen: 2 * seen[:, -1] - seen[:, -2]  # noqa: E731
    for ahead in (1, 12):
        expected = (sunspots.WINDOW - 1 + ahead) * np.array([1, 2])
        assert np.array_equal(sunspots._ahead(line, windows, ahead), expected)


def test_the_autoregression_is_that_of_statsmodels():
    from statsmodels.tsa.ar_model import AutoReg

    numbers = np.random.default_rng(0).random(200).cumsum()
    fitted = AutoReg(numbers, sunspots.ORDER).fit()
    found = sunspots._autoregression(numbers)(numbers[None, -sunspots.WINDOW :])
    assert np.allclose(found, fitted.forecast(1))


def test_the_short_form():
    for measure in short_form(sunspots).measures:
        errors = measure.values
        assert errors["network"] < 0.75 * errors["persistence"]
        assert errors["autoregression"] < 0.8 * errors["persistence"]
        assert errors["network"] < 1.25 * errors["autoregression"]
