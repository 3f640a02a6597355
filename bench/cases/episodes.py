"""Episodes inside sequences: the cost of resets, ours and that of others' ways around them.

Every contender computes the same: a layer whose state is zero wherever the mask says so, T = 128,
I = H, float32; forward without a gradient, or the gradients of the input and all parameters. One
that is wrong is not timed. The ways:

    fastrnn       layer(x, reset=mask), from NumPy
    torch module  fastrnn.torch, under torch's autograd
    loop          torch.nn's layer a step at a time, with (1 - d) * h: sb3-contrib's way; a single
                  call where nothing is reset, as there
    pad, scan     torchrl's two backends for the CPU
    jax           lax.scan with a mask, in jit

`python -m bench episodes` measures; whole trainings are in the hosts' own tests.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import fastrnn
from bench.cases.contender import NAMES, Missing, module
from bench.cases.contenders_jax import STEPS
from bench.tools.timing import interleaved, wait_until_quiet

TIME = 128
_SLOW = 1.0  # seconds: what takes longer is timed once
SHAPES = [(B, H) for H in (64, 256) for B in (8, 32, 128)]
EVERY = {"no reset": 0, "every 20": 20, "every 2": 2, "each step": 1}
MODES = ("forward", "train")
LAYERS = {"lstm": fastrnn.LSTM, "gru": fastrnn.GRU}


class Case(NamedTuple):
    """What all contenders compute."""

    cell: str
    layer: Any  # of this package: its parameters are everyone's
    x: np.ndarray  # (T, B, H)
    reset: np.ndarray  # (T, B) bool
    d_output: np.ndarray


Runs = dict[str, Callable[[], Any]]  # by mode; "train" gives {"input": .., a parameter: ..}


def case_of(cell: str, batch: int, size: int, every: int) -> Case:
    """Return a case with a reset in each row every so many steps, or none; rows are not in step."""
    rng = np.random.default_rng(0)
    x, d_output = rng.standard_normal((2, TIME, batch, size), dtype=np.float32)
    reset = np.zeros((TIME, batch), bool)
    if every:
        phase = rng.integers(0, every, batch)
        reset[(np.arange(TIME)[:, None] + phase) % every == 0] = True
    return Case(cell, LAYERS[cell](size, size, seed=0), x, reset, d_output)


def of_fastrnn(case: Case) -> Runs:
    layer, x, reset, d_output = case.layer, case.x, case.reset, case.d_output
    reset = reset if reset.any() else None

    def train():
        grads = layer.vjp(x, reset=reset)[1](d_output)
        return {"input": grads.input, **grads.params}

    return {"forward": lambda: layer(x, reset=reset)[0], "train": train}


def _torch_layer(case: Case) -> tuple[Any, Any]:
    torch = module("torch")
    size = case.x.shape[2]
    layer = getattr(torch.nn, case.cell.upper())(size, size)
    layer.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in case.layer.params.items()})
    return torch, layer


def _trained(torch, case: Case, call: Callable, layer, batch_first: bool = False) -> Runs:
    """Return both modes of a call of torch's: x -> output, whatever its order of axes."""
    turned = (1, 0, 2) if batch_first else (0, 1, 2)
    x, d_output = (torch.from_numpy(a.transpose(turned).copy()) for a in (case.x, case.d_output))
    parameters = {name: getattr(layer, name) for name in NAMES}

    def forward():
        with torch.no_grad():
            return call(x).numpy().transpose(turned)

    def train():
        source = x.detach().requires_grad_()
        d = torch.autograd.grad(call(source), [source, *parameters.values()], d_output)
        return {"input": d[0].numpy().transpose(turned), **dict(zip(NAMES, d[1:], strict=True))}

    return {"forward": forward, "train": train}


def of_torch_module(case: Case) -> Runs:
    torch, layer = _torch_layer(case)
    import fastrnn.torch

    layer = fastrnn.torch.accelerate(layer)
    reset = torch.from_numpy(case.reset) if case.reset.any() else None
    return _trained(torch, case, lambda x: layer(x, reset=reset)[0], layer)


def of_loop(case: Case) -> Runs:
    torch, layer = _torch_layer(case)
    kept = 1 - torch.from_numpy(case.reset).to(torch.float32)[..., None]  # (T, B, 1)
    _, batch, size = case.x.shape

    def call(x):
        if not case.reset.any():
            return layer(x)[0]
        outputs, states = [], [torch.zeros(1, batch, size) for _ in case.layer.cell.states]
        for step, keep in zip(x, kept, strict=True):
            states = [keep * state for state in states]
            given = tuple(states) if len(states) > 1 else states[0]
            output, after = layer(step[None], given)
            states = after if isinstance(after, tuple) else [after]
            outputs.append(output)
        return torch.cat(outputs)

    return _trained(torch, case, call, layer)


def of_torchrl(case: Case, backend: str) -> Runs:
    torch, _ = _torch_layer(case)
    modules, tensordict = module("torchrl.modules"), module("tensordict")
    size, batch = case.x.shape[2], case.x.shape[1]
    keys = ["h", "c"][: len(case.layer.cell.states)]
    own = getattr(modules, f"{case.cell.upper()}Module")(
        size,
        size,
        in_keys=["x", *keys],
        out_keys=["y", *(("next", key) for key in keys)],
        recurrent_backend=backend,
        default_recurrent_mode=True,
    )
    layer = getattr(own, case.cell)
    layer.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in case.layer.params.items()})
    is_init = torch.from_numpy(case.reset.T.copy())[..., None]

    def call(x):
        return own(tensordict.TensorDict({"x": x, "is_init": is_init}, [batch, TIME]))["y"]

    return _trained(torch, case, call, layer, batch_first=True)


def of_jax(case: Case) -> Runs:
    jax = module("jax")
    jnp, lax = jax.numpy, jax.lax
    step = STEPS[case.cell]
    params = {name: jnp.asarray(case.layer.params[name]) for name in NAMES}
    x, reset, d_output = map(jnp.asarray, (case.x, case.reset[..., None], case.d_output))
    zeros = tuple(jnp.zeros(case.x.shape[1:], x.dtype) for _ in case.layer.cell.states)

    def layer(params, x):
        w_ih, w_hh, b_ih, b_hh = (params[name] for name in NAMES)

        def masked(state, given):
            a_x, cut = given
            state = tuple(jnp.where(cut, 0, s) for s in state)
            return step(jax, a_x, state[0] @ w_hh.T + b_hh, state)

        return lax.scan(masked, zeros, (x @ w_ih.T + b_ih, reset))[1]

    forward = jax.jit(layer)
    gradients = jax.jit(lambda params, x: jax.vjp(layer, params, x)[1](d_output))

    def train():
        d_params, d_x = jax.block_until_ready(gradients(params, x))
        return {"input": np.asarray(d_x), **d_params}

    return {"forward": lambda: np.asarray(forward(params, x)), "train": train}


CONTENDERS: dict[str, Callable[[Case], Runs]] = {
    "fastrnn": of_fastrnn,
    "torch module": of_torch_module,
    "loop": of_loop,
    "pad": lambda case: of_torchrl(case, "pad"),
    "scan": lambda case: of_torchrl(case, "scan"),
    "jax": of_jax,
}


class Measured(NamedTuple):
    cell: str
    mode: str
    batch: int
    size: int
    pattern: str
    cost: float  # our time over ours without a reset
    seconds: dict[str, float]  # of each contender
    missing: dict[str, str]  # and why one has none


def _check(name: str, got: Any, want: Any) -> None:
    """Raise ArithmeticError where a contender computes something else."""
    if not isinstance(want, dict):
        got, want = {"output": got}, {"output": want}
    for key, expected in want.items():
        error = float(np.abs(np.asarray(got[key]) - expected).max())
        error /= max(1.0, float(np.abs(expected).max()))
        if not error < 1e-3:
            raise ArithmeticError(f"{name}: {key} is off by {error:.1e}")


def measure(
    cell: str, shapes=SHAPES, modes=MODES, contenders=tuple(CONTENDERS), rounds: int = 5
) -> Iterator[Measured]:
    """Yield a Measured for each mode, shape and pattern of resets, all contenders in turns."""
    for batch, size in shapes:
        for mode in modes:
            for pattern, every in EVERY.items():
                case = case_of(cell, batch, size, every)
                runs, slow, missing = {}, {}, {}
                for name in contenders:
                    try:
                        run = CONTENDERS[name](case)[mode]
                        _check(name, run(), of_fastrnn(case)[mode]())
                    except (Missing, ArithmeticError, RuntimeError) as reason:
                        missing[name] = str(reason).splitlines()[0]
                        continue
                    before = time.perf_counter()
                    run()
                    once = time.perf_counter() - before
                    (slow if once > _SLOW else runs)[name] = once if once > _SLOW else run
                plain = of_fastrnn(case._replace(reset=case.reset & False))
                cost = _in_turns(of_fastrnn(case)[mode], plain[mode], 0.1 * rounds)
                found = interleaved(runs, rounds, 0.05)
                seconds = {name: float(np.median(times)) for name, times in found.items()}
                yield Measured(cell, mode, batch, size, pattern, cost, slow | seconds, missing)


def _in_turns(run: Callable, other: Callable, seconds: float) -> float:
    """Return the time of a call over that of another: the two take turns at every call."""
    wait_until_quiet()
    times, start = [], time.perf_counter()
    while len(times) < 9 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run()
        between = time.perf_counter()
        other()
        times.append((between - before, time.perf_counter() - between))
    first, second = np.median(times[2:], axis=0)
    return float(first / second)


def markdown(found: list[Measured]) -> str:
    """Return a table for each cell and mode: ours in ms, and how often others take it."""
    lines = []
    for cell, mode in dict.fromkeys((m.cell, m.mode) for m in found):
        rows = [m for m in found if (m.cell, m.mode) == (cell, mode)]
        others = [n for n in CONTENDERS if n != "fastrnn" and any(n in m.seconds for m in rows)]
        lines += [
            f"{cell.upper()}, {mode}:",
            "",
            "| B | H | resets | ours, ms | of ours without | " + " | ".join(others) + " |",
            "|---" * (5 + len(others)) + "|",
        ]
        for m in rows:
            ours = m.seconds["fastrnn"]
            ratios = [f"{m.seconds[n] / ours:.2f}" if n in m.seconds else "-" for n in others]
            start = f"| {m.batch} | {m.size} | {m.pattern} | {ours * 1e3:.3g} | {m.cost:.2f} | "
            lines.append(start + " | ".join(ratios) + " |")
        lines.append("")
    for name, reason in {n: r for m in found for n, r in m.missing.items()}.items():
        lines.append(f"{name}: {reason}")
    return "\n".join(lines) + "\n"


HEADING = """# Episodes inside sequences: what resets cost

The median time of ours in ms, its ratio to ours without a reset, in turns, and then how
many times as long others take: T = 128, I = H, float32. What each does: bench/cases/episodes.py.
`python -m bench episodes --out bench/report` measures it anew.
"""
