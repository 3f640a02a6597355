"""Machine code that kernels call by name: that it is there, is called, and is what the CPU can do.

What it computes is test_tile.py's and test_dots.py's.
"""

import json
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastrnn.kernels import linked, tile
from fastrnn.kernels.dots import ROWS
from tests.support.configurations import both_dtypes
from tests.support.processes import python

# Made without the cache on disk, which keeps no assembly.
ASSEMBLY = """
import json, sys
import numpy as np
from numba.core.caching import NullCache
import fastrnn
from fastrnn.kernels.linked import compiled_addresses

compiled_addresses._cache = NullCache()
texts = {}
for dtype in (np.float32, np.float64):
    compiled_addresses(np.empty(0, dtype))
[texts["linked float32"], texts["linked float64"]] = compiled_addresses.inspect_asm().values()
cell = fastrnn.GRU.cell
cell.forward._cache = cell.backward._cache = NullCache()
layer = fastrnn.GRU(3, 5, seed=0)
(output, _), pullback = layer.vjp(np.ones((4, 2, 3), np.float32))
pullback(output)
[texts["forward"]] = cell.forward.inspect_asm().values()
[texts["backward"]] = cell.backward.inspect_asm().values()
json.dump(texts, sys.stdout)
"""
# The register an FMA should work on: by the CPU, not by what the package makes of it.
HOST = llvm.get_host_cpu_features()
REGISTER = "zmm" if HOST.get("avx512f") else "ymm" if HOST.get("avx2") else None
needs_fma = pytest.mark.skipif(
    REGISTER is None or not HOST.get("fma"), reason="a CPU without AVX2 and FMA"
)


@pytest.fixture(scope="module")
def assembly():
    return json.loads(python(ASSEMBLY, PYTHONWARNINGS="ignore"))


def widest_fmas(text):
    return len(re.findall(rf"\bvfn?m(?:add|sub)\w*p[sd]\s[^\n]*%{REGISTER}", text))


def body(text, name):
    """Return the assembly of one function."""
    return text[text.index(f"\n{name}:") :].partition(".Lfunc_end")[0]


@needs_fma
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tile_multiplies_with_the_widest_registers(assembly, dtype):
    text = assembly[f"linked {dtype}"]
    for vectors in range(1, tile.MAX_VECTORS + 1):
        for rows in range(1, tile.max_rows(vectors) + 1):
            code = body(text, f"tile_{dtype}_{rows}x{vectors}")
            assert widest_fmas(code) >= rows * vectors
    for rows in ROWS:
        assert widest_fmas(body(text, f"dots_{dtype}_{rows}")) >= min(8 * rows, 8)


@needs_fma
def test_the_largest_tile_stays_in_registers(assembly):
    """Nothing goes to the stack between two multiplications."""
    for dtype in ("float32", "float64"):
        name = f"tile_{dtype}_{tile.max_rows(tile.MAX_VECTORS)}x{tile.MAX_VECTORS}"
        lines = body(assembly[f"linked {dtype}"], name).splitlines()
        at = [i for i, line in enumerate(lines) if "vfmadd" in line and f"%{REGISTER}" in line]
        assert not [
            i
            for i in range(at[0], at[-1])
            if re.search(r"\(%r[sb]p\)", lines[i]) and f"%{REGISTER}" in lines[i]
        ]


@needs_fma
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_cells_call_the_tile_and_use_the_widest_registers(assembly, direction):
    text = assembly[direction]
    assert "fastrnn_tile_float32" in text
    assert "fastrnn_tile_float64" not in text
    assert ("fastrnn_dots_float32" in text) == (direction == "forward")
    widest = widest_fmas(text) if direction == "forward" else text.count(f"%{REGISTER}")
    assert widest > 20  # of the cell's own; a GRU's gradient has none to fuse
    assert not re.search(r"\btile_float32_\dx\d:", text)  # not once more in every kernel


@both_dtypes
def test_the_names_are_known_once_a_type_is_used(dtype):
    addresses = linked.compiled_addresses(np.empty(0, dtype))
    assert len(addresses) == len(linked._defined) == len(set(addresses))
    for name in linked._defined:
        assert llvm.address_of_symbol(f"fastrnn_{name}_{np.dtype(dtype)}")
