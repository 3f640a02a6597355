"""What the sources promise of themselves, read from their syntax trees; nothing is run.

One decorator, imports one way, every cell listed and none named elsewhere, nothing private
read, a test file for each source file.
"""

import ast
import importlib
import re
from pathlib import Path

import fastrnn
from fastrnn.cells import CELLS
from tests.support.sources import FILES, PACKAGE, TREES, every_module

# Imports go from a line to lines above it, or stay within a line.
LAYERS = [
    {"kernels"},
    {"checks", "files", "claims"},
    {"engine"},
    {"cells"},
    {"plotting", "losses", "optim"},
    {"nn"},
    {"functional", "init", "reference"},
    {"tracing"},
    {"models"},
    {"torch"},
    {"checking"},
    {"_public"},
    {"demos"},
    {"cli"},
    {"__init__", "__main__", "pytest_plugin"},
]
# The oracle is nothing without independence, and what needs no kernel needs no numba.
ALONE = {
    "reference": {"nn.gradients"},
    "losses": set(),
    "optim": {"optim"},
    "checks": set(),
    "files": set(),
    "claims": {"files"},
    "plotting": {"files"},
    "nn.gradients": set(),
    "cli.ending": set(),
    "cli.interrupt": {"cli.ending"},
    "kernels": {"kernels"},
    "pytest_plugin": set(),
}
# Whose code ends up in kernels: it works on arrays of any cell, and names none.
COMPILED = ("engine.", "kernels.")


def imports(module):
    """Return the modules of the package that a module imports, as `kernels.simd`, `checks`."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fastrnn":
            inside = node.module.partition(".")[2]
            for alias in node.names:
                name = f"{inside}.{alias.name}".strip(".")
                found.add(name if name in TREES or f"{name}.__init__" in TREES else inside)
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("fastrnn")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), "imports are absolute"
    return found - {""}


def rank(module):
    top = module.partition(".")[0]
    ranks = [i for i, names in enumerate(LAYERS) if top in names]
    assert ranks, f"{module} has no place in LAYERS: give it one"
    return ranks[0]


@every_module
def test_imports_go_one_way(module):
    for other in imports(module):
        assert rank(other) <= rank(module), f"{module} imports {other}"
    for name in {module, module.partition(".")[0]} & {*ALONE}:
        allowed = ALONE[name]
        assert all(o in allowed or o.partition(".")[0] in allowed for o in imports(module))


@every_module
def test_what_the_public_names_need_asks_for_none_of_them(module):
    """`fastrnn.LSTM` there would load the list of names that is just being loaded."""
    if module.partition(".")[0] in ("cli", "demos", "torch", "__main__", "pytest_plugin"):
        return
    for node in ast.walk(TREES[module]):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        assert "fastrnn" not in names
        if isinstance(node, ast.ImportFrom) and node.module == "fastrnn":
            modules = [a.name in TREES or f"{a.name}.__init__" in TREES for a in node.names]
            assert all(modules), "import it from the module that makes it"


def test_imports_make_no_circle():
    done, path = set(), []

    def visit(module):
        if module in done:
            return
        assert module not in path, " <- ".join([*path, module])
        path.append(module)
        for other in sorted(imports(module) if module in TREES else ()):
            visit(other)
        done.add(path.pop())

    for module in TREES:
        visit(module)


@every_module
def test_every_file_says_what_it_is(module):
    docstring = ast.get_docstring(TREES[module])
    assert docstring
    assert docstring[0].isalpha() or docstring[0] == "`"
    lines = (PACKAGE / (module.replace(".", "/") + ".py")).read_text().count("\n")
    assert lines <= 300, f"{lines} lines: split it"


def private_names(owner):
    """Return the attributes with an underscore that a class owns."""
    names = set()
    for node in ast.walk(owner):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    names -= {"_replace", "_asdict", "_fields"}  # public, of every NamedTuple
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def classes(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


PRIVATE = {
    name for tree in TREES.values() for owner in classes(tree) for name in private_names(owner)
}
# Those of others, that happen to have a name that is private here too.
FOREIGN = {"torch.twin": {"module._parameters"}}


@every_module
def test_nobody_reads_what_is_private_to_another(module):
    """`other._name`, outside the class that owns it."""

    def reads(tree):
        return {
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in PRIVATE
            if ast.unparse(node.value) not in ("self", "cls", "super()")
        }

    found = reads(TREES[module])
    for owner in classes(TREES[module]):
        found -= {read for read in reads(owner) if read.attr in private_names(owner)}
    assert {ast.unparse(read) for read in found} <= FOREIGN.get(module, set())


def test_no_two_classes_have_one_name():
    """But for the layers, which have torch's names in fastrnn.torch too."""
    where = {}
    for module, tree in TREES.items():
        if module == "torch.modules":
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name.lstrip("_"), []).append(module)
    assert not {name: found for name, found in where.items() if len(found) > 1}


@every_module
def test_kernels_take_at_most_twelve_arguments(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef):
            if any(ast.unparse(d).partition("(")[0] == "kernel" for d in node.decorator_list):
                assert len(node.args.args) <= 12, node.name


@every_module
def test_there_is_one_decorator(module):
    if module == "kernels.jit":
        return
    names = {n.id for n in ast.walk(TREES[module]) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(TREES[module]) if isinstance(n, ast.Attribute)}
    names |= {
        a.name for n in ast.walk(TREES[module]) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    assert not names & {"njit", "vectorize", "guvectorize", "generated_jit", "prange", "stencil"}


@every_module
def test_memory_for_kernels_is_allocated_in_one_place(module):
    """`np.empty` elsewhere: tests would not fill it with NaN, and see what is read too early."""
    top = module.partition(".")[0]
    if top not in ("engine", "nn", "torch", "functional") or module == "engine.buffers":
        return
    functions = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.FunctionDef)]
    used = {ast.unparse(n) for f in functions for n in ast.walk(f) if isinstance(n, ast.Attribute)}
    assert not used & {"np.empty", "np.empty_like"}


def test_every_cell_is_listed_and_imports_no_other():
    modules = {m for m in TREES if m.startswith("cells.")} - {"cells.__init__"}
    listed = {f"cells.{name}" for name in vars(fastrnn.cells) if f"cells.{name}" in modules}
    assert modules == listed
    for module in modules:
        cells = vars(importlib.import_module(f"fastrnn.{module}")).values()
        cells = [cell for cell in cells if isinstance(cell, fastrnn.cells.Cell)]
        assert cells, f"{module} makes no Cell"
        assert all(cell in CELLS for cell in cells), f"a Cell of {module} is not in CELLS"
        assert not [o for o in imports(module) if o.startswith("cells")]


@every_module
def test_the_engine_names_no_cell(module):
    if not module.startswith((*COMPILED, "nn.")) or module in ("nn.layers", "nn.cells"):
        return
    words = {cell.name.partition("_")[0] for cell in CELLS}
    if module.startswith(COMPILED):
        text = (PACKAGE / (module.replace(".", "/") + ".py")).read_text().lower()
        found = set(re.findall(r"\w+", text.replace("fastrnn", "")))
    else:  # whose docstrings may say what a user's LSTM does
        nodes = list(ast.walk(TREES[module]))
        found = {n.id.lower() for n in nodes if isinstance(n, ast.Name)}
        found |= {n.attr.lower() for n in nodes if isinstance(n, ast.Attribute)}
    assert not words & found


TESTS = Path(__file__).parent
# What no source file by itself is: the whole package, or two of its parts together.
WHOLE = {
    "test_package",
    "test_conventions",
    "test_docstrings",
    "test_readmes",
    "test_concurrency",
    "test_conditions",
    "cells/test_cells",
    "kernels/test_bounds",
    "kernels/test_instruction_sets",
    "models/test_resume",
    "models/test_sklearn",
    "models/test_torch",
    "nn/test_every_way",
    "nn/test_reset",
    "nn/test_reset_bits",
    "nn/test_reset_faults",
    "nn/test_reset_ways",
    "nn/test_training",
    "support/test_compare",
    "support/test_configurations",
    "torch/test_module_db",
    "torch/test_processes",
    "torch/test_reset",
    "torch/test_team",
}


def test_every_source_file_has_a_test_file_of_its_name_and_no_test_file_is_long():
    sources = [path.relative_to(PACKAGE) for path in FILES if not path.name.startswith("_")]
    wanted = {str(path.parent / f"test_{path.stem}").removeprefix("./") for path in sources}
    found = {
        path.relative_to(TESTS).with_suffix("").as_posix(): path for path in TESTS.rglob("*.py")
    }
    tests = {name for name in found if name.rpartition("/")[2].startswith("test_")}
    assert not wanted - tests, "a source file without a test file"
    assert not tests - wanted - WHOLE, "a test file without a source file"
    assert not [name for name, path in found.items() if path.read_text().count("\n") > 300]
