"""The threads of torch's OpenMP help with kernels while they spin, and nothing else changes by it.

How a team is met and left is tests/kernels/test_team.py's; here it is torch's own. Each program
runs in a process of its own, for what a process loads and forks stays with it.
"""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from tests.support.processes import PACKAGE, python

torch = pytest.importorskip("torch")

from fastrnn.kernels import team  # noqa: E402

pytestmark = pytest.mark.skipif(team.find() is None, reason="this torch has no OpenMP of GCC's")
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
)

# What all programs have: a model, and who helped with the last call.
COMMON = """
import os, signal, sys, threading, time, warnings
import torch, fastrnn, fastrnn.torch
from fastrnn.kernels import parallel, threads
warnings.simplefilter("ignore")
torch.manual_seed(0)
torch.set_num_threads(2)
linear, layer = torch.nn.Linear(256, 256), fastrnn.torch.LSTM(256, 256)
x = torch.randn(20, 16, 256)

def compute():
    layer.zero_grad()
    output, _ = layer(linear(x))
    output.square().sum().backward()
    return [output.detach(), *(p.grad.clone() for p in layer.parameters())]

def equal(a, b):
    return all(map(torch.equal, a, b))

def by_team():
    words = threads._pool.words
    return words[parallel.TEAM] == threading.get_native_id() and words[parallel.MET] == 1

def team_comes():
    compute()
    compute()
    return by_team()

team = threads._pool.team
threads.share_with(None)
own = compute()
threads.share_with(team)
"""


def program(code, **variables):
    return python(COMMON + code, timeout=150, **variables)


def test_torchs_own_threads_help_and_no_others_are_made():
    program(
        "assert team_comes()\n"
        "mate = int(threads._pool.words[parallel.MATES])\n"
        "clock = (~mate << 3) | 6\n"  # torch's operations use the same thread
        "before = time.clock_gettime_ns(clock)\n"
        "for _ in range(2000): linear(x)\n"
        "assert time.clock_gettime_ns(clock) - before > 2e6\n"
        "tasks, workers = os.listdir('/proc/self/task'), list(threads._pool._workers)\n"
        "for _ in range(20):\n"
        "    compute()\n"
        "    time.sleep(0.02)\n"  # they sleep, and are woken
        "    compute()\n"
        "    assert by_team() and int(threads._pool.words[parallel.MATES]) == mate\n"
        "assert os.listdir('/proc/self/task') == tasks and threads._pool._workers == workers\n"
        "time.sleep(0.1)\n"
        "assert os.sched_getaffinity(mate) == os.sched_getaffinity(0)\n"
    )


def test_the_same_bits_whoever_helps():
    program(
        "assert team_comes()\n"
        "assert all(equal(compute(), own) for _ in range(20))\n"
        "fastrnn.set_num_threads(1)\n"
        "assert equal(compute(), own)\n"
    )


def test_the_number_of_threads_may_change_at_any_time():
    """Tasks of one process count them, so that none are left over."""
    program(
        "assert team_comes()\n"
        "for count in (1, 3, 2, 5, 1, 2, 4, 2):\n"
        "    torch.set_num_threads(count)\n"
        "    for _ in range(8):\n"
        "        assert equal(compute(), own), count\n"
        "torch.set_num_threads(2)\n"
        "assert team_comes()\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "for _ in range(50):\n"
        "    compute()\n"
        "assert len(os.listdir('/proc/self/task')) == before\n"
        "fastrnn.set_num_threads(3)\n"  # not torch's number: our own threads
        "assert equal(compute(), own)\n"
    )


def test_several_threads_at_once():
    program(
        "assert team_comes()\n"
        "failed, x0 = [], x\n"
        "layers = [fastrnn.torch.LSTM(256, 256) for _ in range(4)]\n"
        "linears = [torch.nn.Linear(256, 256) for _ in range(4)]\n"
        "for one in layers: one.load_state_dict(layer.state_dict())\n"
        "for one in linears: one.load_state_dict(linear.state_dict())\n"
        "def work(layer, linear):\n"
        "    for _ in range(15):\n"
        "        layer.zero_grad()\n"
        "        output, _ = layer(linear(x0))\n"
        "        output.square().sum().backward()\n"
        "        got = [output.detach(), *(p.grad for p in layer.parameters())]\n"
        "        if not equal(got, own): failed.append(1)\n"
        "workers = [threading.Thread(target=work, args=pair) for pair in zip(layers, linears)]\n"
        "for worker in workers: worker.start()\n"
        "for worker in workers: worker.join(100)\n"
        "assert not failed and not any(worker.is_alive() for worker in workers)\n"
        "assert equal(compute(), own)\n"
    )


@needs_fork
def test_a_forked_child_computes_alone():
    """The child has none of torch's threads, and OpenMP does not know it."""
    program(
        "assert team_comes()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    torch.set_num_threads(1)\n"  # as torch's own loaders do: its operations would hang
        "    fastrnn.set_num_threads(2)\n"
        "    fine = threads._pool.team is None and all(equal(compute(), own) for _ in range(20))\n"
        "    os._exit(not fine)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert team_comes() and equal(compute(), own)\n"
    )


@needs_fork
def test_a_child_forked_before_the_package_was_there():
    python(
        "import os, torch\n"
        "torch.set_num_threads(2)\n"
        "torch.nn.Linear(256, 256)(torch.randn(256, 256))\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    torch.set_num_threads(1)\n"
        "    import fastrnn.torch\n"
        "    from fastrnn.kernels import threads\n"
        "    fastrnn.set_num_threads(2)\n"
        "    layer, x = fastrnn.torch.LSTM(256, 256), torch.randn(20, 16, 256)\n"
        "    for _ in range(20):\n"
        "        layer(x)[0].sum().backward()\n"
        "    os._exit(threads._pool.team is not None)\n"
        "assert os.waitpid(child, 0)[1] == 0\n",
        timeout=150,
    )


@needs_fork
def test_workers_of_a_data_loader():
    program(
        "assert team_comes()\n"
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i):\n"
        "        with torch.no_grad():\n"
        "            return layer(linear(x))[0]\n"
        "loader = torch.utils.data.DataLoader(Data(), num_workers=2, batch_size=None,\n"
        "                                     multiprocessing_context='fork')\n"
        "for item in loader:\n"
        "    assert torch.equal(item, own[0])\n"
        "    assert equal(compute(), own)\n"
    )


def test_ctrl_c_ends_a_call_and_the_next_one_is_right():
    code = COMMON + (
        "assert team_comes()\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    while True: compute()\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
        "assert equal(compute(), own) and team_comes()\n"
        "print('fine')\n"
    )
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        try:
            rest, _ = process.communicate(timeout=100)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, "fine\n")


def test_another_openmp_that_comes_first_is_left_alone(tmp_path):
    """A preloaded one by Intel or LLVM is torch's then; it has GOMP_parallel too."""
    source, library = tmp_path / "other.c", tmp_path / "libother.so"
    source.write_text("void __kmpc_fork_call(void) {}\n")
    compiler = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, source], capture_output=True, check=False
    )
    if compiler.returncode:
        pytest.skip("no C compiler here")
    program(
        "assert threads._pool.team is None and equal(compute(), own)\n", LD_PRELOAD=str(library)
    )
