"""What a forward pass multiplies, and what it works on: packed, and found in its work space."""

from typing import NamedTuple

from fastrnn.engine.batch import Rows
from fastrnn.engine.records import BatchedInput, Kept, Operands, StateBuffers
from fastrnn.engine.work import FORWARD, region
from fastrnn.kernels.gemm import pack_gates
from fastrnn.kernels.jit import jit
from fastrnn.kernels.tile import MAX_VECTORS


class Pass(NamedTuple):
    """What the loops of a forward pass work on."""

    input_size: int
    hidden_size: int
    emitted_size: int
    sequences: BatchedInput
    operands: Operands
    states: StateBuffers
    kept: Kept
    output: Rows  # where h goes: E values for each real step


@jit
def pack_part(part, parts, w_ih, w_hh, w_hr, gates, width, packed_ih, packed_hh, packed_hr):
    """Pack a share of each weight that has a place to go."""
    if packed_ih.size:
        pack_gates(w_ih, gates, width, packed_ih, part, parts)
    if packed_hh.size:
        pack_gates(w_hh, gates, width, packed_hh, part, parts)
    if packed_hr.size:
        pack_gates(w_hr, 1, MAX_VECTORS, packed_hr, part, parts)


def bind_operands(name, states_count):
    """Return the function that finds what is multiplied, and the states, in a work space."""

    @jit(name=f"{name}_operands")
    def operands_in(work, plan, batch, projects, w_ih, w_hh):
        """Return Operands and StateBuffers; w_ih and w_hh: the caller's, flat."""
        offsets = plan.offsets
        buffers = region(work, offsets, FORWARD.states, 0, 1)
        row = buffers.size // (2 * states_count * batch)
        stride = states_count * batch * row
        packed_ih = plan.packed and not plan.gather
        operands = Operands(
            plan.packed,
            plan.gather,
            region(work, offsets, FORWARD.w_ih, 0, 1) if packed_ih else w_ih,
            region(work, offsets, FORWARD.w_hh, 0, 1) if plan.packed else w_hh,
            region(work, offsets, FORWARD.w_hr, 0, 1),
            region(work, offsets, FORWARD.b_ih, 0, 1),
            region(work, offsets, FORWARD.b_hh, 0, 1),
            region(work, offsets, FORWARD.zeros, 0, 1),
        )
        if projects:
            emitted = region(work, offsets, FORWARD.emitted, 0, 1)
            return operands, StateBuffers(buffers, stride, row, emitted, 0, emitted.size // batch)
        return operands, StateBuffers(buffers, stride, row, buffers, stride, row)

    return operands_in
