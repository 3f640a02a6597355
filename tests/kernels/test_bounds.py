"""No access leaves its array: every one is looked at, under NUMBA_BOUNDSCHECK=1.

And that an access outside would be noticed, in any thread. Each in a process of its own, as the
setting is read when kernels are compiled.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.support import everything
from tests.support.compare import assert_bits
from tests.support.processes import python

# Where an access is follows from the cell's numbers of gates and states, and from the lanes of the
# type. These have them all; the two nonlinearities of the RNN differ in registers alone.
CASES = [("lstm", "float32"), ("gru", "float64"), ("rnn_tanh", "float32")]


@pytest.mark.parametrize(("cell", "dtype"), CASES, ids=[f"{c}-{d}" for c, d in CASES])
def test_nothing_leaves_its_array(cell, dtype, tmp_path):
    """And the numbers are the same."""
    file = tmp_path / "checked.npz"
    run = f"import runpy; runpy.run_path({everything.__file__!r}, run_name='__main__')"
    python(run, cell, dtype, file, timeout=600, NUMBA_BOUNDSCHECK="1")
    with np.load(file) as checked:
        assert_bits(dict(checked), everything.everything(cell, dtype))
        assert len(checked) > 100


OUTSIDE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from tests.support.compiled import compiled
from fastrnn.kernels.memory import load, load_many, load_part, store, store_part
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import tile

@compiled
def vector(x, at): store(x, 0, load(x, at))
@compiled
def part(x, at): store(x, 0, load_part(x, at, 2))
@compiled
def many(x, at): store(x, 0, load_many(x, at, lanes(x), 2)[1])
@compiled
def write(x, at): store(x, at, load(x, 0))
@compiled
def write_part(x, at): store_part(x, at, load(x, 0), 2)
@compiled
def multiply(x, at):
    n = lanes(x)
    tile(1, 1, n, 2, 8, x, 0, 0, 1, x, at, n, x, 0, 0, x, 0, 0)

n = 64
for function, last in ((vector, n - 16), (part, n - 2), (many, n - 32), (write, n - 16),
                       (write_part, n - 2), (multiply, n - 32)):
    function(np.zeros(n, np.float32)[: n - 16 + 16], 0)
    for at in (-1, n, n - 1, 10**9):
        try:
            function(np.zeros(n, np.float32), at)
        except IndexError as error:
            assert "left its array" in str(error)
        else:
            raise SystemExit(f"{function.__name__} at {at} was not noticed")
print("noticed")
"""


def test_the_check_of_bounds_would_notice(tmp_path):
    # `compiled` reads the file of a function: give it one.
    script = tmp_path / "outside.py"
    script.write_text(OUTSIDE)
    code = f"import runpy; runpy.run_path({str(script)!r})"
    tests = Path(__file__).parents[2]
    assert python(code, tests, cache=tmp_path / "cache", NUMBA_BOUNDSCHECK="1") == "noticed"


# A pass told that its input is twice as long as it is: the access is made in a part of a job,
# by whichever thread has claimed it.
BEYOND = """
import numpy as np, fastrnn
from fastrnn.nn.program import Program

def lie(self, x):
    array, index, time, row = source(self, x)
    return array, index, 2 * time, row

source = Program._source
# In the type that the test above has compiled the kernels for.
x, f64 = np.ones((20, 3, 300)), {"seed": 0, "dtype": np.float64}
for threads in (1, 2, 4):
    fastrnn.set_num_threads(threads)
    for layer in (fastrnn.GRU(300, 300, **f64), fastrnn.GRU(300, 20, **f64)):
        (output, _), pullback = layer.vjp(x)
        for _ in range(2):
            Program._source = lie
            for call in (lambda: layer.vjp(x), lambda: pullback(output)):
                try:
                    call()
                except IndexError as error:
                    assert "left its array" in str(error)
                else:
                    raise SystemExit(f"not noticed by {threads} threads")
            Program._source = source
            assert (layer(x)[0] == output).all()  # and nobody is left waiting
print("noticed")
"""


def test_the_check_of_bounds_notices_in_every_thread():
    assert python(BEYOND, NUMBA_BOUNDSCHECK="1") == "noticed"
