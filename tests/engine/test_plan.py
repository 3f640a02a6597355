"""Plans: regions do not overlap and are found by name, kernels read what Python says, and when.

That a plan changes no number is tested where numbers are: test_backward.py, tests/nn.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells import CELLS
from fastrnn.engine import plan as plans
from fastrnn.engine.batch import equal_batch, sort_by_length
from fastrnn.engine.buffers import LINE
from fastrnn.engine.plan import plan_backward, plan_forward, plan_recompute, plan_stream
from fastrnn.engine.work import BACKWARD, FORWARD, read_plan, region
from fastrnn.kernels.memory import flat
from fastrnn.nn.spec import Spec
from tests.support.compiled import compiled


@compiled
def look(words, work, number, part, parts, found):
    plan = read_plan(words)
    share = region(flat(work), plan.offsets, number, part, parts)
    found[0], found[1], found[2] = plan.threads, plan.packed, plan.gather
    found[3], found[4], found[5] = plan.chunks, plan.block, plan.block_rows
    found[6], found[7] = plan.cuts.size, plan.cuts[plan.cuts.size - 1]
    found[8] = share.size
    for i in range(share.size):
        share[i] = number + 1.0


def drawn(data):
    spec = Spec(
        data.draw(st.sampled_from(CELLS)),
        np.dtype(np.float64),
        data.draw(st.integers(1, 40)),
        data.draw(st.sampled_from([2, 5, 16, 150])),
    )
    T, B = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    batch = equal_batch(T, B)
    if data.draw(st.booleans()):
        lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
        batch = sort_by_length(np.array([T, *lengths[1:]]))
    one_hot, threads = data.draw(st.booleans()), data.draw(st.integers(1, 4))
    [one] = spec.scans()
    return one.cell, one.sizes, batch, one_hot, threads


@given(st.data())
def test_regions_lie_one_after_the_other_and_kernels_find_them(data):
    cell, sizes, batch, one_hot, threads = drawn(data)
    for plan, numbers in (
        (plan_forward(cell, sizes, batch, one_hot, threads), FORWARD),
        (plan_backward(cell, sizes, batch, one_hot, not one_hot, threads), BACKWARD),
        (plan_recompute(cell, sizes, len(batch.lengths), batch.rows, one_hot, threads), FORWARD),
        (plan_stream(cell, sizes, len(batch.lengths), threads), FORWARD),
    ):
        assert plan.regions._fields == numbers._fields
        work, found = np.zeros(plan.size), np.zeros(9, np.int64)
        for name, number in numbers._asdict().items():
            view = plan.view(work, name)
            assert not view.any()
            assert plan.regions[number] * work.itemsize % LINE == 0
            look(plan.words, work, number, 0, 1, found)
            assert (view == number + 1).all()
            assert found[8] == len(view)
        assert (work > 0).all()  # no gap between regions
        assert found[:6].tolist() == [
            plan.threads, plan.packed, plan.gather, plan.chunks, plan.block, plan.block_rows,
        ]  # fmt: skip
        assert found[6:8].tolist() == [len(plan.cuts), len(batch.lengths)]
        assert plan.cuts[0] == 0
        assert (np.diff(plan.cuts) > 0).all()
        assert plan.block >= 1 <= plan.stride


@given(st.data())
def test_what_decides_sums_does_not_depend_on_threads(data):
    cell, sizes, batch, one_hot, threads = drawn(data)
    one, many = (plan_forward(cell, sizes, batch, one_hot, n) for n in (1, threads))
    assert (one.packed, one.gather) == (many.packed, many.gather)
    one, many = (plan_backward(cell, sizes, batch, one_hot, True, n) for n in (1, threads))
    assert (one.packed, one.block) == (many.packed, many.block)


@pytest.mark.parametrize(
    ("steps", "rows", "packed"), [(1, 1, False), (100, 1, True), (1, 40, True)]
)
def test_short_passes_do_not_pack_weights(steps, rows, packed):
    [one] = Spec(CELLS[2], np.dtype(np.float32), 64, 64).scans()
    plan = plan_forward(one.cell, one.sizes, equal_batch(steps, rows), False, 1)
    assert plan.packed is packed
    assert (plan.regions.w_hh == plan.regions.w_hr) is not packed


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
