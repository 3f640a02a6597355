"""Derivatives along a line: right, and no more wrong than they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import norm

# Each with its derivative at 0; the numbers make the length scale of each another one.
LINES = {
    "exp": (lambda s: np.array([np.exp(s), np.exp(3 * s)]), [1.0, 3.0]),
    "sine": (lambda s: np.array([np.sin(20 * s), np.cos(5 * s + 1)]), [20.0, -5 * np.sin(1)]),
    "tanh": (lambda s: np.array([np.tanh(1 + 2 * s)]), [2 * (1 - np.tanh(1) ** 2)]),
    "pole": (lambda s: np.array([1 / (0.01 + s)]), [-1e4]),
    "steep": (lambda s: np.array([np.log(1e-4 + s)]), [1e4]),
}
lines = pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)


@lines
def test_richardson_is_right_and_knows_how_wrong_it_is(line, expected):
    with np.errstate(all="ignore"):
        noise = derivatives.noise(line)
        found = derivatives.richardson(line, derivatives.RICHARDSON_STEP, noise)
    error = np.linalg.norm(found.value - expected)
    assert error <= 2 * norm(found.error)
    assert error <= 1e-8 * np.linalg.norm(expected)


@lines
def test_the_complex_step_is_exact(line, expected):
    found = derivatives.complex_step(line, derivatives.COMPLEX_STEP)
    assert (np.abs(found.value - expected) <= found.error).all()


def test_central_differences_err_by_what_they_estimate():
    line, expected = LINES["sine"]
    found = derivatives.central(line, 1e-4, derivatives.noise(line))
    error = np.linalg.norm(found.value - expected)
    assert 0.5 * norm(found.error) < error < 2 * norm(found.error)


@given(st.floats(0.5, 8), st.floats(-2, 2), st.integers(0, 99))
def test_the_estimate_covers_the_error(frequency, phase, seed):
    weights = np.random.default_rng(seed).standard_normal(5)

    def line(s):
        return weights * np.sin(frequency * s * np.arange(1, 6) + phase)

    noise = derivatives.noise(line)
    expected = weights * np.arange(1, 6) * frequency * np.cos(phase)
    found = derivatives.richardson(line, derivatives.RICHARDSON_STEP, noise)
    assert np.linalg.norm(found.value - expected) <= 3 * norm(found.error)
    assert norm(found.error) <= 1e-9 * (np.linalg.norm(expected) + 1)


def test_noise_is_that_of_the_arithmetic():
    def precise(s):
        return np.sin(np.arange(1000) + s)

    def coarse(s):
        return precise(s) + 1e-9 * np.random.default_rng(int(s * 2**50) + 2**40).normal(size=1000)

    assert 1e-17 < norm(derivatives.noise(precise)) / np.sqrt(1000) < 1e-15
    assert 0.5e-9 < norm(derivatives.noise(coarse)) / np.sqrt(1000) < 2e-9


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_noise_has_no_scale(scale):
    usual = derivatives.noise(lambda s: np.sin(np.arange(1, 9) + s))
    assert derivatives.noise(lambda s: scale * np.sin(np.arange(1, 9) + s)) == pytest.approx(
        scale * usual, rel=1.0
    )


def test_noise_of_each_output_is_its_own():
    mixed = derivatives.noise(lambda s: np.array([1e100, 1e-100, 1.0]) * np.exp(s))
    assert (mixed / [1e100, 1e-100, 1.0] < 1e-14).all()
    assert (mixed / [1e100, 1e-100, 1.0] > 1e-17).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_staircase_is_as_noisy_as_its_steps(dtype):
    values = np.arange(1.0, 9.0)
    found = derivatives.noise(lambda s: np.sin(values + s).astype(dtype).astype(float))
    assert (found > np.finfo(dtype).eps * np.abs(np.sin(values)) / 50).all()


def test_what_underflows_in_a_complex_step_is_in_its_error():
    found = derivatives.complex_step(lambda s: np.array([1e-300 * s]), 2.0**-100)
    assert abs(found.value[0] - 1e-300) <= found.error[0]
    assert found.error[0] > 1e-300


@pytest.mark.parametrize("distance", [0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_a_kink_nearby_is_stepped_over_or_named(distance):
    """|s + distance| has a slope of 1 just left of its kink."""

    def line(s):
        return np.array([np.abs(s + distance), np.sin(s)])

    noise = derivatives.noise(line)
    found = derivatives.richardson(line, derivatives.RICHARDSON_STEP, noise)
    right = abs(found.value[0] - 1) <= 10 * found.error[0]
    assert right or derivatives.is_kinked(line, noise)
    if distance in (0, 1e-9):
        assert derivatives.is_kinked(line, noise)
    if distance >= 1e-6:
        assert right
        assert norm(found.error) < 1e-3


def test_a_smooth_function_has_no_kink():
    oscillating = (lambda s: np.sin(np.array([1.0 + 1e8 * s])), [])
    for line, _ in (LINES["exp"], LINES["sine"], LINES["tanh"], oscillating):
        assert not derivatives.is_kinked(line, derivatives.noise(line))


def test_a_function_that_ends_nearby_is_differentiated_with_a_smaller_step():
    with np.errstate(invalid="ignore"):
        found = derivatives.richardson(
            lambda s: np.sqrt(np.array([1e-3 + s])), 1.0, np.array([1e-17])
        )
    assert abs(found.value[0] - 0.5 / np.sqrt(1e-3)) <= 10 * found.error[0]
    assert found.error[0] < 1e-6


def test_a_sweep_is_a_v_for_a_right_gradient_and_flat_for_a_wrong_one():
    line, expected = LINES["exp"]
    u = np.array([1.0, 2.0])
    right = np.array([e for _, e in derivatives.sweep(line, u, u @ expected)])
    wrong = np.array([e for _, e in derivatives.sweep(line, u, 1.1 * (u @ expected))])
    assert right.min() < 1e-8 < right.max()
    assert 0 < right.argmin() < len(right) - 1
    assert np.ptp(wrong[2:]) < 0.01 * wrong[3]
