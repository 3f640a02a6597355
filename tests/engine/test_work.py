"""TODO."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine.buffers import LINE
from fastrnn.engine.plan import plan_backward, plan_forward, plan_recompute, plan_stream
from fastrnn.engine.work import BACKWARD, FORWARD, read_plan, region
from fastrnn.kernels.memory import flat
from tests.support.compiled import compiled
from tests.support.plans import drawn_pass


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


@given(st.data())
def test_regions_lie_one_after_the_other_and_kernels_find_them(data):
    cell, sizes, batch, one_hot, threads = drawn_pass(data)
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
            plan.threads,
            plan.packed,
            plan.gather,
            plan.chunks,
            plan.block,
            plan.block_rows,
        ]
        assert found[6:8].tolist() == [len(plan.cuts), len(batch.lengths)]
        assert plan.cuts[0] == 0
        assert (np.diff(plan.cuts) > 0).all()
        assert plan.block >= 1 <= plan.stride
