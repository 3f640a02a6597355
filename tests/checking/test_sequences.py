"""Properties of layers that read sequences: each is violated by a layer here, and found."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck


def failed(target, inputs, **options):
    report = gradcheck(target, inputs, raise_exception=False, **options)
    return {p.name: p.detail for p in report.properties if not p.ok}


class Broken(fastrnn.GRU):
    how = ""

    def vjp(self, x, state=None, lengths=None, training=True, *, reset=None):
        if self.how == "reset":
            reset = None
        (output, h_n), pullback = super().vjp(x, state, lengths, training, reset=reset)

        def changed(d_output, d_state=None):
            grads = pullback(d_output, d_state)
            d_x = grads.input.copy()
            if self.how == "rows":
                d_x += 1e-9 * d_x[:, ::-1]
            elif self.how == "causal":
                d_x[1:] += 1e-9 * d_x[:-1]
            elif self.how == "padding" and lengths is not None:
                d_x[-1] += 1e-9
            elif self.how == "leak" and reset is not None:
                d_x[0] += 1e-9
            elif self.how == "none" and d_state is None:
                d_x *= 1 + 1e-9
            return grads._replace(input=d_x)

        if self.how == "forward":
            output = output * (1 + 1e-9)
        return (output, h_n), changed


class OldFashioned(fastrnn.GRU):
    def vjp(self, x, state=None, lengths=None, training=True):
        return super().vjp(x, state, lengths, training)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("rows", "rows do not mix"),
        ("causal", "causal"),
        ("padding", "padding is not read"),
        ("reset", "nothing crosses a reset"),
        ("leak", "nothing crosses a reset"),
        ("none", "None is a zero cotangent"),
        ("forward", "vjp computes what a call does"),
    ],
)
def test_properties_of_layers(how, name):
    layer = Broken(2, 3, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    assert not failed(layer, (x,), mode="project")
    layer.how = how
    assert name in failed(layer, (x,), mode="project")


def names_of(layer, x, **options):
    return {p.name for p in gradcheck(layer, (x,), **options).properties}


def test_they_apply_only_where_they_can():
    """Of one row, none can mix; of two directions, none is causal; of indices, no gradient is."""
    layer = fastrnn.GRU(2, 3, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    of_layers = {"rows do not mix", "causal", "padding is not read", "None is a zero cotangent"}
    assert of_layers <= names_of(layer, x)
    assert "nothing crosses a reset" in names_of(layer, x[:, 0])
    assert "nothing crosses a reset" not in names_of(layer, x[:1])
    assert "nothing crosses a reset" not in names_of(OldFashioned(2, 3, seed=0), x.astype("f"))
    assert "rows do not mix" not in names_of(layer, x[:, :1])
    assert "padding is not read" not in names_of(layer, x[:, 0])
    both = fastrnn.GRU(2, 3, bidirectional=True, dtype=np.float64, seed=0)
    assert "causal" not in names_of(both, x)
    assert not {"causal", "padding is not read"} & names_of(layer, np.array([[0, 1], [1, 1]]))
    assert "kernels compute the equations" in names_of(layer, x, method="complex")
