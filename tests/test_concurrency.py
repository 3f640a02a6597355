"""Layers among threads and processes: shared, forked, interrupted, on few cores, beside torch.

What could hang or be killed runs in a process of its own. No time is measured but that until an
interrupt is heard.
"""

import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from fastrnn.cells import lstm
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell, members, run
from tests.support.processes import python

BUSY = {"T": 20, "B": 17, "I": 40, "H": 70, "num_layers": 2}


@every_cell
def test_a_layer_is_shared_between_threads(cell, threads):
    threads(3)
    drawn = [Configuration(cell, **BUSY, seed=seed) for seed in range(4)]
    drawn += [replace(c, one_hot=True, B=3, lengths=(20, 0, 7)) for c in drawn]
    layer = drawn[0].layer(np.float64)

    def both(configuration):
        values, lengths = configuration.values(np.float64), configuration.array_lengths()
        output, state = layer(values["x"], values["state"], lengths)
        arrays = run(layer, values, lengths)
        for i, s in enumerate(members(state)):
            assert_close(s, arrays[f"state {i}"], atol=0)
        assert_close(output, arrays["output"], atol=0)
        return arrays

    expected = [both(configuration) for configuration in drawn]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(both, drawn), expected, strict=True):
                for name, array in want.items():
                    if array is not None:
                        assert_close(got[name], array, atol=0, name=name)


def _in_child(queue):
    layer = Configuration(lstm.CELL, **BUSY).layer(np.float64)
    arrays = run(layer, Configuration(lstm.CELL, **BUSY).values(np.float64))
    queue.put({name: float(array.sum()) for name, array in arrays.items()})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_a_child_process(method, threads):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    threads(4)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    _in_child(queue)  # the parent has a pool of threads, which a fork does not copy
    expected = queue.get()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; that this one works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=_in_child, args=(queue,), daemon=True)
        child.start()
    child.join(120)
    assert child.exitcode == 0
    assert queue.get() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_other_threads_compute_does_not_hang(threads):
    threads(4)
    context = multiprocessing.get_context("fork")
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stop = []

        def work():
            layer = Configuration(lstm.CELL, **BUSY).layer(np.float64)
            x = Configuration(lstm.CELL, **BUSY).values(np.float64)["x"]
            while not stop:
                layer(x)

        futures = [pool.submit(work) for _ in range(2)]
        for _ in range(3):
            queue = context.SimpleQueue()
            child = context.Process(target=_in_child, args=(queue,), daemon=True)
            child.start()
            child.join(60)
            assert child.exitcode == 0
        stop.append(True)
        for future in futures:
            future.result()


# A layer whose threads run in lockstep, its results by one thread, and a way to compare them again.
LAYER = """
import os, signal, sys, threading, time
import numpy as np
import fastrnn
fastrnn.set_num_threads(1)
layer = fastrnn.LSTM(64, 256, seed=0)
x = np.random.default_rng(0).normal(size=(15, 3, 64)).astype(np.float32)

def compute():
    (output, _), pullback = layer.vjp(x)
    grads = pullback(output)
    return [output, layer(x)[0], grads.input, *grads.params.values()]

expected = compute()
fastrnn.set_num_threads(int(sys.argv[1]))

def same():
    return all(np.array_equal(a, b) for a, b in zip(compute(), expected))

"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
@pytest.mark.parametrize("cores", [1, 2])
def test_more_threads_than_cores(cores):
    code = (
        LAYER
        + """
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:int(sys.argv[2])]))
for _ in range(30):
    assert same()
two = [threading.Thread(target=lambda: [same() or os._exit(1) for _ in range(20)]) for _ in "12"]
for caller in two:
    caller.start()
for caller in two:
    caller.join()
"""
    )
    python(code, 4, cores, timeout=120)


def test_where_no_thread_can_be_made():
    """Nobody comes: the caller computes alone."""
    code = (
        LAYER
        + """
from fastrnn.kernels import threads
threads._pool._work = lambda words, calls: None  # they end at once
for _ in range(5):
    assert same()
assert len(threads._pool._workers) == 3
"""
    )
    python(code, 4, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_os_fork_and_its_parent_go_on():
    code = (
        LAYER
        + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
assert same()
for _ in range(5):
    child = os.fork()
    if not child:
        os._exit(0 if same() and same() else 1)
    assert same()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )
    python(code, 3, timeout=120)


def test_in_workers_of_a_data_loader():
    pytest.importorskip("torch")
    code = (
        LAYER
        + """
import warnings
warnings.simplefilter("ignore")
import torch

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([index, same()])

if __name__ == "__main__":
    assert same()
    seen = 0
    for batch in torch.utils.data.DataLoader(Data(), batch_size=3, num_workers=2):
        assert batch[:, 1].all()
        assert same()  # the parent's own threads work meanwhile
        seen += len(batch)
    assert seen == 12
"""
    )
    python(code, 2, timeout=120)


def test_beside_torchs_threads():
    pytest.importorskip("torch")
    code = (
        LAYER
        + """
import torch
torch.set_num_threads(2)
a, stop = torch.ones(500, 500), []

def multiply():
    while not stop:
        assert float((a @ a)[0, 0]) == 500

other = threading.Thread(target=multiply)
other.start()
try:
    for _ in range(30):
        assert same()
        assert float((a @ a)[0, 0]) == 500
finally:
    stop.append(True)
    other.join()
"""
    )
    python(code, 2, timeout=120)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_is_heard_within_a_second_and_the_layer_still_works(threads):
    """In a long forward pass and in a long backward pass, and again."""
    code = (
        LAYER
        + """
many, single = np.zeros((200_000, 8, 1), np.float32), np.zeros((20_000, 1, 1), np.float32)
other = fastrnn.LSTM(1, 256, seed=0)
(output, _), pullback = fastrnn.LSTM(1, 512, seed=0).vjp(single)
sent = []

def interrupt():
    time.sleep(0.4)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

for name, call in (("forward", lambda: other(many)), ("backward", lambda: pullback(output))) * 2:
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        call()
    except KeyboardInterrupt:
        late = time.perf_counter() - sent[-1]
        assert late < 2, (name, late)
    else:
        raise SystemExit(f"{name} was not interrupted")
    thread.join()
    assert same()
"""
    )
    python(code, threads, timeout=120)
