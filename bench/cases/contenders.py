"""The contenders: this package, the reference in NumPy, torch, and the list of all.

What a contender has to offer is said in contender.py.
"""

import itertools

import numpy as np

from bench.cases.contender import NAMES, Contender, Missing, module
from bench.cases.contenders_jax import of_jax
from bench.cases.contenders_onnx import of_onnxruntime, of_openvino
from fastrnn import reference


def of_fastrnn(problem):
    """This package."""
    layer, lengths = problem.layer, problem.lengths
    if problem.mode.offer == "step":
        stream, steps = layer.stream(problem.shape.batch), problem.steps()
        return Contender(step=lambda: stream(next(steps)))

    def train():
        (_, _), pullback = layer.vjp(problem.x, lengths=lengths)
        grads = pullback(problem.d_output)
        return {"input": grads.input, **grads.params}

    return Contender(lambda: layer(problem.x, lengths=lengths)[0], train)


def of_reference(problem):
    """Plain NumPy in float64: the oracle, written as one would by hand."""
    vjp = getattr(reference, f"{problem.kind.lower()}_vjp", None)
    if vjp is None:
        raise Missing(f"reference.py has no {problem.kind}")
    weights = [problem.layer.params[name].astype(np.float64) for name in NAMES]
    options = {"lengths": problem.lengths, **problem.options}
    x = problem.x if problem.x.ndim == 2 else problem.x.astype(np.float64)
    d_output = problem.d_output.astype(np.float64)

    def train():
        _, pullback = vjp(x, None, *weights, **options)
        grads = pullback(d_output)
        params = dict(zip(NAMES, grads.params.values(), strict=True))
        return params if grads.input is None else {"input": grads.input, **params}

    def forward():
        return vjp(x, None, *weights, **options)[0][0]

    outputs = itertools.cycle(forward()) if problem.mode.offer == "step" else None
    return Contender(forward, train, outputs and (lambda: next(outputs)))


def of_torch(problem):
    """torch.nn, eager; lengths as a PackedSequence."""
    torch = module("torch")
    kind = getattr(torch.nn, problem.kind, None)
    if kind is None:
        raise Missing(f"torch.nn has no {problem.kind}")
    torch.set_num_threads(problem.threads)
    shape, packing = problem.shape, torch.nn.utils.rnn
    x, d_output = torch.from_numpy(problem.floats()), torch.from_numpy(problem.d_output)
    twin = kind(shape.input, shape.hidden, dtype=x.dtype, **problem.options)
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in problem.layer.state_dict().items()})
    lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)

    def run(x):
        if lengths is None:
            return twin(x)[0]
        packed = packing.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return packing.pad_packed_sequence(twin(packed)[0], total_length=shape.time)[0]

    def forward():
        with torch.no_grad():
            return run(x).numpy()

    def train():
        leaf = x.detach().requires_grad_()
        twin.zero_grad()
        run(leaf).backward(d_output)
        grads = {name: p.grad.numpy() for name, p in twin.named_parameters()}
        return {"input": leaf.grad.numpy(), **grads}

    state, steps = [None], problem.steps()

    def step():
        with torch.no_grad():
            y, state[0] = twin(torch.from_numpy(next(steps))[None], state[0])
            return y[0].numpy()

    return Contender(forward, train, step)


CONTENDERS = {
    "fastrnn": of_fastrnn,
    "torch": of_torch,
    "onnxruntime": of_onnxruntime,
    "openvino": of_openvino,
    "jax": of_jax,
    "reference": of_reference,
}
