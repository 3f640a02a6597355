"""Where in time a recurrent gradient goes wrong: the first wrong step from the end, and its gate.

A weight's gradient is a sum over all steps and does not point at any. The gradient at the
pre-activations of one step and gate does (widening.py makes them variables). Where a function
cannot be widened so, the input's own gradient at each step is compared.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastrnn.checking.evaluation import (
    ANALYTIC_SAFETY,
    NUMERIC_SAFETY,
    ULPS,
    Evaluation,
)
from fastrnn.checking.functions import gates_of
from fastrnn.checking.own import OwnLayer
from fastrnn.checking.problem import Problem, Variable, flat
from fastrnn.checking.widening import widened_function, widened_layers

_MOST = 64  # steps looked at one by one; of longer sequences, those a bisection asks for


class Probe(NamedTuple):
    """Something with a gradient at each step.

    Attributes:
        name: of the layer and direction, "" where there is one only.
        problem: of one variable, (T, ...), the last axis in blocks of gates.
        gates: names of the blocks; ("",) where there are none.
        reverse: its last step is t = 0.
    """

    name: str
    problem: Problem
    gates: tuple[str, ...]
    reverse: bool


@dataclass
class Location:
    """Where one layer and direction goes wrong.

    Attributes:
        where: layer and direction, "" where there is one only.
        steps: the steps looked at, t.
        gates: names; ("",) where the input's gradient was compared.
        excess: [gate][step]: how many tolerances the gradient is off; above 1 is wrong.
        first: the first wrong step, t, of those that backpropagation comes by, and its gates.
        length: T.
        reverse: backpropagation begins at t = 0.
    """

    where: str
    steps: list[int]
    gates: tuple[str, ...]
    excess: list[list[float]]
    first: tuple[int, list[str]]
    length: int
    reverse: bool = False
    others: list["Location"] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return it as text, with a map of the steps."""
        t, gates = self.first
        back = t if self.reverse else self.length - 1 - t
        where = f"{self.where}, " if self.where else ""
        which = f", gate {', '.join(gates)}" if any(gates) else ""
        steps = "the last one" if back == 0 else f"{back} back from the last one"
        lines = [f"first wrong: {where}step t = {t} ({steps}){which}"]
        if len(self.steps) > 1:
            lines.append(f"in time (. right, X wrong), t = {self.steps[0]} to {self.steps[-1]}:")
            width = max(map(len, self.gates))
            for gate, row in zip(self.gates, self.excess, strict=True):
                marks = "".join(".X"[e > 1] for e in row)
                lines.append(f"  {(gate or 'input').rjust(width)}  {marks}")
        return lines + [line for other in self.others for line in other.lines()]


def locate(evaluation: Evaluation) -> Location | None:
    """Return where the gradient of a recurrent target goes wrong, or None: not found."""
    found = []
    for probe in _probes(evaluation):
        location = _look(probe, evaluation)
        if location is not None:
            found.append(location)
    if not found:
        return None
    found[0].others = found[1:]
    return found[0]


def _probes(evaluation: Evaluation) -> list[Probe]:
    """Return what can be looked at, the layers from the top, as backpropagation comes by them."""
    problem = evaluation.problem
    if problem.steps is not None and isinstance(problem.steps.function, OwnLayer):
        return [Probe(*found) for found in widened_layers(problem.steps.function)]
    for i, variable in enumerate(problem.variables):
        axis = _time_axis(evaluation, i)
        if axis is None:
            continue
        reverse = _reverse(evaluation, i, axis)
        if reverse is None:
            continue
        widened = widened_function(problem, i, evaluation.precise, evaluation.outputs)
        if widened is not None:
            return [Probe("", widened, gates_of(problem.variables) or ("",), reverse)]
        return [Probe("", _alone(evaluation, i, axis), ("",), reverse)]
    return []


def _look(probe: Probe, evaluation: Evaluation) -> Location | None:
    """Compare the gradient of every step and gate along a random direction in it."""
    this = Evaluation(probe.problem, evaluation.options.softened())
    shape = probe.problem.variables[0].value.shape
    random = evaluation.options.random(30)
    cotangents = this.cotangents(random)
    vector, gradient = flat(cotangents).astype(np.float64), this.gradients(cotangents)[0]
    if gradient is None:
        return None
    noise, length = this.gradient_noise(cotangents)[0], shape[0]
    floor = ULPS * probe.problem.eps * np.abs(gradient).max(initial=0)
    direction = random.standard_normal(shape)
    blocks = np.array_split(np.arange(shape[-1]), len(probe.gates))

    def excess(t, gate):
        mask = np.zeros(shape)
        mask[t, ..., blocks[gate]] = 1
        v = direction * mask
        derivative = this.derivative(this.along([v]))
        away = abs(float(np.vdot(gradient, v)) - float(vector @ derivative.value))
        allowed = (NUMERIC_SAFETY * derivative.error + floor * np.linalg.norm(v)
                   + ANALYTIC_SAFETY * float(np.linalg.norm(noise * v)))  # fmt: skip
        return away / allowed if allowed else np.inf * bool(away)

    def look(t):
        return [excess(t, gate) for gate in range(len(probe.gates))]

    order = range(length) if probe.reverse else range(length)[::-1]
    seen = {}
    if length <= _MOST:
        seen = {t: look(t) for t in order}
    else:  # wrong from some step on: the first of these by bisection
        low, high = 0, length - 1
        while low < high:
            middle = (low + high) // 2
            t = order[middle]
            seen[t] = look(t)
            low, high = (low, middle) if max(seen[t]) > 1 else (middle + 1, high)
        seen[order[low]] = look(order[low])
    wrong = [t for t in order if t in seen and max(seen[t]) > 1]
    if not wrong:
        return None
    gates = [g for g, e in zip(probe.gates, seen[wrong[0]], strict=True) if e > 1]
    steps = sorted(seen)
    table = [[float(seen[t][g]) for t in steps] for g in range(len(probe.gates))]
    return Location(probe.name, steps, probe.gates, table, (wrong[0], gates), length, probe.reverse)


def _time_axis(evaluation: Evaluation, i: int) -> int | None:
    """Return the axis of a variable that may be time: one that it shares with the first output."""
    variable = evaluation.problem.variables[i]
    if variable.time is not None:
        return variable.time
    x, output = variable.value, evaluation.outputs[0]
    if x.ndim in (2, 3) and output.ndim == x.ndim and x.shape[:-1] == output.shape[:-1]:
        return 0
    return None


def _reverse(evaluation: Evaluation, i: int, axis: int) -> bool | None:
    """Return whether a sequence is read from its end; None where no step depends on another."""
    x = evaluation.precise[i]
    random, here = evaluation.options.random(31), evaluation.problem.forward(evaluation.precise)

    def reaches(t, others):
        moved = [p.copy() for p in evaluation.precise]
        at = np.moveaxis(moved[i], axis, 0)[t]
        at += 1e-3 * random.standard_normal(at.shape)
        there = evaluation.problem.forward(moved)[0]
        return not np.array_equal(np.moveaxis(there, axis, 0)[others],
                                  np.moveaxis(here[0], axis, 0)[others])  # fmt: skip

    if x.shape[axis] < 2:
        return None
    if reaches(0, slice(1, None)):
        return False
    return True if reaches(-1, slice(None, -1)) else None


def _alone(evaluation: Evaluation, i: int, axis: int) -> Problem:
    """Return the problem of one variable, time first."""
    problem = evaluation.problem

    def whole(values):
        precise = values[0].dtype != problem.variables[i].value.dtype
        arrays = list(evaluation.precise if precise else evaluation.values)
        arrays[i] = np.moveaxis(values[0], 0, axis)
        return arrays

    def vjp(values):
        outputs, pullback = problem.vjp(whole(values))

        def one(cotangents):
            gradient = pullback(cotangents)[i]
            return [None if gradient is None else np.moveaxis(np.asarray(gradient), axis, 0)]

        return outputs, one

    value = np.moveaxis(problem.variables[i].value, axis, 0).copy()
    return Problem(problem.name, problem.kind, (Variable("input", value),),
                   lambda values: problem.forward(whole(values)), vjp)  # fmt: skip
