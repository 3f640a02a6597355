"""Plans: regions do not overlap and are found by name, kernels read what Python says, and when.

That a plan changes no number is tested where numbers are: test_backward.py, tests/nn.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells import CELLS
from fastrnn.engine import plan as plans
from fastrnn.engine.batch import equal_batch
from fastrnn.engine.plan import plan_backward, plan_forward
from fastrnn.nn.spec import Spec
from tests.support.configurations import every_cell
from tests.support.plans import drawn_pass


@given(st.data())
def test_what_decides_sums_does_not_depend_on_threads(data):
    cell, sizes, batch, one_hot, threads = drawn_pass(data)
    one, many = (plan_forward(cell, sizes, batch, one_hot, n) for n in (1, threads))
    assert (one.packed, one.gather) == (many.packed, many.gather)
    one, many = (plan_backward(cell, sizes, batch, one_hot, True, n) for n in (1, threads))
    assert (one.packed, one.block) == (many.packed, many.block)


@pytest.mark.parametrize(
    ("steps", "rows", "packed"),
    [(1, 1, False), (100, 1, True), (1, 40, False), (2, 40, True), (1, 80, True)],
)
def test_short_passes_do_not_pack_weights(steps, rows, packed):
    [one] = Spec(CELLS[2], np.dtype(np.float32), 64, 64).scans()
    plan = plan_forward(one.cell, one.sizes, equal_batch(steps, rows), False, 1)
    assert plan.packed is packed
    assert (plan.regions.w_hh == plan.regions.w_hr) is not packed


def test_a_single_step_of_little_work_wakes_nobody():
    [one] = Spec(CELLS[2], np.dtype(np.float32), 128, 128).scans()
    for rows, light in ((16, True), (40, True), (44, False)):
        assert plans.is_light(one.sizes, 1, rows, False) is light
        ahead = plan_forward(one.cell, one.sizes, equal_batch(1, rows), False, 2)
        back = plan_backward(one.cell, one.sizes, equal_batch(1, rows), False, True, 2)
        assert (ahead.packed, back.packed) == (not light, False)
        assert (ahead.threads, back.threads) == ((1, 1) if light else (2, 2))
    assert not plans.is_light(one.sizes, 2, 1, False)


def test_slices_of_a_batch_or_lockstep():
    """Slices where each has enough rows for the weights that it reads at every step."""
    for hidden, rows, chunks in ((128, 16, 0), (256, 16, 0), (320, 16, 4), (320, 32, 0),
                                 (512, 64, 8), (128, 2, 2)):  # fmt: skip
        [one] = Spec(CELLS[2], np.dtype(np.float32), 128, hidden).scans()
        plan = plan_forward(one.cell, one.sizes, equal_batch(50, rows), False, 2)
        assert plan.chunks == chunks, (hidden, rows)
        assert len(plan.cuts) - 1 == (1 if chunks else 2)


def test_much_work_is_shared_and_stops_for_ctrl_c():
    [one] = Spec(CELLS[2], np.dtype(np.float32), 512, 512).scans()
    plan = plan_forward(one.cell, one.sizes, equal_batch(5000, 1), False, 2)
    assert plan.threads == 2
    assert plan.chunks > 1
    assert plan.stride < 5000
    wide = plan_forward(one.cell, one.sizes, equal_batch(50, 64), False, 2)
    assert len(wide.cuts) - 1 == 2 or wide.chunks > 1
    assert not plans.is_shared(1e4)
    assert plans.is_shared(1e9)


@every_cell
@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
def test_the_work_space_does_not_grow_with_time(cell, one_hot):
    """Beyond the weights and a few steps for each row: O(B H)."""
    dtype = np.dtype(np.float32)
    for H, I in ((8, 4), (100, 30), (512, 512)):  # noqa: E741
        sizes = Spec(cell, dtype, I, H).scans()[0].sizes
        weights = 4 * (I + H + 2) * sizes.columns
        for B in (1, 7, 300):
            for threads in (1, 4):
                bytes_of = [
                    4 * plan_forward(cell, sizes, equal_batch(T, B), one_hot, threads).size
                    for T in (5000, 20_000, 1_000_000)
                ]
                assert bytes_of[0] == bytes_of[1] == bytes_of[2]
                # States, and what is made ahead: some hundred KiB for each slice of the batch.
                rows = B * 4 * (2 * len(cell.states) + 2) * (H + 32)
                ahead = max(1 << 18, B * 4 * sizes.columns) * (1 + I / sizes.columns)
                assert bytes_of[0] <= weights + rows + 2 * threads * (ahead + (1 << 18))
