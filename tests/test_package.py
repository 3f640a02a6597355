"""`import fastrnn` loads nothing, and nobody notices: each in a fresh process, which has not yet.

That a first use costs little time is test_jit.py's.
"""

import ast
import os
import pickle

import pytest

import fastrnn
from fastrnn import _public
from tests.support.processes import PACKAGE, python

NAMES = [
    alias.asname
    for node in ast.parse((PACKAGE / "_public.py").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
]
# These need packages that may be missing, and are no attributes before they are imported.
APART = ("demos", "torch", "pytest_plugin", "__main__")
MODULES = [
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
]
MODULES = [module for module in MODULES if not module.startswith(("__init__", *APART))]

LOADED = "sorted(m for m in sys.modules if m.startswith(('fastrnn', 'numba', 'numpy', 'llvmlite')))"


def test_the_import_alone_loads_nothing():
    """Nor does looking for what is not there, as many tools do with every module they meet."""
    code = f"""
import sys
import fastrnn
assert {fastrnn.__version__!r} == fastrnn.__version__
for name in ("__wrapped__", "__pytest_wrapped__", "_nothing", "torch", "demos", "pytest_plugin"):
    assert not hasattr(fastrnn, name), name
assert "T time, B batch" in fastrnn.__doc__
print({LOADED})
"""
    assert python(code) == "['fastrnn']"


def test_names_are_attributes_once_one_was_used():
    code = f"""
import sys
import fastrnn
assert {LOADED} == ["fastrnn"]
fastrnn.get_num_threads
del fastrnn.__getattr__
print(all(callable(getattr(fastrnn, name)) for name in sys.argv[1:]))
"""
    modules = {"functional", "init", "losses", "optim"}
    assert {*NAMES} >= {"LSTM", "Linear", "gradcheck", "GradcheckError", *modules}
    assert python(code, *sorted({*NAMES} - modules)) == "True"
    for name in NAMES:
        assert getattr(fastrnn, name) is getattr(_public, name)


def test_dir_and_the_star_know_all_names():
    assert {*NAMES, "cells", "kernels", "engine", "nn", "__version__", "__doc__"} <= {*dir(fastrnn)}
    code = """
import fastrnn
from fastrnn import *
print(fastrnn.LSTM is LSTM, *fastrnn.__all__)
"""
    assert python(code).split() == ["True", *NAMES]


@pytest.mark.parametrize(
    "path",
    [
        "kernels.__name__",
        "cells.lstm.CELL",
        "checks.np",
        "optim.rules.Adam",
        "kernels.jit.jit",
        "reference.lstm",
        "functional.lstm",
    ],
)
def test_modules_are_attributes(path):
    python(f"import fastrnn; fastrnn.{path}")


def test_every_module_is_an_attribute():
    """But those inside folders, which are not for every use."""
    code = "import sys, operator, fastrnn; operator.attrgetter(*sys.argv[1:])(fastrnn)"
    inside = ("checking.", "kernels.", "models.", "engine.", "nn.", "cli.", "torch.")
    python(code, *[module for module in MODULES if not module.startswith(inside)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_any_module_can_be_the_first():
    """In processes forked where only what others made is loaded already."""
    code = """
import contextlib, os, sys, importlib
import numba.extending, numpy.random
with contextlib.suppress(ImportError):
    import torch
for module in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(f"fastrnn.{module}")
        except ModuleNotFoundError as error:  # what checks torch's modules may need torch
            assert (error.name, module[:17]) == ("torch", "checking.targets."), (error, module)
        import fastrnn
        fastrnn.LSTM
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""
    python(code, *MODULES)


def test_ways_to_import():
    code = """
from fastrnn import LSTM
from fastrnn import functional as F
import fastrnn.optim as optim
import fastrnn.kernels.threads
import fastrnn
assert LSTM is fastrnn.LSTM is fastrnn.nn.layers.LSTM
assert F is fastrnn.functional
assert optim is fastrnn.optim
assert fastrnn.kernels.threads.get_num_threads is fastrnn.get_num_threads
"""
    python(code)


def test_what_is_not_there():
    code = "import fastrnn; fastrnn.LSTN"
    result = python(code, check=False)
    assert "AttributeError: module 'fastrnn' has no attribute 'LSTN'" in result.stderr
    assert "Did you mean: 'LSTM'?" in result.stderr
    result = python("from fastrnn import LSTN", check=False)
    assert "ImportError: cannot import name 'LSTN' from 'fastrnn'" in result.stderr


def test_an_error_of_the_first_use_comes_again():
    code = """
import sys
sys.modules["numba"] = None
import fastrnn
for _ in range(2):
    try:
        fastrnn.LSTM
    except ModuleNotFoundError as error:
        assert error.name == "numba"
    else:
        raise SystemExit("it went on without numba")
del sys.modules["numba"]
fastrnn.LSTM
"""
    python(code)


def test_what_a_user_puts_there_stays():
    code = """
import importlib, unittest.mock
import fastrnn
fastrnn.GRU = "mine"
with unittest.mock.patch("fastrnn.LSTM", "for now"):
    assert fastrnn.LSTM == "for now"
assert fastrnn.LSTM is fastrnn.nn.layers.LSTM
assert fastrnn.GRU == "mine"
before = fastrnn.RNN
assert importlib.reload(fastrnn) is fastrnn
assert fastrnn.RNN is before
assert fastrnn.GRU == "mine"
"""
    python(code)


def test_pickles_come_to_a_process_that_has_loaded_nothing(tmp_path):
    path = tmp_path / "layer"
    path.write_bytes(pickle.dumps((fastrnn.LSTM(2, 3, seed=0), fastrnn.gradcheck)))
    code = """
import copy, pickle, sys
layer, gradcheck = pickle.load(open(sys.argv[1], "rb"))
import fastrnn
assert type(copy.deepcopy(layer)) is fastrnn.LSTM
assert gradcheck is fastrnn.gradcheck
"""
    python(code, path)


def test_many_threads_use_it_first_at_once():
    code = """
import importlib, operator, sys, threading
import fastrnn
sys.setswitchinterval(1e-6)
paths = ["LSTM", "gradcheck", "GRU", "functional.lstm", "checks.array", "cells.lstm", "LSTM",
         "LSTM", "LSTMCell"]
barrier, found = threading.Barrier(len(paths) + 2), []

def attribute(path):
    barrier.wait()
    found.append(operator.attrgetter(path)(fastrnn))

def module(name):
    barrier.wait()
    found.append(importlib.import_module(name))

threads = [threading.Thread(target=attribute, args=(path,)) for path in paths]
threads += [threading.Thread(target=module, args=(name,))
            for name in ("fastrnn.nn.program", "fastrnn.engine.scan")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == len(threads)
assert found.count(fastrnn.LSTM) == 3
"""
    for _ in range(3):
        python(code, timeout=60)
