"""The kernels on disk: found again, sealed, keyed by all they are of, and in the right folder.

What first use costs, with the cache full and empty, is test_jit.py's.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from fastrnn.kernels import cache as module
from tests.support.processes import PACKAGE, python

# A kernel of this file's own, which compiles in no time: its result, and whether it was on disk.
KERNEL = """
import json, sys
import numpy as np
from fastrnn.kernels.jit import kernel

@kernel(name="of_the_test")
def add(x, y):
    for i in range(x.size):
        y[i] += x[i]

y = np.ones(3, np.int64)  # no floats: those have functions to be linked to, and more files
add(np.arange(3), y)
hits, misses = (sum(counts.values()) for counts in (add.stats.cache_hits, add.stats.cache_misses))
print(json.dumps([y.tolist(), hits, misses]))
"""
FRESH, FOUND = [[1, 2, 3], 0, 1], [[1, 2, 3], 1, 0]


def add(folder, **variables):
    """Run the kernel in a new process, from a script, as what has no file has no cache."""
    return json.loads(python(KERNEL, cache=folder, **variables))


def kernels(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def filled(tmp_path):
    """A cache of one kernel, and its file."""
    assert add(tmp_path) == FRESH
    assert add(tmp_path) == FOUND
    [path] = kernels(tmp_path)
    return tmp_path, path


def test_a_flipped_bit_costs_one_compilation(filled):
    """Any bit: machine code that was read with one ended the process, and every later one."""
    folder, path = filled
    whole = path.read_bytes()
    for place in (0, 31, 32, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert add(folder) == FRESH, place
        assert add(folder) == FOUND, place
        assert kernels(folder) == [path]


@pytest.mark.parametrize("what", ["empty", "short", "folder", "another's", "pickle"])
def test_what_is_no_kernel_of_ours_is_neither_read_nor_run(filled, what):
    folder, path = filled
    if what == "folder":
        path.unlink()
        path.mkdir()
        (path / "file").touch()
    elif what == "another's":  # its seal is right, but of another key
        code = KERNEL.replace("y[i] += x[i]", "y[i] -= x[i]").replace("of_the_test", "of_another")
        python(code, cache=folder)
        [other] = set(kernels(folder)) - {path}
        shutil.copy(other, path)
    elif what == "pickle":  # runs what it says when it is read
        path.write_bytes(b"cbuiltins\nexec\n(S'raise SystemExit(7)'\ntR.")
    else:
        path.write_bytes(path.read_bytes()[: 100 if what == "short" else 0])
    assert add(folder) == FRESH
    assert add(folder) == FOUND


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_for_reading_is_used_as_it_is(filled):
    folder, path = filled
    path.parent.chmod(0o500)
    try:
        assert add(folder) == FOUND
        path.chmod(0)
        assert add(folder) == FRESH
    finally:
        path.parent.chmod(0o700)


def test_processes_that_write_at_once_do_not_lose_each_others_kernels(tmp_path):
    """Numba's index was read, changed and written again."""
    import concurrent.futures

    settings = [{"NUMBA_OPT": str(i)} for i in (1, 2, 3)] * 2
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda variables: add(tmp_path, **variables), settings))
    assert all(result[0] == FRESH[0] for result in results)
    assert len(kernels(tmp_path)) == 3
    for variables in settings[:3]:
        assert add(tmp_path, **variables) == FOUND


@pytest.mark.parametrize(
    "setting",
    [
        {"NUMBA_OPT": "0"},
        {"NUMBA_OPT": "max"},
        {"NUMBA_BOUNDSCHECK": "1"},
        {"NUMBA_DEBUGINFO": "1"},
        {"NUMBA_LOOP_VECTORIZE": "0"},
        {"NUMBA_SLP_VECTORIZE": "1"},
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_ENABLE_AVX": "0"},
    ],
    ids=str,
)
def test_settings_that_change_the_code_have_kernels_of_their_own(filled, setting):
    folder, _ = filled
    assert add(folder, **setting) == FRESH
    assert add(folder, **setting) == FOUND
    assert len(kernels(folder)) == 2
    assert add(folder) == FOUND


def copied(tmp_path):
    """Return the environment of a copy of the package, and one of its sources."""
    copy = tmp_path / "copy" / "fastrnn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(copy.parent)}, copy / "kernels" / "activation.py"


@pytest.mark.parametrize("locator", ["UserProvidedCacheLocator", "UserWideCacheLocator"])
def test_another_locator_moves_the_kernels_and_the_sources_still_count(tmp_path, locator):
    """Frozen applications set one. Numba's stamp is that of the outermost file alone."""
    environment, source = copied(tmp_path)
    environment |= {
        "NUMBA_CACHE_LOCATOR_CLASSES": locator,
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
    }
    code = """
import json, sys
import numpy as np
from fastrnn.kernels.parallel import WORDS, serve
serve(np.zeros(WORDS, np.int64), 1)
print(json.dumps([sum(serve.stats.cache_hits.values()), str(serve._cache.cache_path)]))
"""
    seen = []
    for text in ("", "", "# another"):
        source.write_text(source.read_text() + text)
        hits, folder = json.loads(python(code, cache=tmp_path / "cache", **environment))
        assert not Path(folder).name.startswith("kernels-")
        assert Path(folder).is_relative_to(tmp_path)
        seen.append(hits)
    assert seen == [0, 1, 0]


@pytest.mark.parametrize("names", ["Nobody", "no.such.Locator", "os.path", ","])
def test_a_locator_that_is_none_is_refused(names):
    done = python(KERNEL, check=False, NUMBA_CACHE_LOCATOR_CLASSES=names)
    assert f"ValueError: NUMBA_CACHE_LOCATOR_CLASSES is {names!r}: " in done.stderr


def test_where_no_locator_has_a_folder_it_works_without(tmp_path):
    assert add(tmp_path, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator") == FRESH
    assert not kernels(tmp_path)


FOLDER = "from fastrnn.kernels.cache import cache_folder; print(cache_folder())"


@pytest.mark.skipif(sys.platform == "win32", reason="XDG's variables are not for Windows")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/x/fastrnn"),
        ({"XDG_CACHE_HOME": ""}, "{tmp}/home/.cache/fastrnn"),  # as if it were not set
        ({"XDG_CACHE_HOME": "relative"}, "{tmp}/home/.cache/fastrnn"),  # to be ignored
        ({"XDG_CACHE_HOME": "./x"}, "{tmp}/home/.cache/fastrnn"),
        ({"NUMBA_CACHE_DIR": "{tmp}/n", "XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/n"),
        ({"NUMBA_CACHE_DIR": "n"}, "{cwd}/n"),  # of where it was when it was read
        ({"HOME": "relative"}, None),
    ],
    ids=str,
)
def test_the_folder(variables, expected, tmp_path, monkeypatch):
    places = {"tmp": str(tmp_path), "cwd": os.getcwd()}
    given = {"NUMBA_CACHE_DIR": "", "HOME": "{tmp}/home", "XDG_CACHE_HOME": "", **variables}
    found = python(FOLDER, **{name: value.format(**places) for name, value in given.items()})
    wanted = "None" if expected is None else expected.format(**places)
    assert found == (f"{wanted}/kernels-{module.source_digest()}" if expected else "None")


def test_without_a_home_it_works(tmp_path):
    settings = {"NUMBA_CACHE_DIR": "", "HOME": "relative", "XDG_CACHE_HOME": ""}
    assert json.loads(python(KERNEL, **settings)) == FRESH


def test_a_package_without_sources_goes_by_what_it_is_packed_in(tmp_path, monkeypatch):
    packed = tmp_path / "packed.zip"
    packed.write_bytes(b"1")
    digests = set()
    monkeypatch.setattr(module, "_PACKAGE", packed / "fastrnn")
    try:
        for content in (b"1", b"22"):
            packed.write_bytes(content)
            module.source_digest.cache_clear()
            digests.add(module.source_digest())
    finally:
        module.source_digest.cache_clear()
    assert len(digests) == 2
