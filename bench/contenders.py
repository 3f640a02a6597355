"""Who is measured: one function each that makes a problem (problems.py) ready to run.

A contender offers what it can: `forward`, the output; `train`, the gradients of the input and of
every parameter; `step`, the output of one more step of a stream. All start from the same
parameters and inputs, which are converted before anything is timed, and every call ends with its
result in memory. What is not installed, or cannot do a problem, raises Missing with the reason.
"""

import functools
import importlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastrnn import reference


class Missing(Exception):
    """This contender cannot run this problem; the message says why."""


class Contender(NamedTuple):
    """A problem, ready to run; None: not offered."""

    forward: Callable[[], np.ndarray] | None = None  # -> output
    train: Callable[[], dict[str, np.ndarray]] | None = None  # -> gradients; "input" and the names
    step: Callable[[], np.ndarray] | None = None  # -> output of the next step


NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def _module(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"{name} is not installed") from None


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
    """Plain NumPy in float64: the oracle, and what one would write by hand."""
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
    torch = _module("torch")
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


_ONNX = {  # operator, our gates in its order, its options
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),
    "GRU": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "RNN": ("RNN", (0,), {}),
}


def _onnx_model(problem, with_state):
    """Return the layer as a serialised ONNX model, with its state as input and output or not."""
    onnx = _module("onnx")
    if problem.kind not in _ONNX:
        raise Missing(f"ONNX has no {problem.kind}")
    if problem.dtype != np.float32:
        raise Missing("its kernels are float32")
    operator, order, options = _ONNX[problem.kind]
    options = {**options, "hidden_size": problem.shape.hidden}
    if problem.options:
        options["activations"] = [problem.options["nonlinearity"].capitalize()]
    helper, real = onnx.helper, onnx.TensorProto.FLOAT

    def in_order(name):
        gates = np.split(problem.layer.params[name], len(order))
        return np.concatenate([gates[i] for i in order])[None]

    w, r, b_ih, b_hh = map(in_order, NAMES)
    weights = {"W": w, "R": r, "B": np.concatenate([b_ih, b_hh], axis=1)}
    states = ["h", "c"][: 1 + (operator == "LSTM")]
    batch, hidden = problem.shape.batch, problem.shape.hidden
    x_shape = [1 if with_state else problem.shape.time, batch, problem.shape.input]
    inputs = [helper.make_tensor_value_info("x", real, x_shape)]
    outputs = [helper.make_tensor_value_info("y", real, [x_shape[0], 1, batch, hidden])]
    names_in, names_out = ["x", "W", "R", "B"], ["y"]
    if problem.lengths is not None:
        weights["lengths"] = problem.lengths.astype(np.int32)
        names_in.append("lengths")
    if with_state:
        names_in += [""] + [f"{s}_0" for s in states]
        names_out += [f"{s}_n" for s in states]
        for names, infos in ((names_in[5:], inputs), (names_out[1:], outputs)):
            infos += [helper.make_tensor_value_info(n, real, [1, batch, hidden]) for n in names]
    node = helper.make_node(operator, names_in, names_out, **options)
    graph = helper.make_graph(
        [node],
        "layer",
        inputs,
        outputs,
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString(), states


def of_onnxruntime(problem):
    """ONNX Runtime, one operator, weights prepacked when the session is made."""
    runtime = _module("onnxruntime")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = problem.threads, 1

    def session(with_state):
        model, states = _onnx_model(problem, with_state)
        return runtime.InferenceSession(model, settings, ["CPUExecutionProvider"]), states

    inputs = {"x": problem.floats()}
    if problem.mode.offer == "step":
        one, states = session(True)
        now = {f"{s}_0": np.zeros((1, *problem.shape[1::2]), np.float32) for s in states}
        steps = problem.steps()

        def step():
            y, *new = one.run(None, {"x": next(steps)[None], **now})
            now.update(zip(now, new, strict=True))
            return y[0, 0]

        return Contender(step=step)
    whole, _ = session(False)
    return Contender(lambda: whole.run(None, inputs)[0][:, 0])


def of_openvino(problem):
    """OpenVINO on the CPU, the ONNX model, compiled for latency."""
    openvino = _module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": problem.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if problem.mode.offer == "step":
        raise Missing("its state would have to be copied at every step")
    model, _ = _onnx_model(problem, with_state=False)
    core = openvino.Core()
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    x = openvino.Tensor(problem.floats(), shared_memory=True)

    def forward():
        request.infer({0: x}, share_inputs=True, share_outputs=True)
        return request.get_output_tensor(0).data[:, 0]

    return Contender(forward)


def of_jax(problem):
    """JAX, jit of lax.scan over the cell; the gradient by jax.vjp in the same jit."""
    jax = _module("jax")
    if problem.lengths is not None:
        raise Missing("no lengths")
    jax.config.update("jax_enable_x64", True)  # or float64 would silently become float32
    jnp, lax = jax.numpy, jax.lax
    step_of = _JAX_STEPS.get(problem.cell.name)
    if step_of is None:
        raise Missing(f"no step written for {problem.cell.name}")
    step_of = functools.partial(step_of, jax)
    params = {name: jnp.asarray(problem.layer.params[name]) for name in NAMES}
    x, d_output = jnp.asarray(problem.floats()), jnp.asarray(problem.d_output)
    zeros = tuple(jnp.zeros(problem.shape[1::2], x.dtype) for _ in problem.cell.states)

    def layer(params, x):
        w_ih, w_hh, b_ih, b_hh = (params[name] for name in NAMES)
        a_x = x @ w_ih.T + b_ih
        return lax.scan(lambda state, a: step_of(a, state[0] @ w_hh.T + b_hh, state), zeros, a_x)[1]

    @jax.jit
    def gradients(params, x, d_output):
        _, pullback = jax.vjp(layer, params, x)
        return pullback(d_output)

    @jax.jit
    def one(params, x, state):
        w_ih, w_hh, b_ih, b_hh = (params[name] for name in NAMES)
        return step_of(x @ w_ih.T + b_ih, state[0] @ w_hh.T + b_hh, state)

    compiled, state, steps = jax.jit(layer), [zeros], problem.steps()

    def train():
        d_params, d_x = jax.block_until_ready(gradients(params, x, d_output))
        return {"input": np.asarray(d_x), **{k: np.asarray(v) for k, v in d_params.items()}}

    def step():
        state[0], y = one(params, next(steps), state[0])
        return np.asarray(y)

    return Contender(lambda: np.asarray(compiled(params, x)), train, step)


def _jax_rnn(activation):
    def step(jax, a_x, a_h, state):
        h = (jax.numpy.tanh if activation == "tanh" else jax.nn.relu)(a_x + a_h)
        return (h,), h

    return step


def _jax_lstm(jax, a_x, a_h, state):
    i, f, g, o = jax.numpy.split(a_x + a_h, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
    h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
    return (h, c), h


def _jax_gru(jax, a_x, a_h, state):
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (jax.numpy.split(a, 3, axis=-1) for a in (a_x, a_h))
    z = jax.nn.sigmoid(x_z + h_z)
    n = jax.numpy.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    h = (1 - z) * n + z * state[0]
    return (h,), h


_JAX_STEPS = {
    "rnn_tanh": _jax_rnn("tanh"),
    "rnn_relu": _jax_rnn("relu"),
    "lstm": _jax_lstm,
    "gru": _jax_gru,
}

CONTENDERS = {
    "fastrnn": of_fastrnn,
    "torch": of_torch,
    "onnxruntime": of_onnxruntime,
    "openvino": of_openvino,
    "jax": of_jax,
    "reference": of_reference,
}
