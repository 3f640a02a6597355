"""What a forward pass multiplies: packed once, in any shares, and found in the work space."""

import numpy as np
import pytest

from fastrnn.cells import gru
from fastrnn.engine import buffers
from fastrnn.engine.batch import equal_batch
from fastrnn.engine.operands import bind_operands, pack_part
from fastrnn.engine.plan import plan_forward
from fastrnn.engine.work import read_plan
from fastrnn.kernels.memory import flat
from fastrnn.kernels.tile import MAX_VECTORS
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.layouts import blocked, in_panels

N = buffers.lanes(np.dtype(np.float64))
STATES = 2
_operands_in = bind_operands("of_a_test", STATES)


@compiled
def pack(parts, w_ih, w_hh, w_hr, gates, width, packed_ih, packed_hh, packed_hr):
    for part in range(parts):
        pack_part(
            part,
            parts,
            w_ih,
            w_hh,
            w_hr,
            gates,
            width,
            flat(packed_ih),
            flat(packed_hh),
            flat(packed_hr),
        )


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("missing", ["ih", "hh", "hr", ""])
def test_weights_that_have_a_place_are_packed_by_gates(parts, missing):
    rng, gates, hidden, width = np.random.default_rng(0), 3, N + 2, 6
    weights = [rng.normal(size=s) for s in ((3 * hidden, 5), (3 * hidden, 7), (7, hidden))]
    expected = [
        in_panels(blocked(w, g, N).T.copy(), v * N)
        for w, g, v in zip(weights, (gates, gates, 1), (width, width, MAX_VECTORS), strict=True)
    ]
    if missing:
        expected[["ih", "hh", "hr"].index(missing)] = np.empty(0)
    packed = [np.full_like(e, np.nan) for e in expected]
    pack(parts, *weights, gates, width, *packed)
    for got, want in zip(packed, expected, strict=True):
        assert_close(got, want, atol=0)


@compiled
def mark(work, words, batch, projects, w_ih, w_hh, found):
    """Write a number where each operand starts, and what else is found."""
    operands, states = _operands_in(
        flat(work), read_plan(words), batch, projects, flat(w_ih), flat(w_hh)
    )
    operands.w_ih[0], operands.w_hh[0] = 1, 2
    operands.b_ih[0], operands.b_hh[0], operands.zeros[0] = 4, 5, 6
    states.buffers[0] = 7
    states.buffers[states.stride] = 8
    states.emitted[states.emitted_stride] = 9
    if operands.w_hr.size:
        operands.w_hr[0] = 3
    found[0], found[1] = operands.packed, operands.gather
    found[2], found[3] = states.row, states.emitted_row


@pytest.mark.parametrize("projection", [0, 3])
@pytest.mark.parametrize(
    ("T", "one_hot"),
    [(1, False), (40, False), (1, True), (40, True)],
    ids=["unpacked", "packed", "gathered", "one-hot"],
)
def test_operands_are_where_the_plan_has_them(projection, T, one_hot):
    B, H = 2, N + 1
    [one] = Spec(gru.CELL, np.dtype(np.float64), 900, H, projection).scans()
    sizes = one.sizes._replace(states=STATES)
    plan = plan_forward(gru.CELL, sizes, equal_batch(T, B), one_hot, 1)
    work, w_ih, w_hh, found = np.zeros(plan.size), np.zeros(9), np.zeros(9), np.zeros(4, int)
    mark(work, plan.words, B, projection > 0, w_ih, w_hh, found)
    assert found[:2].tolist() == [plan.packed, plan.gather]
    packed_ih = plan.packed and not plan.gather
    assert (plan.view(work, "w_ih") if packed_ih else w_ih)[0] == 1
    assert (plan.view(work, "w_hh") if plan.packed else w_hh)[0] == 2
    assert w_ih.sum() == (not packed_ih)
    assert w_hh.sum() == 2 * (not plan.packed)
    assert len(plan.view(work, "w_hr")) == 0 or plan.view(work, "w_hr")[0] == 3
    assert (len(plan.view(work, "w_hr")) > 0) is (projection > 0)
    for number, region in ((4, "b_ih"), (5, "b_hh"), (6, "zeros")):
        assert plan.view(work, region)[0] == number
    states = plan.view(work, "states")
    row, emitted_row = found[2:]
    assert row >= H
    assert emitted_row >= (projection or H)
    stride = STATES * B * row
    if projection:  # h has one buffer of its own
        assert plan.view(work, "emitted")[0] == 9
        assert states[[0, stride]].tolist() == [7, 8]
    else:  # it is the first of the states, in two
        assert states[[0, stride]].tolist() == [7, 9]
