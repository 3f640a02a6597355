"""The mean step Jacobian against one-step pullbacks of the layer itself, and radii of W_hh."""

import numpy as np
import pytest

from fastrnn.tracing import jacobian
from fastrnn.tracing.traces import record
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell, members
from tests.support.configurations import bare as as_state


def by_unit_cotangents(c, layer, values):
    """The mean over steps and sequences of d state_t / d state_(t-1), by one-step vjps."""
    widths = [c.proj_size or c.H] + [c.H] * (len(c.cell.states) - 1)
    total = np.zeros((sum(widths), sum(widths)))
    state, count = values["state"], 0
    for t in range(c.T):
        live = np.array([n > t for n in c.lengths or (c.T,) * c.B])
        (_, after), pullback = layer.vjp(values["x"][t : t + 1], state)
        row = 0
        for i, width in enumerate(widths):
            for unit in range(width):
                d = [np.zeros((1, c.B, w)) for w in widths]
                d[i][..., unit] = 1
                back = [s[0][live].sum(0) for s in members(pullback(None, as_state(d)).state)]
                total[row] += np.concatenate(back)
                row += 1
        state, count = after, count + live.sum()
    return total / count


@every_cell
@pytest.mark.parametrize(
    "options", [{}, {"one_hot": True}, {"lengths": (2, 5, 0)}, {"bias": False}, {"proj_size": 2}]
)
def test_the_mean_of_one_step_pullbacks(cell, options):
    if "proj_size" in options and "c" not in cell.states:
        return
    c = Configuration(cell, **options)
    layer, values = c.layer(np.float64), c.values(np.float64)
    *_, recorders = record("t", layer, values["x"], None, values["state"], c.array_lengths(), None)
    recorder = recorders["l0"]
    got = jacobian.mean_jacobian(recorder, np.arange(len(recorder.t)))
    expected = by_unit_cotangents(c, layer, values)
    assert_close(got, expected, atol=1e-13, rtol=1e-12)
    found = jacobian.radii(recorder)
    assert np.isclose(found.jacobian, np.abs(np.linalg.eigvals(expected)).max(), rtol=1e-9)
    assert found.steps == len(recorder.t)


@every_cell
def test_radii_of_the_blocks(cell):
    c = Configuration(cell, num_layers=2, bidirectional=True)
    layer, values = c.layer(np.float64), c.values(np.float64)
    *_, recorders = record("t", layer, values["x"], None, None, None, None)
    for name, recorder in recorders.items():
        blocks = np.split(layer.params[f"weight_hh_{name}"], len(cell.gates))
        for gate, block in zip(cell.gates, blocks, strict=True):
            expected = np.abs(np.linalg.eigvals(block)).max()
            assert np.isclose(jacobian.radii(recorder).weight[gate], expected, rtol=1e-12)


def test_a_sample_stands_for_many_steps(monkeypatch):
    from fastrnn.cells import lstm

    c = Configuration(lstm.CELL, T=200, B=3)
    layer, values = c.layer(np.float64), c.values(np.float64)
    *_, recorders = record("t", layer, values["x"], None, None, None, None)
    whole = jacobian.radii(recorders["l0"])
    monkeypatch.setattr(jacobian, "_MAX_PREACTIVATIONS", 300 * 4 * c.H)
    part = jacobian.radii(recorders["l0"])
    assert (whole.steps, part.steps) == (600, 300)
    assert part == jacobian.radii(recorders["l0"])  # drawn with a fixed seed
    assert part.jacobian != whole.jacobian
    assert np.isclose(part.jacobian, whole.jacobian, rtol=0.05)


@every_cell
def test_weights_that_are_not_finite_have_no_radius(cell):
    c = Configuration(cell)
    layer, values = c.layer(np.float64), c.values(np.float64)
    layer.params["weight_hh_l0"][0, 0] = np.nan
    *_, recorders = record("t", layer, values["x"], None, None, None, None)
    found = jacobian.radii(recorders["l0"])
    assert np.isnan(found.jacobian)
    assert np.isnan(found.weight[cell.gates[0]])


def test_no_steps_have_no_jacobian():
    from fastrnn.cells import gru

    c = Configuration(gru.CELL, T=0)
    layer, values = c.layer(np.float64), c.values(np.float64)
    *_, recorders = record("t", layer, values["x"], None, None, None, None)
    found = jacobian.radii(recorders["l0"])
    assert np.isnan(found.jacobian)
    assert found.steps == 0
