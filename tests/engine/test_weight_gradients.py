"""The large products over the rows of a block, against NumPy, whole and in shares."""

from fastrnn.cells import CELLS
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, both_dtypes, run


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
                one, two = run(layer, values), run(other, values)
                two["d_weight_ih_l0"] = two["d_weight_ih_l0"][:, :8].copy()
                for name, array in one.items():
                    if array is not None:
                        assert_close(two[name], array, atol=0, name=name)
