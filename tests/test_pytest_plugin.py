"""The fixture `gradcheck`: pytest in a fresh process, as somebody who uses it runs it.

Once with the plugin named on the command line, and once with the package installed, which is where
pytest finds the plugin by itself and rewrites the assertions of the whole package.
"""

import shutil
import tomllib

import pytest

from fastrnn import pytest_plugin
from tests.support.processes import PACKAGE, python

PYPROJECT = PACKAGE.parent / "pyproject.toml"
ENTRY_POINT = "[pytest11]\nfastrnn = fastrnn.pytest_plugin\n"

TESTS = """
import numpy as np
import pytest

X = np.array([1.0, 2.0])

def square(x):
    return x * x, lambda d: 2 * x * d

def wrong(x):
    return x * x, lambda d: 3 * x * d

def test_right(gradcheck):
    assert gradcheck(square, (X,)).ok

def test_wrong(gradcheck):
    gradcheck(wrong, (X,))  # the line to be shown

@pytest.fixture(scope="module")
def kept(gradcheck):
    return gradcheck

def test_it_is_the_function(kept):
    import fastrnn
    assert kept is fastrnn.gradcheck

def test_a_kernel(gradcheck):
    import fastrnn
    gradcheck(fastrnn.GRU(2, 3, seed=0), np.ones((3, 2, 2), np.float32))
"""

# What is loaded when the plugin is, before any test: nothing of numba.
LOADED = """
import sys

def pytest_sessionstart():
    names = [m for m in sys.modules if m.partition(".")[0] in ("fastrnn", "numba", "numpy")]
    print("loaded:", *sorted(names))

def test_nothing():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on the text of a file and return what it prints; `plugins` is the conftest.py."""

    def run(text, *options, plugins="", **variables):
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        (tmp_path / "conftest.py").write_text(plugins)
        (tmp_path / "test_theirs.py").write_text(text)
        code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
        result = python(
            code,
            tmp_path,
            "-p",
            "no:cacheprovider",
            *options,
            check=False,
            PYTEST_ADDOPTS="",
            **variables,
        )
        return result.stdout + result.stderr

    return run


@pytest.fixture
def named(run):
    """The same, with the plugin on the command line and no other."""

    def named(text, *options, **more):
        # Where the package is installed, pytest would find the plugin a second time.
        return run(
            text,
            "-p",
            "fastrnn.pytest_plugin",
            *options,
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            **more,
        )

    return named


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as pip would install it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, folder / "fastrnn", ignore=shutil.ignore_patterns("__pycache__"))
    about = folder / "fastrnn-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fastrnn\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINT)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return {"PYTHONPATH": str(folder)}


def test_right_and_wrong(named):
    output = named(TESTS)
    assert "1 failed, 3 passed" in output
    assert "test_theirs.py::test_wrong" in output


@pytest.mark.parametrize("style", ["auto", "long", "short", "line"])
def test_a_failure_shows_the_report_and_nothing_of_ours(named, style):
    output = named(TESTS, f"--tb={style}", "-k", "test_wrong")
    assert "gradcheck of wrong: FAILED: wrong gradient of x" in output
    assert "x[1] analytic " in output
    assert " numeric " in output
    assert "looks like: 1.5 times as large everywhere (x)" in output
    assert "1 failed" in output
    assert style == "line" or "gradcheck(wrong, (X,))  # the line to be shown" in output
    # No line of check.py, nor its name: the place of the error is in the test.
    assert "raise GradcheckError" not in output
    assert "check.py" not in output
    assert "checking/" not in output.replace("\\", "/")


def test_loading_it_loads_no_more_than_it(named):
    output = named("def test_nothing(): pass", "-s", plugins=LOADED)
    assert "loaded: fastrnn fastrnn.pytest_plugin\n" in output
    assert "1 passed" in output


def test_the_fixture_says_what_it_is(named):
    output = named("", "--fixtures", "-v")
    assert "gradcheck [session scope]" in output
    assert "`fastrnn.gradcheck(target, inputs)`" in output
    assert pytest_plugin.__doc__


def test_installed(run, installed):
    output = run(TESTS, "-p", "no:xdist", plugins=LOADED, **installed)
    assert "1 failed, 3 passed" in output
    output = run("def test_nothing(): pass", "-s", plugins=LOADED, **installed)
    assert "loaded: fastrnn fastrnn.pytest_plugin" in output
    assert "1 passed" in output


def test_installed_with_workers(run, installed):
    pytest.importorskip("xdist")
    output = run(TESTS, "-n", "2", **installed)
    assert "1 failed, 3 passed" in output
    assert "x[1] analytic " in output
    assert "check.py" not in output


def test_it_can_be_left_out(run, installed):
    output = run("def test_nothing(): pass", "-s", "-p", "no:fastrnn", plugins=LOADED, **installed)
    assert "loaded: \n" in output or "loaded:\n" in output
    assert "1 passed" in output
    output = run(TESTS, "-p", "no:fastrnn", "-k", "test_right", **installed)
    assert "fixture 'gradcheck' not found" in output


def test_the_package_declares_it():
    if not PYPROJECT.exists():
        pytest.skip("there is no pyproject.toml beside the package")
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
    group, *lines = ENTRY_POINT.splitlines()
    assert group == "[pytest11]"
    assert lines == [f"{name} = {module}" for name, module in declared.items()]
