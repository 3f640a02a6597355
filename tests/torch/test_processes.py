"""fastrnn.torch among processes, as torch's own modules are: DDP, loaders, Hogwild, pools, files.

What runs in the processes is in torch_programs.py. No speed, no second machine, no other backend
than gloo: what is at stake is whose memory the kernels read, and that nothing hangs.
"""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from tests.support.processes import PACKAGE, python

torch = pytest.importorskip("torch")

import fastrnn.torch  # noqa: E402
from fastrnn.torch import autograd  # noqa: E402
from tests.support import torch_programs  # noqa: E402
from tests.support.torch_programs import RUNS, Model, assert_equal, compute, pair, train  # noqa: E402

METHODS = multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
LOOPBACK = [name for _, name in socket.if_nameindex() if name.startswith("lo")]


def program(call):
    python(f"import torch_programs; torch_programs.{call}", timeout=150, PYTHONPATH=path())


def path():
    return f"{PACKAGE.parent}{os.pathsep}{Path(torch_programs.__file__).parent}"


@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo",
)
@pytest.mark.skipif(not LOOPBACK, reason="no loopback interface by a name that gloo takes")
def test_two_ranks_train_as_one_process(tmp_path):
    """Ranks meet at files: torchrun's own store would listen on all interfaces."""
    python(
        "from torch.distributed.run import main; main()",
        "--nproc-per-node=2",
        "--local-addr=127.0.0.1",
        f"--log-dir={tmp_path / 'logs'}",
        "--rdzv-backend=c10d",
        "--rdzv-conf=store_type=file",
        f"--rdzv-endpoint={tmp_path / 'run'}",
        torch_programs.__file__,
        tmp_path,
        timeout=150,
        PYTHONPATH=path(),
        GLOO_SOCKET_IFNAME=LOOPBACK[0],
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
        OMP_NUM_THREADS="1",
    )
    before, _ = pair()
    plain, model = (train(one, steps=20) for one in pair())
    assert (compute(plain) - compute(before)).abs().max() > 0.5
    for view in (False, True):
        first, second = (torch.load(tmp_path / f"{rank}-{view}.pt") for rank in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        before.load_state_dict(first)
        assert_equal(before, model)
        assert_equal(before, plain)


@needs_fork
def test_workers_of_a_data_loader_compute_while_the_parent_trains():
    program("data_loader()")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_train_shared_parameters(method):
    if method not in METHODS:
        pytest.skip(f"no {method} here")
    program(f"hogwild({method!r})")


def test_a_pool_takes_a_model_and_gives_it_back():
    program("process_pool()")


def test_memory_that_moves_before_the_gradient():
    program("moved()")
    module = fastrnn.torch.GRU(3, 2, num_layers=2, dropout=0.5)
    gradients = []
    for moves in (False, True):
        torch.manual_seed(0)
        output, _ = module(torch.ones(4, 2, 3))
        if moves:
            module.share_memory()
        gradients.append(torch.autograd.grad(output.sum(), list(module.parameters())))
    assert all(map(torch.equal, *gradients))


def test_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(autograd, "run", torch_programs.counted)
    RUNS.clear()
    plain, model = pair()
    train(model)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    for mmap in (False, True):
        weights = torch.load(tmp_path / "weights.pt", weights_only=True, mmap=mmap)
        plain.load_state_dict(weights, assign=mmap)
        assert_equal(plain, model)
        other = fastrnn.torch.accelerate(Model())
        compute(other)
        other.load_state_dict(plain.state_dict(), assign=mmap)
        assert_equal(other, plain)
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert type(loaded.recurrent) is torch.nn.LSTM  # files are torch's, processes get ours
    fastrnn.torch.accelerate(loaded)
    assert torch.equal(compute(loaded), compute(model))
    assert len(RUNS) == 9
    assert_equal(train(loaded), train(model))
