"""Faults planted in what `reset=` does, and the checks that find each; by others it goes unseen.

Most are planted in the mask on its way to the kernels; some in kernels that are compiled here, of
one cell. The checks are those of test_reset.py, test_reset_bits.py and test_reset_ways.py.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastrnn
from fastrnn.cells import lstm
from fastrnn.engine import backward, forward, recompute, scan, streaming
from fastrnn.engine import step as steps
from fastrnn.engine.batch import NO_CUTS
from fastrnn.engine.inputs import is_cut
from fastrnn.engine.operands import bind_operands
from fastrnn.engine.states import cut_states
from fastrnn.kernels.jit import jit
from fastrnn.nn import arguments, chunks, single_step
from tests.support.configurations import Configuration
from tests.support.episodes import (
    check_poison,
    check_split,
    check_stream,
    check_truncated,
    check_zeros,
)
from tests.support.plans import tiny

T, B, LENGTHS = 9, 4, (4, 9, 0, 7)
STACK = Configuration(
    lstm.CELL, T=T, B=B, I=3, H=9, num_layers=2, bidirectional=True, lengths=LENGTHS
)
MASK = np.zeros((T, B), bool)
MASK[[2, 5], 1] = MASK[[0, 3, 6], 3] = MASK[1:3, 0] = True
WHOLE = replace(STACK, bidirectional=False, lengths=None)
STEP = Configuration(lstm.CELL, T=1, B=3, I=8, H=8)


def every_episode(check, *given, **options):
    for number in range(3):
        check(STACK, MASK, 3, number, *given, **options)


CHECKS = {
    "split": lambda: check_split(STACK, MASK),
    "checkpoint": lambda: check_split(STACK, MASK, checkpoint=2),
    "zeros": lambda: every_episode(check_zeros),
    "poison": lambda: every_episode(check_poison, np.nan),
    "checkpoint poison": lambda: every_episode(check_poison, np.nan, checkpoint=2),
    "step": lambda: check_split(STEP, np.array([[True, False, True]])),
    "stream": lambda: check_stream(WHOLE, MASK, np.float64),
    "truncated": lambda: check_truncated(WHOLE, MASK, 4),
}
ALL, CALLS = set(CHECKS), set(CHECKS) - {"step", "stream", "truncated"}


def found():
    """Return the names of the checks that fail."""
    names = set()
    for name, check in CHECKS.items():
        try:
            check()
        except AssertionError:
            names.add(name)
    return names


@pytest.fixture(autouse=True)
def short_pieces(limits):
    """Let nine steps have several segments between checkpoints."""
    limits(**tiny(4))


def test_without_a_fault_nothing_is_found():
    assert found() == set()


# Faults in the mask, before a call sees it.


def late(cuts):
    return np.concatenate([0 * cuts[:1], cuts[:-1]])


def early(cuts):
    return np.concatenate([cuts[1:], 0 * cuts[:1]])


def without(cuts, *place):
    cuts = cuts.copy()
    cuts[place] = 0
    return cuts


MASKS = {
    "a step late": (late, ALL),
    "a step early": (early, ALL),
    "the wrong row": (lambda cuts: np.roll(cuts, 1, axis=1), ALL - {"truncated"}),
    "mirrored in time": (lambda cuts: cuts[::-1].copy(), ALL - {"step"}),
    "the first step forgotten": (lambda cuts: without(cuts, 0), ALL - {"stream"}),
    "one reset forgotten": (lambda cuts: without(cuts, slice(5, 7)), ALL - {"step"}),
    "all forgotten": (lambda cuts: NO_CUTS, ALL - {"truncated"}),
}


@pytest.mark.parametrize(("fault", "by"), MASKS.values(), ids=MASKS)
def test_a_wrong_mask_is_found(fault, by, monkeypatch):
    batch_of = arguments.batch_of

    def wrong(*given):
        batch = batch_of(*given)
        return batch._replace(cuts=fault(batch.cuts)) if batch.cuts.size else batch

    monkeypatch.setattr(arguments, "batch_of", wrong)
    assert found() == by


def test_rows_in_the_order_of_their_lengths_are_found(monkeypatch):
    batch_of = arguments.batch_of

    def wrong(*given):
        batch = batch_of(*given)
        cuts = batch.cuts
        return batch._replace(cuts=cuts[:, batch.order].copy()) if cuts.size else batch

    monkeypatch.setattr(arguments, "batch_of", wrong)
    assert found() == CALLS


# Faults in how the engine uses it.


def of_reverse(change):
    """Change the mask of the reverse direction alone."""
    return lambda one, cuts: change(cuts) if one.reverse else cuts


ENDS = {
    "the reverse direction cut on the wrong side": of_reverse(late),
    "the reverse direction not cut": of_reverse(lambda cuts: NO_CUTS),
    "the upper layer not cut": lambda one, cuts: cuts if one.slot < 2 else NO_CUTS,
}


@pytest.mark.parametrize("fault", ENDS.values(), ids=ENDS)
def test_a_direction_or_a_layer_cut_otherwise_is_found(fault, monkeypatch):
    ends_of = scan._ends

    def wrong(one, batch):
        order, lengths, reverse, cuts = ends_of(one, batch)
        return order, lengths, reverse, fault(one, cuts) if cuts.size else cuts

    monkeypatch.setattr(scan, "_ends", wrong)
    assert found() == CALLS


def test_a_gradient_that_leaks_is_found(monkeypatch):
    through = scan.backward

    def leaking(this, *given):
        return through(this._replace(ends=(*this.ends[:3], NO_CUTS)), *given)

    monkeypatch.setattr(scan, "backward", leaking)
    assert found() == CALLS | {"step"}


def test_a_mask_lost_under_a_checkpoint_is_found(monkeypatch):
    class Forgetful(scan.Recomputed):
        def __init__(self, this, sequences, *given):
            super().__init__(this, (*sequences[:-1], NO_CUTS), *given)

    monkeypatch.setattr(scan, "Recomputed", Forgetful)
    assert found() == {"checkpoint", "checkpoint poison"}


# Faults in the other ways.


def test_a_state_that_enters_a_single_step_is_found(monkeypatch, limits):
    limits(UNPACKED_STEPS=8, UNPACKED_ROWS=32)  # or it goes the general way
    monkeypatch.setattr(single_step, "_cut_off", lambda states, rows: states)
    assert found() == {"step"}


def test_a_gradient_that_leaves_a_single_step_is_found(monkeypatch, limits):
    limits(UNPACKED_STEPS=8, UNPACKED_ROWS=32)
    kept = single_step.StepTape
    monkeypatch.setattr(single_step, "StepTape", lambda *given: kept(*given[:-1], ()))
    assert found() == {"step"}


def test_a_stream_that_forgets_h_alone_is_found(monkeypatch):
    def forget(one, plan, rows, work):
        states = plan.view(work, "states")
        pitch = states.size // (2 * 2 * len(rows))
        states[: 4 * len(rows) * pitch].reshape(2, 2, len(rows), pitch)[:, 0, rows] = 0

    monkeypatch.setattr(streaming, "forget", forget)
    assert found() == {"stream"}


def test_windows_that_all_take_the_first_of_the_mask_are_found(monkeypatch):
    resets = chunks.Source.resets
    monkeypatch.setattr(chunks.Source, "resets", lambda self, t, end: resets(self, 0, end - t))
    assert found() == {"truncated"}


# Faults in kernels.


@jit
def cut_first(s, rows, j0, sequences, states, at, count, row, column, units):
    cut_states(s, rows, j0, sequences, states, at, 1, row, column, units)


@jit
def cut_all_but_one(s, rows, j0, sequences, states, at, count, row, column, units):
    if count > 1:
        cut_states(s, rows, j0, sequences, states, at, count, row, column, units)


@jit
def multiplied(s, rows, j0, sequences, states, at, count, row, column, units):
    batch = sequences.order.size
    if sequences.cuts.size:
        for j in range(j0, j0 + rows):
            if sequences.lengths[j] > s and is_cut(sequences, s, j):
                for i in range(count):
                    for unit in range(units):
                        states[at + (i * batch + j) * row + column + unit] *= 0.0


COMPILED = {
    "c forgotten": (forward, cut_first, ALL - {"zeros", "truncated"}),
    "c forgotten under a checkpoint": (recompute, cut_first, {"checkpoint", "checkpoint poison"}),
    "the gradient of c leaks": (backward, cut_first, CALLS | {"step"}),
    "the gradient of h leaks": (backward, cut_all_but_one, CALLS | {"step"}),
    "multiplied by zero": (forward, multiplied, {"poison", "checkpoint poison"}),
    "the gradient multiplied by zero": (backward, multiplied, {"poison", "checkpoint poison"}),
}


def broken(module, cut, monkeypatch):
    """Return an LSTM's cell with one kernel in which states are cut otherwise."""
    # The cache of kernels does not know this file: its digest is in their names.
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    part = module.__name__.rpartition(".")[2]
    name, cell = f"broken_{part}_{cut.__name__}_{digest}", lstm.CELL
    counts = len(cell.gates), len(cell.states), len(cell.saved)
    monkeypatch.setattr(module, "cut_states", cut)
    if module is backward:
        row = steps.bind_row(name, lstm.step_backward, *counts[1:], cell.shared)
        return replace(cell, backward=backward.bind_backward(name, row, *counts, cell.shared))
    tile = steps.bind_tile(name, lstm.step, *counts)
    given = name, tile, bind_operands(name, len(cell.states)), *counts, cell.width
    if module is forward:
        return replace(cell, forward=forward.bind_forward(*given)[0])
    return replace(cell, recompute=recompute.bind_recompute(*given))


@pytest.mark.parametrize(("module", "cut", "by"), COMPILED.values(), ids=COMPILED)
def test_a_wrong_kernel_is_found(module, cut, by, monkeypatch):
    assert found() == set()  # so all kernels of the package are compiled before a part is changed
    monkeypatch.setattr(fastrnn.LSTM, "cell", broken(module, cut, monkeypatch))
    assert found() == by
