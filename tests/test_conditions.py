"""Layers where users put them: among torch's threads, on few cores, interrupted, for a long time.

What could hang or be killed runs in a process of its own. Many Python threads, fork and spawn are
in test_layers_shared.py, other CPUs in test_instruction_sets.py; no time is measured but that
until an interrupt is heard.
"""

import gc
import os
import sys
import tracemalloc

import numpy as np
import pytest

import fastrnn
from fastrnn import reference
from fastrnn.engine.batch import equal_batch
from fastrnn.engine.plan import plan_forward
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell, members
from tests.support.processes import python

# A layer that marches, its results by one thread, and a way to see that they are still the same.
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
    """Nobody comes: the caller marches alone."""
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
@pytest.mark.parametrize("what", ["forward", "backward"])
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_is_heard_within_a_second_and_the_layer_still_works(what, threads):
    code = (
        LAYER
        + """
if sys.argv[2] == "forward":
    long = np.zeros((200_000, 8, 1), np.float32)
    other = fastrnn.LSTM(1, 256, seed=0)
    call = lambda: other(long)
else:
    long = np.zeros((20_000, 1, 1), np.float32)
    other = fastrnn.LSTM(1, 512, seed=0)
    (output, _), pullback = other.vjp(long)
    call = lambda: pullback(output)
sent = []

def interrupt():
    time.sleep(0.4)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

for _ in range(2):
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        call()
    except KeyboardInterrupt:
        assert time.perf_counter() - sent[-1] < 2, time.perf_counter() - sent[-1]
    else:
        raise SystemExit("it was not interrupted")
    thread.join()
    assert same()
"""
    )
    python(code, threads, what, timeout=120)


SMALLEST = {np.dtype(d): np.nextafter(d(0), d(1)) for d in (np.float32, np.float64)}


@every_cell
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_the_callers_denormals_are_left_alone(cell, dtype, threads):
    """Kernels take them for zero, in threads that are not theirs: NumPy must not see it."""

    def alive():
        tiny = np.full(9, 8 * SMALLEST[np.dtype(dtype)])
        # Bits: where denormals are zero, they also compare as if they were.
        return (tiny * dtype(0.5)).view(f"i{tiny.itemsize}").tolist() == [4] * 9

    assert alive()
    layer, linear = Configuration(cell, H=200, I=100).layer(dtype), fastrnn.Linear(100, 200)
    x = np.ones((12, 7, 100), dtype)
    for count in (1, 4):
        threads(count)
        for _ in range(3):
            layer(x)
            assert alive()
        (output, _), pullback = layer.vjp(x, lengths=np.array([12, 0, 3, 4, 5, 6, 7]))
        assert alive()
        pullback(output)
        assert alive()
        layer.stream(7)(x[0])
        assert alive()
        y, pullback = linear.vjp(x.astype(np.float32))
        pullback(y)
        assert alive()


@every_cell
@pytest.mark.parametrize("T", [3, 12], ids=["unpacked", "packed"])
def test_denormal_numbers_give_what_they_give_in_the_reference(cell, T):
    """To 1e-37: a kernel may take one for zero."""
    configuration = Configuration(cell, T=T, B=2, I=20, H=17)
    layer, values = configuration.layer(np.float32), configuration.values(np.float32)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        layer.params[name][...] = 0
    name, _, nonlinearity = cell.name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    params = {
        n.replace("weight", "w").replace("bias", "b").removesuffix("_l0"): p
        for n, p in layer.params.items()
    }
    for size in (1e-38, 1e-40, 1e-44):
        scale = np.float32(size)
        x, state = values["x"] * scale, [s * scale for s in members(values["state"])]
        first = tuple(s[0] for s in state) if len(state) > 1 else state[0][0]
        expected, last = getattr(reference, name)(x, first, **params, **options)
        got, final = layer(x, tuple(state) if len(state) > 1 else state[0])
        assert_close(got, expected, atol=1e-37)
        for one, other in zip(members(final), members(last), strict=True):
            assert_close(one[0], other, atol=1e-37)


def test_memory_is_flat_over_many_shapes():
    """Plans and shortcuts are remembered, but only so many."""
    rng = np.random.default_rng(0)
    layers = [kind(6, 20, num_layers=2, seed=0) for kind in (fastrnn.LSTM, fastrnn.GRU)]

    def use(shapes):
        for _ in range(shapes):
            T, B = rng.integers(1, 200), rng.integers(1, 40)
            lengths = rng.integers(0, T + 1, B)
            x = np.zeros((T, B, 6), np.float32)
            for layer in layers:
                for _ in range(3):  # the last time by a shortcut
                    layer(x)
                (output, _), pullback = layer.vjp(x, lengths=lengths)
                pullback(output)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = use(300)
        after = use(200)
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


@every_cell
@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
def test_the_work_space_does_not_grow_with_time(cell, one_hot):
    """Beyond the weights and a few steps for each row: O(B H)."""
    dtype = np.dtype(np.float32)
    for H, I in ((8, 4), (100, 30), (512, 512)):  # noqa: E741
        sizes = Spec(cell, dtype, I, H).scans()[0].sizes
        weights = 4 * (I + H + 2) * sizes.columns
        for B in (1, 7, 300):
            for threads in (1, 4):
                bytes_of = [
                    4 * plan_forward(cell, sizes, equal_batch(T, B), one_hot, threads).size
                    for T in (5000, 20_000, 1_000_000)
                ]
                assert bytes_of[0] == bytes_of[1] == bytes_of[2]
                # States, and what is made ahead: some hundred KiB for each slice of the batch.
                rows = B * 4 * (2 * len(cell.states) + 2) * (H + 32)
                ahead = max(1 << 18, B * 4 * sizes.columns) * (1 + I / sizes.columns)
                assert bytes_of[0] <= weights + rows + 2 * threads * (ahead + (1 << 18))


@every_cell
def test_inference_takes_memory_for_its_output_alone(cell):
    layer = Configuration(cell, I=4, H=64).layer(np.float32)

    def peak(T):
        x = np.zeros((T, 3, 4), np.float32)
        for _ in range(3):
            layer(x)
        tracemalloc.start()
        try:
            output, _ = layer(x)
            return tracemalloc.get_traced_memory()[1] - output.nbytes
        finally:
            tracemalloc.stop()

    assert peak(5000) < peak(500) + 100_000  # the output grows by 3.5 million
