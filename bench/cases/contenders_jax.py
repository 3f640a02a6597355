"""JAX as a contender: lax.scan over the cell, written as its users would write it."""

import functools

import numpy as np

from bench.cases.contender import NAMES, Contender, Missing, module


def of_jax(problem):
    """JAX, jit of lax.scan over the cell; the gradient by jax.vjp in the same jit."""
    jax = module("jax")
    if problem.lengths is not None:
        raise Missing("no lengths")
    jax.config.update("jax_enable_x64", True)  # or float64 would silently become float32
    jnp, lax = jax.numpy, jax.lax
    step_of = STEPS.get(problem.cell.name)
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


STEPS = {
    "rnn_tanh": _jax_rnn("tanh"),
    "rnn_relu": _jax_rnn("relu"),
    "lstm": _jax_lstm,
    "gru": _jax_gru,
}
