"""Which kind of target something is, and what is refused with which words."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.processes import python
from tests.support.targets import X, square


def not_a_pair(x):
    return x


def short(a, b):
    return a, lambda d: (d,)


@pytest.mark.parametrize(
    ("target", "inputs", "error", "says"),
    [
        (square, [[1.0, 2.0]], TypeError, "inputs: x is a list; expected a NumPy array"),
        (square, (X.astype(np.float16),), TypeError, "float16; expected float32 or float64"),
        (square, (X + 1j,), TypeError, "complex128; expected float32 or float64"),
        (square, (np.arange(3),), ValueError, "no input of square is a float array"),
        (square, (np.zeros((0, 3)),), ValueError, "x has no entries"),
        (square, 3.0, TypeError, "inputs is a float; expected a tuple of arrays"),
        (not_a_pair, (X,), TypeError, "returned a ndarray; expected (output, pullback)"),
        (short, (X, X), TypeError, "returned a tuple of 1; expected a tuple of 2"),
        ("square", (X,), TypeError, "target is a str; expected a function"),
    ],
)
def test_misuse_is_refused_in_words(target, inputs, error, says):
    with pytest.raises(error) as caught:
        gradcheck(target, inputs)
    assert says in str(caught.value)
    assert not isinstance(caught.value, GradcheckError)


@pytest.mark.parametrize(
    ("target", "inputs", "kind"),
    [
        (square, (X,), "function"),
        ((np.sin, lambda x, d: np.cos(x) * d), X, "pair"),
        (fastrnn.GRU(4, 2, dtype=np.float64, seed=0), [X], "layer"),
        (fastrnn.LSTMCell(4, 2, dtype=np.float64, seed=0), (X,), "layer"),
        (fastrnn.Linear(4, 2, dtype=np.float64, seed=0), (X,), "layer"),
    ],
)
def test_kinds(target, inputs, kind):
    assert problem_of(target, inputs).kind == kind


def test_kinds_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    assert problem_of(torch.sin, x).kind == "torch function"
    assert problem_of(lambda nested: nested["x"] ** 2, ({"x": x},)).kind == "torch function"
    assert problem_of(torch.nn.Linear(4, 2).double(), (x,)).kind == "torch module"
    assert problem_of(square, (X,)).kind == "function"  # torch is imported, and has no part in it


def test_torch_is_not_imported_for_it():
    code = (
        "import sys, numpy as np; from fastrnn.checking import gradcheck\n"
        "gradcheck(lambda x: (x * x, lambda d: 2 * d * x), np.ones(3))\n"
        "print('torch' in sys.modules)"
    )
    assert python(code) == "False"
