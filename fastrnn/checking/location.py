"""Where in time a recurrent gradient goes wrong: the first wrong step from the end, and its gate.

A weight's gradient is a sum over all steps and points at none of them. The gradient at the
pre-activations of one step and gate does, and targets/preactivations.py makes them variables. If
a function's input cannot be widened like that, the gradients at the input of each step are
compared. What caused an error is for diagnosis.py to guess.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastrnn.checking.arrays import norm
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Problem, Variable
from fastrnn.checking.rounding import gradient_noise
from fastrnn.checking.targets.fastrnn import OwnLayer
from fastrnn.checking.targets.numpy import gates_of
from fastrnn.checking.targets.preactivations import widened_function, widened_layers
from fastrnn.checking.tolerance import ANALYTIC_SAFETY, NUMERIC_SAFETY, ULPS

_MAX_STEPS = 64  # compared one by one; longer sequences are bisected
_UNITS = 32  # of each gate, whose gradients at the first wrong step are compared


class Probe(NamedTuple):
    """A problem whose variable has a gradient at each step.

    Attributes:
        name: layer and direction, "" if there is only one.
        problem: has one variable, (T, ...), the last axis in blocks of gates.
        gates: names of the blocks; ("",) if there are none.
        reverse: its last step is t = 0.
        widened: the variable is the pre-activations, else the input.
    """

    name: str
    problem: Problem
    gates: tuple[str, ...]
    reverse: bool
    widened: bool = True


@dataclass
class Location:
    """Where one layer and direction goes wrong.

    Attributes:
        where: layer and direction, "" if there is only one.
        steps: the steps t that were compared.
        gates: their names; ("",) if there are none.
        excess: [gate][step]: the gradient's error in tolerances; above 1 is wrong.
        first: the first wrong step t in the order of backpropagation, and its wrong gates; None:
            every step is right.
        length: T.
        reverse: backpropagation starts at t = 0.
        widened: the gradients are those at the pre-activations, else at the input.
        delta: (analytic, numeric) at the first wrong step for one row, [gate][unit] each.
        others: other layers and directions that go wrong.
    """

    where: str
    steps: list[int]
    gates: tuple[str, ...]
    excess: list[list[float]]
    first: tuple[int, list[str]] | None
    length: int
    reverse: bool = False
    widened: bool = True
    delta: tuple[list, list] | None = None
    others: list["Location"] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the location as text, with a map of the steps."""
        if self.first is None:
            return []
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
                lines.append(
                    f"  {(gate or ('delta' if self.widened else 'input')).rjust(width)}  {marks}"
                )
        return lines + [line for other in self.others for line in other.lines()]


def locate(evaluation: Evaluation) -> Location | None:
    """Return where the gradient of a recurrent target goes wrong; None: it is not recurrent."""
    found = [_located(probe, evaluation) for probe in _probes(evaluation)]
    found = [location for location in found if location is not None]
    found.sort(key=lambda location: location.first is None)  # stable: from the top layer down
    if found:
        found[0].others = [other for other in found[1:] if other.first is not None]
        return found[0]
    return None


def _probes(evaluation: Evaluation) -> list[Probe]:
    """Return what can be compared step by step, from the top layer down, as in backpropagation."""
    problem = evaluation.problem
    if problem.steps is not None and isinstance(problem.steps.function, OwnLayer):
        return [Probe(*found) for found in widened_layers(problem.steps.function)]
    for i in range(len(problem.variables)):
        axis = _time_axis(evaluation, i)
        if axis is None:
            continue
        reverse = _reverse(evaluation, i, axis)
        if reverse is None:
            continue
        widened = widened_function(problem, i, evaluation.precise, evaluation.outputs)
        if widened is not None:
            return [Probe("", widened, gates_of(problem.variables) or ("",), reverse)]
        return [Probe("", _alone(evaluation, i, axis), ("",), reverse, widened=False)]
    return []


def _located(probe: Probe, evaluation: Evaluation) -> Location | None:
    """Compare the gradient of each step and gate along a random direction."""
    this = Evaluation(probe.problem, evaluation.options.softened())
    shape = probe.problem.variables[0].value.shape
    random = evaluation.options.random(30)
    cotangents = this.cotangents(random)
    vector, gradient = this.units.contraction(cotangents), this.gradients(cotangents)[0]
    if gradient is None:
        return None
    noise, length = gradient_noise(this, cotangents)[0], shape[0]
    noise = np.maximum(noise, 2 * np.median(noise))
    floor = ULPS * probe.problem.eps * np.abs(gradient).max(initial=0)
    direction = random.standard_normal(shape)
    blocks = np.array_split(np.arange(shape[-1]), len(probe.gates))

    def excess(t, gate):
        mask = np.zeros(shape)
        mask[t, ..., blocks[gate]] = 1
        v = direction * mask
        derivative = this.derivative(this.along([v]))
        away = abs(float(np.vdot(gradient, v)) - float(vector @ derivative.value))
        allowed = (
            NUMERIC_SAFETY * norm(vector * derivative.error)
            + floor * np.linalg.norm(v)
            + ANALYTIC_SAFETY * float(np.linalg.norm(noise * v))
        )
        return away / allowed if allowed else np.inf * bool(away)

    def compared(t):
        return [excess(t, gate) for gate in range(len(probe.gates))]

    order = range(length) if probe.reverse else range(length)[::-1]
    seen = {}
    if length <= _MAX_STEPS and evaluation.options.mode != "project":
        seen = {t: compared(t) for t in order}
    else:
        # Bisect for the step from which on all are wrong. An error that fades on its way back, as
        # the gradient vanishes, leaves earlier steps right, and may be missed.
        low, high = 0, length - 1
        while low < high:
            middle = (low + high) // 2
            t = order[middle]
            seen[t] = compared(t)
            low, high = (low, middle) if max(seen[t]) > 1 else (middle + 1, high)
        seen[order[low]] = compared(order[low])
    wrong = [t for t in order if t in seen and max(seen[t]) > 1]
    steps = sorted(seen)
    result = Location(
        probe.name,
        steps,
        probe.gates,
        [[float(seen[t][g]) for t in steps] for g in range(len(probe.gates))],
        None,
        length,
        probe.reverse,
        probe.widened,
    )
    if wrong:
        t = wrong[0]
        gates = [g for g, e in zip(probe.gates, seen[t], strict=True) if e > 1]
        result.first, result.delta = (t, gates), _delta(this, cotangents, gradient, t, blocks)
    return result


def _delta(this: Evaluation, cotangents, gradient, t: int, blocks) -> tuple[list, list]:
    """Return the gradients at one step, unit by unit, in the row where they are largest."""
    rows = np.abs(gradient[t]).reshape(-1, gradient.shape[-1]).sum(axis=1)
    row = np.unravel_index(int(np.argmax(rows)), gradient.shape[1:-1])
    analytic, numeric = [], []
    for block in blocks:
        places = [(t, *map(int, row), int(unit)) for unit in block[:_UNITS]]
        analytic.append([float(gradient[place]) for place in places])
        numeric.append([this.entry(0, place, cotangents) for place in places])
    return analytic, numeric


def _time_axis(evaluation: Evaluation, i: int) -> int | None:
    """Return the axis of a variable that may be time, which it shares with the first output."""
    variable = evaluation.problem.variables[i]
    if variable.time is not None:
        return variable.time
    x, output = variable.value, evaluation.outputs[0]
    if i == 0 and x.ndim in (2, 3) and output.ndim == x.ndim and x.shape[:-1] == output.shape[:-1]:
        return 0
    return None


def _reverse(evaluation: Evaluation, i: int, axis: int) -> bool | None:
    """Return whether a sequence is read from its end; None: no step depends on another."""
    x = evaluation.precise[i]
    random, here = evaluation.options.random(31), evaluation.problem.forward(evaluation.precise)

    def reaches(t, others):
        moved = [p.copy() for p in evaluation.precise]
        at = np.moveaxis(moved[i], axis, 0)[t]
        at += 1e-3 * random.standard_normal(at.shape)
        away = np.moveaxis(evaluation.problem.forward(moved)[0] - here[0], axis, 0)
        return np.abs(away[others]).max() > 1e-9 * np.abs(away).max()

    if x.shape[axis] < 2:
        return None
    if reaches(0, slice(1, None)):
        return False
    return True if reaches(-1, slice(None, -1)) else None


def _alone(evaluation: Evaluation, i: int, axis: int) -> Problem:
    """Return the problem of one variable alone, with time as its first axis."""
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
    return Problem(
        problem.name,
        problem.kind,
        (Variable("input", value),),
        lambda values: problem.forward(whole(values)),
        vjp,
    )
