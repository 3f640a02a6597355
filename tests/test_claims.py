"""Claims: one at a time, in threads and processes; gone with their process; nothing left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastrnn import claims
from fastrnn.claims import Claim
from tests.support.commands import ENVIRONMENT
from tests.support.stopped import every_instant

HOLDER = """
import sys
from fastrnn.claims import Claim
with Claim(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout.readline() == b"held\n"
    return process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_at_a_time(tmp_path):
    for path in (tmp_path / "m", str(tmp_path / "m"), tmp_path / ("n" * 255)):
        for _ in range(2):
            with Claim(path), Claim(tmp_path / "other"):
                with pytest.raises(
                    BlockingIOError, match="is being written by another run of this"
                ):
                    Claim(path).__enter__()
                assert len(names(tmp_path)) == 2
            assert names(tmp_path) == []


@pytest.mark.parametrize("way", ["m", "./m", "folder/../m", "link", "far"])
def test_however_it_is_called(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("m")
    (tmp_path / "far").symlink_to(tmp_path / "link")
    with Claim(tmp_path / "m"):
        with pytest.raises(BlockingIOError):
            Claim(way).__enter__()


def test_another_process(tmp_path):
    process = holder(tmp_path / "m")
    with pytest.raises(
        BlockingIOError, match=rf"m is being written by process {process.pid}; wait"
    ):
        Claim(tmp_path / "m").__enter__()
    process.communicate(b"")
    assert names(tmp_path) == []
    with Claim(tmp_path / "m"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="POSIX's signals")
def test_a_killed_process_blocks_nobody(tmp_path):
    process = holder(tmp_path / "m")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Claim(tmp_path / "m"):
        pass
    assert names(tmp_path) == []


def test_many_threads(tmp_path):
    inside, most, done, lock = 0, 0, 0, threading.Lock()

    def work(_):
        nonlocal inside, most, done
        for _ in range(50):
            try:
                with Claim(tmp_path / "m"):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                        done += 1
                    with lock:
                        inside -= 1
            except BlockingIOError:
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == 1
    assert done > 8
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="forks are POSIX's")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_no_say(tmp_path):
    with Claim(tmp_path / "m") as claim:
        child = multiprocessing.get_context("fork").Process(target=claim.release)
        child.start()
        child.join()
        with pytest.raises(BlockingIOError):
            Claim(tmp_path / "m").__enter__()
    with Claim(tmp_path / "m"):
        pass


@pytest.mark.parametrize("name", ["folder", "/dev/null"])
def test_what_is_no_file(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=f"{name} is not a file, so no model can be saved there"):
        Claim(tmp_path / name).__enter__()
    with pytest.raises(FileNotFoundError, match=r"none.m'$"):
        Claim(tmp_path / "none" / "m").__enter__()


def test_released_twice(tmp_path):
    with Claim(tmp_path / "m") as claim:
        claim.release()
        with Claim(tmp_path / "m"):
            claim.release()
            with pytest.raises(BlockingIOError):
                Claim(tmp_path / "m").__enter__()


def test_where_there_are_no_locks(tmp_path, monkeypatch):
    """A file system may have none; then runs are not told of each other, but run."""
    fcntl = pytest.importorskip("fcntl")

    def none(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Claim(tmp_path / "m"):
        pass
    assert names(tmp_path) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_it_is_taken(tmp_path):
    for stopped in every_instant(claims, lambda: Claim(tmp_path / "m").__enter__().release()):
        stopped()
        gc.collect()
        with Claim(tmp_path / "m"):
            pass
        assert names(tmp_path) == []
