"""Gradient checkers side by side on the same planted errors: fastrnn's, torch's, JAX's, SciPy's.

Each gets the same function and the same pullback, wrapped as its users would wrap them, and its
own defaults. SciPy returns a number and leaves the verdict to its caller, so it is given a
threshold. The speed of kernels is measured elsewhere.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import MUTANTS, right
from fastrnn.checking.problem import Problem, flat
from fastrnn.checking.targets.dispatch import problem_of

SCIPY_THRESHOLD = 1e-5  # of the gradient's norm; forward differences are good to about 1e-7

Verdict = str  # what the checker says is wrong; "" where it finds nothing


def _with_fastrnn(mode: str) -> Callable[..., Verdict]:
    def check(target, inputs) -> Verdict:
        report = gradcheck(target, inputs, mode=mode, raise_exception=False)
        if report.ok:
            return ""
        if not any(v.wrong for v in report.variables):
            return report.summary()
        tells = ("worst: ", "looks like: ", "first wrong: ")
        return "\n".join(line for line in report.table().splitlines() if line.startswith(tells))

    return check


def _differentiable(problem: Problem, outputs: list) -> list[int]:
    return [i for i, output in enumerate(outputs) if output.dtype.kind == "f"]


def _with_torch(fast: bool) -> Callable[..., Verdict]:
    import torch

    def check(target, inputs) -> Verdict:
        problem = problem_of(target, inputs)

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                outputs, ctx.pullback = problem.vjp([t.detach().numpy() for t in tensors])
                return tuple(torch.tensor(o) for o in outputs)

            @staticmethod
            def backward(ctx, *cotangents):
                given = ctx.pullback([c.numpy() for c in cotangents])
                return tuple(None if g is None else torch.tensor(np.asarray(g)) for g in given)

        tensors = [torch.tensor(v, requires_grad=True) for v in problem.values]
        try:
            torch.autograd.gradcheck(Function.apply, tensors, fast_mode=fast)
        except Exception as error:
            return str(error)
        return ""

    return check


def _with_jax(target, inputs) -> Verdict:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    problem = problem_of(target, inputs)
    kinds = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in problem.forward(problem.values)]
    values = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in problem.values]

    def outputs(*arrays):
        return tuple(problem.forward([np.array(a) for a in arrays]))

    def gradients(arrays, cotangents):
        _, pullback = problem.vjp([np.array(a) for a in arrays])
        given = pullback([np.array(c) for c in cotangents])
        # A callback has to return the declared shapes: another shape, or None, cannot be wrapped.
        return tuple(np.asarray(g, v.dtype) for g, v in zip(given, values, strict=True))

    @jax.custom_vjp
    def function(*arrays):
        return jax.pure_callback(outputs, tuple(kinds), *arrays)

    function.defvjp(
        lambda *arrays: (function(*arrays), arrays),
        lambda arrays, cotangents: jax.pure_callback(gradients, tuple(values), arrays, cotangents),
    )
    try:
        check_grads(function, tuple(problem.values), order=1, modes=["rev"])
    except Exception as error:
        return str(error)
    return ""


def _with_scipy(target, inputs) -> Verdict:
    from scipy.optimize import check_grad

    problem = problem_of(target, inputs)
    random = np.random.default_rng(0)
    cotangents = [random.standard_normal(o.shape) for o in problem.forward(problem.values)]
    ends = np.cumsum([v.size for v in problem.values])[:-1]

    def arrays(x):
        parts = np.split(x, ends)
        return [p.reshape(v.shape) for p, v in zip(parts, problem.values, strict=True)]

    def loss(x):
        return float(flat(problem.forward(arrays(x))) @ flat(cotangents))

    def gradient(x):
        given = problem.vjp(arrays(x))[1]([c.copy() for c in cotangents])
        return flat([np.asarray(g, np.float64) for g in given])

    start = flat(problem.values)
    try:
        error = check_grad(loss, gradient, start)
    except Exception as problem_found:
        return str(problem_found)
    return "" if error <= SCIPY_THRESHOLD * np.linalg.norm(gradient(start)) else f"{error!r}"


def checkers() -> dict[str, Callable[..., Verdict]]:
    """Return the installed checkers: name -> check(target, inputs) -> verdict."""
    found = {
        f"fastrnn.gradcheck, {mode}": _with_fastrnn(mode) for mode in ("full", "sample", "project")
    }
    if importlib.util.find_spec("torch"):
        found["torch.autograd.gradcheck"] = _with_torch(False)
        found["torch.autograd.gradcheck, fast_mode"] = _with_torch(True)
    if importlib.util.find_spec("jax"):
        found["jax check_grads"] = _with_jax
    if importlib.util.find_spec("scipy"):
        found["scipy check_grad"] = _with_scipy
    return found


@dataclass
class Row:
    """The results of one checker."""

    name: str
    found: int = 0
    of: int = 0
    alarms: int = 0
    correct: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"wrong": [], "right": []})
    missed: list[str] = field(default_factory=list)
    example: str = ""

    def timed(self, check, kind: str, problem) -> Verdict:
        """Return the verdict, and record the time it took."""
        start = time.perf_counter()
        verdict = check(*problem)
        self.seconds[kind].append(time.perf_counter() - start)
        return verdict

    def cells(self) -> tuple[str, ...]:
        """Return the row of a table."""
        times = (f"{1e3 * statistics.median(self.seconds[kind]):.0f}" for kind in self.seconds)
        return (
            self.name,
            f"{self.found} of {self.of}",
            f"{self.alarms} of {self.correct}",
            TELLS[self.name.partition(",")[0]],
            *times,
        )


TELLS = {
    "fastrnn.gradcheck": "coordinate, gate, time step, likely cause",
    "torch.autograd.gradcheck": "number of the input, both Jacobians",
    "jax check_grads": "one projection of all inputs",
    "scipy check_grad": "one number, without a verdict",
}
COLUMNS = ("checker", "errors found", "false alarms", "what it tells", "ms, wrong", "ms, right")
EXAMPLE = "gates i and f exchanged"  # the error whose verdicts are shown


def measure(seeds: int = 2, say: Callable[[str], None] = print) -> list[Row]:
    """Run every checker on every planted error, and on the same targets without an error."""
    rows = [Row(name) for name in checkers()]
    kinds = dict.fromkeys((m.where, m.how) for m in MUTANTS)
    for row, check in zip(rows, checkers().values(), strict=True):
        check(*right("rnn", 0))  # not timed: the first use may compile
        check(*right("stack", 0))
        for seed in range(seeds):
            for mutant in MUTANTS:
                verdict = row.timed(check, "wrong", mutant.problem(seed))
                row.of += 1
                row.found += bool(verdict)
                if not verdict:
                    row.missed.append(f"{mutant.where}: {mutant.words}")
                elif mutant.words == EXAMPLE and not seed:
                    row.example = verdict
            for where, how in kinds:
                target = right(where, seed, tuple(h for h in how if h != "inner"))
                row.correct += 1
                row.alarms += bool(row.timed(check, "right", target))
        say(", ".join(row.cells()))
    return rows


def picture(path) -> None:
    """Draw fastrnn's report of an error that is carried from step to step."""
    [mutant] = [m for m in MUTANTS if m.words == "no gradient carried by c"]
    gradcheck(*mutant.problem(0), raise_exception=False).plot(path)


def markdown(rows: list[Row]) -> str:
    """Return the report: the table, what was missed, and each checker's verdict on one error."""
    lines = [
        "# Gradient checkers on the same planted errors",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *("| " + " | ".join(row.cells()) + " |" for row in rows),
    ]
    for row in rows:
        missed = sorted(set(row.missed))
        lines += [
            "",
            f"## {row.name}",
            "",
            f"Of an LSTM with {EXAMPLE} it says:",
            "",
            "```",
            *row.example.strip().splitlines()[:12],
            "```",
        ]
        lines += ["", "Missed: " + ("; ".join(missed) or "none") + "."]
    return "\n".join([*lines, ""])
