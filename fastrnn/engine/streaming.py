"""One direction of one layer as a function of one step, with weights that stay packed.

A stream's work space is what the forward pass makes before its first step; its owner keeps it.
"""

import numpy as np

from fastrnn.engine import buffers
from fastrnn.engine.batch import NO_CUTS
from fastrnn.engine.plan import Plan
from fastrnn.engine.scan import NO_INDEX, NOT_KEPT, ZERO_STATES, Scan
from fastrnn.kernels import threads


def start_stream(
    scan: Scan, plan: Plan, weights: tuple, x: np.ndarray, rows: np.ndarray, output: np.ndarray
) -> np.ndarray:
    """Return a work space that holds packed weights and states that are zero, for step_stream.

    Args:
        scan: what will run.
        plan: of plan_stream.
        weights: the parameters; they are copied.
        x: (B, I), where step_stream reads the input.
        rows: (3, B) int64: the first for one-hot input; the others are written.
        output: (B, E), where it writes.
    """
    dtype, count = scan.sizes.dtype, len(x)
    work = buffers.scratch(dtype, plan.size)
    # A sequence without end: only whether a step is even matters to the kernel.
    rows[1], rows[2] = np.arange(count), 1 << 62
    zeros = ZERO_STATES[dtype]
    scan.cell.forward(
        threads.call(1),
        plan.words,
        (0, 0, 0),
        (x[None], NO_INDEX, 0, scan.sizes.input, rows[1], rows[2], False, NO_CUTS),
        weights,
        (0, *zeros, *zeros),
        (output[None], 0, 0, scan.sizes.emitted),
        NOT_KEPT[dtype][:2],
        work,
    )
    return work


def step_stream(scan: Scan, plan: Plan, s: int, one_hot: bool, rows, x, output, work) -> None:
    """Run step s: read x or, one_hot, the classes in rows[0], and write the output."""
    sizes = scan.sizes
    scan.cell.stream(
        threads.call(plan.threads),
        plan.words,
        s,
        one_hot,
        (sizes.hidden, sizes.projects),
        rows,
        x,
        output,
        work,
    )


def forget(scan: Scan, plan: Plan, rows: np.ndarray, work: np.ndarray) -> None:
    """Write zeros over the states of some rows; rows: (B,) bool."""
    count = len(rows)
    for name, states in (("states", 2 * scan.sizes.states), ("emitted", 1)):
        region = plan.view(work, name)
        pitch = region.size // (states * count)  # as operands.operands_in has it
        region[: states * count * pitch].reshape(states, count, pitch)[:, rows] = 0
