"""What torch/test_processes.py has other processes do, and the model that all of them train.

Programs, not tests: each is `begin()`, then asserts of what only its own processes can see. One
that hangs ends itself, for whoever started it may be gone.
"""

import copy
import faulthandler
import os
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

import torch
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

import fastrnn.torch
from fastrnn.kernels import threads
from fastrnn.torch import autograd
from tests.support.compare import assert_close

PATIENCE = 100  # seconds that a process may take
TOKENS = torch.randint(11, (16, 13), generator=torch.Generator().manual_seed(0))
RUNS = []  # an entry for each call that went to the kernels, not to torch, since begin()
_run = autograd.run


class Model(torch.nn.Module):
    """What comes next? Large enough for two threads to share a call on half of TOKENS."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 32)
        self.recurrent = torch.nn.LSTM(32, 64, num_layers=2, batch_first=True)
        self.head = torch.nn.Linear(64, 11)
        self.double()

    def forward(self, tokens):
        return self.head(self.recurrent(self.embedding(tokens))[0])


def pair(seed=0):
    """Return torch's own model and an equal one of ours."""
    torch.manual_seed(seed)
    model = Model()
    return model, fastrnn.torch.accelerate(copy.deepcopy(model))


def train(model, tokens=TOKENS, steps=1):
    for _ in range(steps):
        model.zero_grad()
        logits = model(tokens[:, :-1]).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        torch.optim.SGD(model.parameters(), lr=1.0).step()
    return model


@torch.no_grad()
def compute(model, tokens=TOKENS):
    return model(tokens)


def assert_equal(got, expected):
    """Assert that tensors, or the weights of models and what they compute, differ by rounding."""
    pairs = {"tensor": (got, expected)}
    if isinstance(got, torch.nn.Module):
        weights = expected.state_dict()
        pairs = {name: (weight, weights[name]) for name, weight in got.state_dict().items()}
        pairs["output"] = compute(got), compute(expected)
    for name, (one, other) in pairs.items():
        assert_close(one.numpy(), other.numpy(), atol=0, rtol=1e-12, name=name)


def counted(*args):
    RUNS.append(1)
    return _run(*args)


def helpers():
    """Return how many threads of this very process have helped with kernels."""
    return sum(worker.is_alive() for worker in threads._pool._workers)


def begin():
    """What a process does first: be as strict as pytest, do not hang, count."""
    if hasattr(signal, "alarm"):  # faulthandler's own clock does not survive a fork
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(PATIENCE)
    warnings.simplefilter("error")
    # Python 3.12 warns of any fork beside threads; that this one works is what is tested.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded")
    RUNS.clear()
    autograd.run = counted


def begin_child(*_):
    """The same in a fork: where torch had two threads, only one of its own does not hang."""
    begin()
    torch.set_num_threads(1)
    fastrnn.set_num_threads(2)


def distributed(folder):
    """One rank of torchrun's; its first weights are its own, DDP gives it those of rank 0."""
    begin()
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group(
        "gloo",
        init_method=(folder / "store").as_uri(),
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    for view in (False, True):
        _, model = pair(seed=rank)
        first = compute(model)
        wrapped = DistributedDataParallel(model, gradient_as_bucket_view=view)
        assert torch.equal(compute(model), first) == (rank == 0)
        train(wrapped, TOKENS[rank::2], steps=20)
        torch.save(model.state_dict(), folder / f"{rank}-{view}.pt")
    assert len(RUNS) == 2 * 22
    torch.distributed.destroy_process_group()


def data_loader():
    """The parent trains on two threads while forks of it compute, on two threads each."""
    begin()
    torch.set_num_threads(2)
    plain, model = map(train, pair())
    assert helpers() == 1
    forked = copy.deepcopy(plain)

    def collate(rows):
        each = torch.cat([compute(model, TOKENS[row : row + 1]) for row in rows])
        return rows, each, compute(model, TOKENS[rows]), len(RUNS), helpers()

    loader = torch.utils.data.DataLoader(
        8 * [*range(16)],
        batch_size=8,
        num_workers=2,
        collate_fn=collate,
        timeout=60,
        worker_init_fn=begin_child,
        multiprocessing_context="fork",
    )
    for number, (rows, each, together, *counts) in enumerate(loader):
        train(model)
        assert_equal(each, compute(forked, TOKENS[rows]))
        assert_equal(together, compute(forked, TOKENS[rows]))
        assert counts == [9 * (1 + number // 2), 1]  # the workers take turns
    assert len(RUNS) == 1 + 16
    assert_equal(model, train(plain, steps=16))


def hogwild(method):
    """Two processes train the parent's parameters: first one after the other, then at once."""
    begin()
    plain, model = pair()
    assert_equal(model, plain)
    places = [p.data_ptr() for p in model.parameters()]
    model.share_memory()
    assert all(p.data_ptr() not in places for p in model.parameters())
    assert_equal(model, plain)
    context = multiprocessing.get_context(method)
    turn = context.Barrier(3)
    children = [
        context.Process(target=_hogwild_child, args=(model, turn, rank), daemon=True)
        for rank in range(2)
    ]
    for child in children:
        child.start()
    for number in range(10):
        turn.wait(60)
        train(plain, TOKENS[number % 2 :: 2])
    assert_equal(model, plain)
    turn.wait(60)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    fresh = Model()
    fresh.load_state_dict(model.state_dict())
    assert_equal(model, fresh)
    assert (compute(model) - compute(plain)).abs().max() > 0.1
    assert len(RUNS) == 5


def _hogwild_child(model, turn, rank):
    begin_child()
    for number in range(10):
        if number % 2 == rank:
            train(model, TOKENS[rank::2])
        turn.wait(60)
    turn.wait(60)  # the parent looks
    train(model, TOKENS[rank::2], steps=10)
    assert (len(RUNS), helpers()) == (15, 1)


def process_pool():
    """To a worker, which trains it, and back: torch's own model and ours."""
    begin()
    expected, models = train(pair()[0], steps=3), pair()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin) as executor:
        for model, runs in zip(models, (0, 3), strict=True):
            compute(model)
            returned, in_worker = executor.submit(_pool_worker, model).result(60)
            assert in_worker == runs
            assert type(returned.recurrent) is type(model.recurrent)
            # Pickled for a process, a tensor goes to shared memory: what was sent was trained too.
            for one in (returned, model):
                assert_equal(one, expected)
    assert len(RUNS) == 3


def _pool_worker(model):
    return train(model, steps=3), len(RUNS)


def moved():
    """What goes to shared memory between a call and its gradient frees the memory it was in."""
    begin()
    for what in range(3):
        grads = []
        for model in pair():
            torch.manual_seed(0)
            x, state = torch.randn(16, 9, 32).double(), torch.randn(2, 2, 16, 64).double()
            leaves = [x.requires_grad_(), state.requires_grad_(), *model.recurrent.parameters()]
            output, _ = model.recurrent(x, (state[0], state[1]))
            for tensor in (model.parameters(), [x], [state])[what]:
                tensor.detach().share_memory_()
            grads.append(torch.autograd.grad(output.square().sum(), leaves))
        for got, expected in zip(*reversed(grads), strict=True):
            assert_equal(got, expected)
    assert len(RUNS) == 3


if __name__ == "__main__":
    distributed(Path(sys.argv[1]))
