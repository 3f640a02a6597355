"""Pre-activations made inputs: a layer that reads, besides x, one feature for each of them.

W_ih gets an identity for the new features, so that adding to one at step t is adding to the
pre-activation of one unit at t, and the gradient at it is the delta of backpropagation. All that
is needed is the public function itself. What is done with it is location.py's business.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastrnn.checking.problem import Problem, Variable
from fastrnn.checking.targets.fastrnn import OwnLayer, members_of
from fastrnn.checking.targets.numpy import sequence_weights
from fastrnn.nn.arguments import bare


def widened_layers(own: OwnLayer) -> Iterator[tuple[str, Problem, tuple[str, ...], bool]]:
    """Yield (name, problem, gates, reverse) of every layer and direction, from the top.

    Each reads what the layers below give it at the point of the check. The problem has one
    variable, (T, ..., G*H), zero.
    """
    target = own.target
    x, state, _ = own.split([variable.value for variable in own.variables])
    members, directions = members_of(state), target.spec.directions
    x = np.eye(target.input_size, dtype=target.dtype)[x] if own.one_hot else x
    read, parts = (
        [x],
        [
            tuple(m[depth * directions : (depth + 1) * directions] for m in members)
            for depth in range(target.num_layers)
        ],
    )
    for depth in range(target.num_layers - 1):
        read.append(_one_layer(target, depth)(read[-1], bare(parts[depth]), own.lengths)[0])
    for depth in reversed(range(target.num_layers)):
        for direction in range(directions):
            name = f"layer {depth}" + ", reverse" * direction if len(target.names) > 1 else ""
            problem = _Widened(own, depth, direction, read[depth], parts[depth]).problem()
            yield name, problem, target.cell.gates, bool(direction)


class _Widened:
    """One layer of a stack whose pre-activations, in one direction, are a variable."""

    def __init__(self, own: OwnLayer, depth: int, direction: int, x: np.ndarray, members: tuple):
        self.own, self.depth, self.direction = own, depth, direction
        self.x, self.members, self.axis = x, members, own.time()
        self.layers: dict[np.dtype, Any] = {}

    def problem(self) -> Problem:
        target = self.own.target
        leading = np.moveaxis(self.x, self.axis, 0).shape[:-1]
        value = np.zeros((*leading, len(target.cell.gates) * target.hidden_size), target.dtype)
        return Problem("", "layer", (Variable("pre", value),), self.forward, self.vjp)

    def forward(self, values):
        output, final = self._layer(values)(*self._arguments(values))
        return [output, *members_of(final)]

    def vjp(self, values):
        (output, final), pullback = self._layer(values).vjp(*self._arguments(values))

        def gradient(cotangents):
            d_x = pullback(cotangents[0], bare(tuple(cotangents[1:]))).input
            return [np.moveaxis(d_x[..., self.x.shape[-1] :], self.axis, 0)]

        return [output, *members_of(final)], gradient

    def _layer(self, values):
        dtype = values[0].dtype
        if dtype not in self.layers:
            one, count = _one_layer(self.own.target, self.depth), values[0].shape[-1]
            params = {name: value.astype(dtype) for name, value in one.params.items()}
            for direction, names in enumerate(one.names):
                identity = np.eye(count, dtype=dtype) * (direction == self.direction)
                params[names[0]] = np.concatenate([params[names[0]], identity], axis=1)
            spec = one.spec._replace(input_size=one.input_size + count)
            self.layers[dtype] = one.with_parameters(params, spec)
        return self.layers[dtype]

    def _arguments(self, values):
        dtype = values[0].dtype
        extra = np.moveaxis(values[0], 0, self.axis)
        x = np.concatenate([self.x.astype(dtype), extra], axis=-1)
        return x, bare(tuple(m.astype(dtype) for m in self.members)), self.own.lengths


def _one_layer(target: Any, depth: int) -> Any:
    """Return one layer of a stack as a layer of its own, with copies of its parameters."""
    directions = target.spec.directions
    params = {
        new: target.parameter(name).copy()
        for own, first in zip(
            target.names[depth * directions : (depth + 1) * directions], target.names, strict=False
        )
        for name, new in zip(own, first, strict=True)
        if name is not None
    }
    return target.with_parameters(params, target.spec.layer(depth))


def widened_function(problem: Problem, x: int, precise: list, outputs: list) -> Problem | None:
    """Return the problem of a function's pre-activations, if it has a weight known to make them.

    Args:
        problem: of the function.
        x: the place of its input (T, ..., I) among the variables.
        precise: values in float64 at which the rest is held.
        outputs: what the function gives there.
    """
    found = sequence_weights(problem.variables, x)
    if found is None:
        return None
    w, from_the_right = found
    features, given = problem.variables[x].value, problem.variables[w].value
    count = given.shape[1] if from_the_right else given.shape[0]

    def whole(values):
        dtype = values[0].dtype
        arrays = [p.astype(dtype) for p in precise]
        arrays[x] = np.concatenate([arrays[x], values[0]], axis=-1)
        identity = np.eye(count, dtype=dtype)
        arrays[w] = np.concatenate([arrays[w], identity], axis=0 if from_the_right else 1)
        return arrays

    def vjp(values):
        results, pullback = problem.vjp(whole(values))
        return results, lambda cotangents: [
            np.asarray(pullback(cotangents)[x])[..., features.shape[-1] :]
        ]

    zeros = np.zeros((*features.shape[:-1], count), features.dtype)
    widened = Problem(
        problem.name,
        problem.kind,
        (Variable("pre", zeros),),
        lambda values: problem.forward(whole(values)),
        vjp,
    )
    try:
        pairs = list(zip(widened.forward(widened.values), outputs, strict=True))
        vjp(widened.values)[1]([np.zeros_like(o) for o in outputs])
    except Exception:  # the function has sizes of its own
        return None
    fits = all(a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs)
    return widened if fits else None
