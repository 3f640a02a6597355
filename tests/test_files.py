"""Files: the whole old one or the whole new one, whatever happens; nothing that exists is lost."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from fastrnn import files
from tests.support.commands import ENVIRONMENT
from tests.support.stopped import every_instant

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "m").write_bytes(b"old")
    return tmp_path / "m"


def left(path):
    """What is in the folder, by name."""
    return {other.name: other.read_bytes() for other in path.parent.iterdir()}


@pytest.mark.parametrize("name", ["m", "new", "a\nb", "é😀", " ", "-", "n" * 255, "é" * 120])
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_written(name, kind, path):
    for data in (b"first", b"", b"second" * 100_000):
        assert files.write(kind(path.with_name(name)), data) is None
        assert left(path) == {"m": b"old", name: data}


def test_four_threads(path):
    wholes, failed = [bytes([k]) * 100_000 for k in range(4)], []

    def write(data):
        try:
            for _ in range(60):
                files.write(path, data)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in wholes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(left(path)) == ["m"]
    assert path.read_bytes() in wholes


KILLED = """
import sys
from fastrnn import files
print(flush=True)
for k in range(1_000_000):
    files.write(sys.argv[1], bytes([k % 256]) * 1_000_000)
"""


def test_killed_processes(path):
    for k in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        process.stdout.readline()
        time.sleep(0.05 + 0.02 * k)
        process.kill()
        process.communicate()
        data = path.read_bytes()
        assert data == b"old" or data == data[:1] * 1_000_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file not closed
@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_ctrl_c_at_any_instant(keep, unnamed, path, monkeypatch):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        monkeypatch.setattr(files.sys, "platform", "elsewhere")
    seen = []
    for stopped in every_instant(files, lambda: files.write(path, b"new", keep=keep)):
        interrupted, found = stopped(), left(path)
        kept = {name: data for name, data in found.items() if name.startswith("m.previous")}
        assert {*found} - {*kept} == {"m"}
        assert found["m"] == b"old" or (found["m"] == b"new" and (kept != {}) == keep)
        assert set(kept.values()) <= {b"old"}
        seen.append(found["m"])
        assert interrupted or found["m"] == b"new"
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(b"old")
    assert seen.count(b"old") > 20


@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.link", "shutil.copystat"])
@pytest.mark.parametrize("keep", [True, False])
def test_no_space(call, keep, path, monkeypatch):
    def no_space(*args, **options):
        raise OSError(28, "No space left on device", *args[:1])

    with monkeypatch.context() as patched:
        patched.setattr(call, no_space)
        if call == "os.link":  # there are other ways
            files.write(path, b"new", keep=keep)
            assert left(path) == {"m": b"new"} | ({"m.previous": b"old"} if keep else {})
            return
        with pytest.raises(OSError, match=r"No space left on device: '.*m'$"):
            files.write(path, b"new", keep=keep)
    assert left(path) == {"m": b"old"}


def test_earlier_files_are_kept(path):
    kept = [files.write(path, b"%d" % k, keep=True) for k in range(4)]
    assert kept == [
        str(path) + ending for ending in (".previous", *map(".previous.{}".format, (2, 3, 4)))
    ]
    expected = {"m": b"3", "m.previous": b"old", "m.previous.2": b"0", "m.previous.3": b"1"}
    assert left(path) == expected | {"m.previous.4": b"2"}
    assert files.write(path.with_name("new"), b"x", keep=True) is None


@POSIX
class TestModesAndLinks:
    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o755, 0o660])
    def test_the_mode_is_kept(self, mode, path):
        path.chmod(mode)
        files.write(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
    def test_a_new_file_has_the_usual_mode(self, mask, tmp_path):
        before = os.umask(mask)
        try:
            files.write(tmp_path / "m", b"new")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o666 & ~mask

    def test_a_link_stays_a_link(self, path, tmp_path):
        (tmp_path / "folder").mkdir()
        for name, target in (("one", "m"), ("two", "one"), ("three", "folder/new")):
            link = tmp_path / name
            link.symlink_to(target)
            files.check(link)
            files.write(link, name.encode())
            assert os.readlink(link) == target
        assert path.read_bytes() == b"two"
        assert (tmp_path / "folder" / "new").read_bytes() == b"three"

    def test_links_in_a_circle(self, tmp_path):
        (tmp_path / "m").symlink_to("m")
        for call in (
            lambda: files.write(tmp_path / "m", b"new"),
            lambda: files.check(tmp_path / "m"),
        ):
            with pytest.raises(OSError, match=r"m'$"):
                call()
        assert os.readlink(tmp_path / "m") == "m"

    def test_another_name_keeps_the_old_file(self, path):
        os.link(path, path.with_name("other"))
        with pytest.warns(UserWarning, match=r"m has 2 names .* keep what was"):
            files.write(path, b"new")
        assert left(path) == {"m": b"new", "other": b"old"}
        files.write(path, b"newer")

    @pytest.mark.parametrize("protected", ["m", "."])
    def test_protected(self, protected):
        """Root may write anything, so it becomes nobody for that moment."""
        user = os.geteuid()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "m")
            path.write_bytes(b"old")
            path.chmod(0o666)
            path.parent.chmod(0o777)
            (path.parent / protected).chmod(0o555)
            try:
                if user == 0:
                    os.seteuid(65534)
                for call in (lambda: files.write(path, b"new"), lambda: files.check(path)):
                    with pytest.raises(PermissionError, match=r"m'$"):
                        call()
                assert path.read_bytes() == b"old"
            finally:
                os.seteuid(user)
                path.parent.chmod(0o777)
            assert left(path) == {"m": b"old"}

    def test_protected_says_the_system(self, path, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode, **options: False)
        for call in (lambda: files.write(path, b"new"), lambda: files.check(path)):
            with pytest.raises(PermissionError, match=r"m'$"):
                call()
        assert left(path) == {"m": b"old"}

    def test_a_pipe_is_written_to(self, tmp_path):
        os.mkfifo(tmp_path / "p")
        read = []
        thread = threading.Thread(target=lambda: read.append((tmp_path / "p").read_bytes()))
        thread.start()
        files.check(tmp_path / "p")
        files.write(tmp_path / "p", b"through")
        thread.join()
        assert read == [b"through"]
        assert not files.is_own(tmp_path / "p")
        files.write("/dev/null", b"gone")

    def test_stdout_is_not_replaced(self, tmp_path):
        code = "print('before', flush=True); from fastrnn import files\n"
        code += "files.write('/dev/stdout', b'inside\\n'); print('after')"
        with (tmp_path / "out").open("wb") as out:
            subprocess.run([sys.executable, "-c", code], stdout=out, env=ENVIRONMENT, check=True)
        assert (tmp_path / "out").read_bytes().split() == [b"before", b"inside", b"after"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", IsADirectoryError),
        ("none/m", FileNotFoundError),
        ("m/m", (NotADirectoryError, FileNotFoundError)),
        ("n" * 256, OSError),
        ("m\0", ValueError),
    ],
)
def test_where_nothing_can_be_written(name, kind, path):
    where = os.path.join(path.parent, name)
    for call in (lambda: files.check(where), lambda: files.write(where, b"new")):
        with pytest.raises(kind) as told:
            call()
        if isinstance(told.value, OSError):
            assert told.value.filename == where
            assert "tmp'" not in str(told.value)
    assert left(path) == {"m": b"old"}


def test_check_changes_nothing(path):
    before = path.stat()
    for name in ("m", "new"):
        files.check(path.with_name(name))
    assert left(path) == {"m": b"old"}
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    link = path.with_name("link")
    link.symlink_to("nothing")
    files.check(link)
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "expected"), [("a/b.st", "a/b.st"), ("a\nb", "'a\\nb'"), ("", "''"), ("é", "é")]
)
def test_shown_on_one_line(name, expected):
    assert files.shown(name) == expected


@POSIX
def test_a_limit_on_the_size(path):
    """As a full disk: the old file stays, and nothing else."""
    code = "import resource, sys; from fastrnn import files\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    code += "files.write(sys.argv[1], b'x' * 5000)"
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert "File too large: " in done.stderr.splitlines()[-1]
    assert left(path) == {"m": b"old"}
