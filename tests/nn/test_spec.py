"""Specs: from a few numbers, torch's names and shapes of parameters, and what is run."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells import CELLS, lstm
from fastrnn.nn.spec import KINDS, Spec

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


@st.composite
def specs(draw):
    hidden = draw(st.integers(2, 9))
    return Spec(
        draw(st.sampled_from(CELLS)),
        draw(st.sampled_from([F32, F64])),
        draw(st.integers(1, 9)),
        hidden,
        draw(st.integers(0, hidden - 1)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 2)),
        draw(st.booleans()),
    )


@given(specs())
def test_shapes_are_as_torch_documents_them(spec):
    rows, emitted = len(spec.cell.gates) * spec.hidden_size, spec.proj_size or spec.hidden_size
    expected = {}
    for layer in range(spec.num_layers):
        for direction in ("", "_reverse")[: spec.directions]:
            width = spec.directions * emitted if layer else spec.input_size
            shapes = [(rows, width), (rows, emitted), (rows,), (rows,), (emitted, spec.hidden_size)]
            for kind, shape in zip(KINDS, shapes, strict=True):
                wanted = spec.bias if "bias" in kind else kind != "weight_hr" or spec.proj_size
                if wanted:
                    expected[f"{kind}_l{layer}{direction}"] = shape
    assert list(spec.shapes().items()) == list(expected.items())
    assert spec.emitted == emitted


@given(specs())
def test_a_scan_for_each_direction_of_each_layer(spec):
    scans = spec.scans()
    assert [one.slot for one in scans] == list(range(spec.num_layers * spec.directions))
    assert [one.reverse for one in scans] == [False, True][: spec.directions] * spec.num_layers
    assert all(one.cell is spec.cell for one in scans)
    for one, suffix in zip(scans, spec.suffixes(), strict=True):
        shapes = spec.shapes_of(one, suffix)
        assert shapes["weight_ih" + suffix] == (one.sizes.gates * one.sizes.hidden, one.sizes.input)
        assert shapes.items() <= spec.shapes().items()
    assert spec.scans() is scans  # layers of one spec share them


@given(specs(), st.data())
def test_a_layer_of_a_stack_is_a_stack_of_one(spec, data):
    number = data.draw(st.integers(0, spec.num_layers - 1))
    alone = spec.layer(number)
    assert (alone.num_layers, alone.directions, alone.cell) == (1, spec.directions, spec.cell)
    for suffix in spec.suffixes()[: spec.directions]:
        for kind in KINDS:
            of_stack = spec.shapes().get(kind + suffix.replace("_l0", f"_l{number}"))
            assert alone.shapes().get(kind + suffix) == of_stack


def test_equal_numbers_are_one_key_and_pickles_know_their_cell():
    one, other = (Spec(lstm.CELL, np.dtype(np.float32), 3, 4) for _ in range(2))
    assert {one: 1}[other] == 1
    assert {one: 1}[pickle.loads(pickle.dumps(one))] == 1
    assert one != one._replace(dtype=F64)
    assert one != one._replace(bias=False)
