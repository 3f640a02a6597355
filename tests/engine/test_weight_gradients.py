"""The large products over the rows of a block, against NumPy, whole and in shares."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells import CELLS
from fastrnn.engine import buffers
from fastrnn.engine import weight_gradients as engine
from fastrnn.engine.records import Weights, read_input, read_rows
from fastrnn.engine.weight_gradients import BackwardBuffers, Sums
from fastrnn.kernels.memory import flat, part_of
from fastrnn.kernels.tile import MAX_VECTORS
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import Configuration, both_dtypes
from tests.support.configurations import run as run_layer
from tests.support.layouts import given_input, in_panels, padded

N = buffers.lanes(np.dtype(np.float64))


@both_dtypes
def test_a_table_of_classes_gives_the_sums_of_the_weight_itself(dtype):
    """A one-hot input has its gradient added up by class if there are few: not another number."""
    for cell in CELLS:
        for H in (1, 8, 16, 33):
            for T, B in ((1, 1), (3, 1), (2, 3)):
                few = Configuration(cell, T=T, B=B, I=8, H=H, one_hot=True)
                many = Configuration(cell, T=T, B=B, I=8 * T * B + 1, H=H, one_hot=True)
                layer, other = few.layer(dtype), many.layer(dtype)
                state = {n: p for n, p in layer.params.items() if n != "weight_ih_l0"}
                other.load_state_dict(state, strict=False)
                other.params["weight_ih_l0"][:, :8] = layer.params["weight_ih_l0"]
                values = few.values(dtype)
                one, two = run_layer(layer, values), run_layer(other, values)
                two["d_weight_ih_l0"] = two["d_weight_ih_l0"][:, :8].copy()
                for name, array in one.items():
                    if array is not None:
                        assert_close(two[name], array, atol=0, name=name)


@compiled
def run(parts, rows, row0, given, d_a, pitches, back, w_ih, sizes, sums, d_x, scratch, fresh):
    d_a_x, d_a_h = d_a
    a_pitch, h_pitch, d_h_pitch, x_pitch = pitches
    h_rows, d_h_rows, x_rows, place, unprojected, zeros, packed = back
    none = part_of(flat(zeros), 0, 0)
    d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_w_hr, table = sums
    back = BackwardBuffers(
        none,
        flat(unprojected),
        0,
        none,
        none,
        none,
        flat(d_a_x),
        flat(d_a_h),
        a_pitch,
        flat(h_rows),
        h_pitch,
        flat(d_h_rows),
        d_h_pitch,
        flat(x_rows),
        x_pitch,
        flat(place),
        packed,
        none,
        flat(w_ih),
        none,
        flat(zeros),
    )
    sums = Sums(flat(d_w_ih), flat(d_w_hh), flat(d_b_ih), flat(d_b_hh), flat(d_w_hr), flat(table))
    sequences = read_input(given)
    for part in range(parts):
        engine.input_gradient(
            part, parts, rows, sequences, back, sizes[0], sizes[3], read_rows(d_x), flat(scratch)
        )
    for part in range(parts):
        engine.weight_gradients(part, parts, rows, row0, sequences, back, sizes, sums, fresh)
    if sums.table.size:
        for part in range(parts):
            engine.transpose_table(part, parts, sums, sizes[0], sizes[3], a_pitch)


@given(st.data())
def test_shares_of_a_block_are_products_of_numpy(data):
    T, B = data.draw(st.integers(1, 4), "T"), data.draw(st.integers(1, 4), "B")
    I, H, E, G = (data.draw(st.integers(1, 2 * N + 1), name) for name in ("I", "H", "E", "G"))  # noqa: E741
    parts, fresh = data.draw(st.integers(1, 4), "parts"), data.draw(st.booleans(), "fresh")
    kind = data.draw(st.sampled_from(["dense", "one-hot", "by class"]), "input")
    rng, rows, K = np.random.default_rng(data.draw(st.integers(0, 99), "seed")), T * B, G * H
    place, row0 = rng.permutation(rows), data.draw(st.integers(0, 2), "row0")
    x = rng.integers(0, I, (T, B)) if kind != "dense" else rng.normal(size=(T, B, I))
    d_a_x, d_a_h = rng.normal(size=(2, rows, K))
    h, d_h = rng.normal(size=(rows, E)), rng.normal(size=(rows, E))
    hidden_p, pitch = -(-H // N) * N, [-(-size // N) * N + N for size in (K, E, E, I)]
    unprojected, w_ih = rng.normal(size=(row0 + rows, hidden_p)), rng.normal(size=(K, I))
    before = [rng.normal(size=s) for s in ((K, I), (K, E), (K,), (K,), (E, H))]
    if kind == "by class":
        before[0][:] = 0  # what was added up lies in the table
    sums = [np.full_like(a, np.nan) if fresh else a.copy() for a in before]
    table = np.zeros((I, pitch[0]) if kind == "by class" else (0, 0))
    nan = np.nan
    x_rows = np.full((rows, pitch[3]), nan) if kind == "dense" else np.empty((0, 0))
    wide = [
        padded(a, p, nan)
        for a, p in zip((d_a_x, d_a_h, h, d_h), (pitch[0], *pitch[:3]), strict=True)
    ]
    # Rows that are no whole vectors are always packed (plan.is_unpacked_backward).
    packed, weight = I % N > 0 or data.draw(st.booleans(), "packed"), w_ih
    if packed:
        weight = in_panels(padded(w_ih, -(-I // N) * N), MAX_VECTORS * N)
    d_x = np.full((T, B, I), nan) if kind == "dense" else np.empty((0, 0, 0))
    scratch = np.full(parts * rows * pitch[3], nan)
    run(
        parts,
        rows,
        row0,
        given_input(x, np.arange(B), np.full(B, T), False, kind != "dense"),
        (wide[0], wide[1]),
        tuple(pitch),
        (wide[2], wide[3], x_rows, place, unprojected, np.zeros(K + I + E + H + 8 * N), packed),
        weight,
        (I, E, H, K, hidden_p),
        (*sums, table),
        (d_x, 0, B * I, I),
        scratch,
        fresh,
    )
    flat_x = (np.eye(I)[x] if kind != "dense" else x).reshape(rows, I)[place]
    products = [
        d_a_x.T @ flat_x,
        d_a_h.T @ h,
        d_a_x.sum(0),
        d_a_h.sum(0),
        d_h.T @ unprojected[row0:, :H],
    ]
    for name, got, start, product in zip(Weights._fields, sums, before, products, strict=True):
        assert_close(got, product if fresh else start + product, atol=1e-12, name=name)
    if kind == "dense":
        expected = np.empty((rows, I))
        expected[place] = d_a_x @ w_ih
        assert_close(d_x.reshape(rows, I), expected, atol=1e-12)
