"""Time and memory of a gradient as sequences grow to a million steps: an LSTM, B = 1, I = H = 64.

Each measurement runs in a process of its own, so that its peak memory is its own; contenders
alternate. The gradient of all parameters is computed from x and the gradient at the output, which
are in memory before; the memory reported is what is used above these.

    python -m bench long                               # the table and the plot
    python -m bench.cases.long_sequences CONTENDER T   # one measurement
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastrnn

SIZE = 64
WINDOW = 1000  # steps of truncated BPTT
TIMES = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
TIMEOUT = 90.0  # seconds for a process
Run = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def _layer():
    return fastrnn.LSTM(SIZE, SIZE, seed=0)


def _fastrnn(**options) -> Run:
    layer = _layer()

    def run(x, d_output):
        _, pullback = layer.vjp(x, **options)
        return pullback(d_output, wrt_input=False).params

    return run


def _truncated() -> Run:
    layer = _layer()

    def run(x, d_output):
        chunks = (x[t : t + WINDOW] for t in range(0, len(x), WINDOW))
        _, grads = fastrnn.truncated_bptt(
            layer, chunks, lambda output, t: d_output[t : t + len(output)], WINDOW, WINDOW
        )
        return grads.params

    return run


def _torch(accelerated: bool = False, checkpoint: bool = False) -> Run:
    import torch
    from torch.utils.checkpoint import checkpoint as recomputed

    layer = torch.nn.LSTM(SIZE, SIZE)
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in _layer().state_dict().items()})
    if accelerated:
        import fastrnn.torch

        layer = fastrnn.torch.accelerate(layer)
        layer.checkpoint = "auto"

    def in_pieces(x):
        state, outputs, steps = None, [], round(len(x) ** 0.5)
        for piece in x.split(steps):
            output, state = recomputed(layer, piece, state, use_reentrant=False)
            outputs.append(output)
        return torch.cat(outputs)

    def run(x, d_output):
        x, d_output = torch.from_numpy(x), torch.from_numpy(d_output)
        layer.zero_grad()
        output = in_pieces(x) if checkpoint else layer(x)[0]
        output.backward(d_output)
        return {name: weight.grad.numpy() for name, weight in layer.named_parameters()}

    return run


CONTENDERS: dict[str, Callable[[], Run]] = {
    "fastrnn": _fastrnn,
    "fastrnn, checkpoints": lambda: _fastrnn(checkpoint="auto"),
    "fastrnn, truncated": _truncated,
    "fastrnn.torch, checkpoints": lambda: _torch(accelerated=True),
    "torch": _torch,
    "torch, checkpoints": lambda: _torch(checkpoint=True),
}


def arrays(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and the gradient at the output."""
    random = np.random.default_rng(0)
    return random.standard_normal((steps, 1, SIZE), np.float32), (
        random.standard_normal((steps, 1, SIZE), np.float32)
    )


def ready(contender: str) -> Run:
    """Return a contender, after it has computed a right gradient of WINDOW steps.

    Raises:
        ArithmeticError: the gradient is wrong.
    """
    run, given = CONTENDERS[contender](), arrays(WINDOW)
    got, expected = run(*given), _fastrnn()(*given)
    for name, d in expected.items():
        error = np.abs(got[name] - d).max() / np.abs(d).max()
        if not error < 1e-4:
            raise ArithmeticError(f"{contender}: {name} is off by {error:.1e}")
    return run


def _status(name: str) -> int:
    """Return a line of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def one(contender: str, steps: int) -> dict:
    """Measure in this process: seconds, and bytes above those of the arrays passed in."""
    run, (x, d_output) = ready(contender), arrays(steps)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    times = []
    while not times or (sum(times) < 0.5 and len(times) < 30):
        start = time.perf_counter()
        run(x, d_output)
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "bytes": max(0, _status("VmHWM") - before)}


def measure(rounds: int = 3, say: Callable[[str], None] = print) -> list[dict]:
    """Return a row for each contender and length: seconds (the median) and bytes (the minimum)."""
    rows, slow = [], set()
    for steps in TIMES:
        found: dict[str, list[dict]] = {}
        for _ in range(rounds):
            for contender in CONTENDERS:
                if contender in slow:
                    continue
                module = "bench.cases.long_sequences"
                command = [sys.executable, "-m", module, contender, str(steps)]
                try:
                    done = subprocess.run(
                        command, check=True, text=True, capture_output=True, timeout=TIMEOUT
                    )
                except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
                    say(f"{contender}, T = {steps:,}: {type(error).__name__}; left out from here")
                    slow.add(contender)
                    continue
                found.setdefault(contender, []).append(json.loads(done.stdout))
        for contender, results in found.items():
            seconds = statistics.median(r["seconds"] for r in results)
            row = {
                "contender": contender,
                "steps": steps,
                "seconds": seconds,
                "bytes": min(r["bytes"] for r in results),
            }
            rows.append(row)
            say(
                f"{contender}, T = {steps:,}: {seconds / steps * 1e6:.2f} us a step, "
                f"{row['bytes'] / 1e6:.0f} MB"
            )
    return rows


def markdown(rows: list[dict]) -> str:
    """Return the table: microseconds a step and megabytes, for each length."""
    found = {(row["contender"], row["steps"]): row for row in rows}
    lines = [
        "# Long sequences",
        "",
        __doc__.partition("\n\n")[2].partition("\n\n")[0],
        "",
        "Microseconds a step, and megabytes (256 MB of a million steps are the output):",
        "",
        "| contender | " + " | ".join(f"T = {steps:,}" for steps in TIMES) + " |",
        "|---|" + "---|" * len(TIMES),
    ]
    for contender in CONTENDERS:
        cells = [
            f"{row['seconds'] / steps * 1e6:.2f} us, {row['bytes'] / 1e6:,.0f} MB" if row else "-"
            for steps in TIMES
            for row in [found.get((contender, steps))]
        ]
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], int(sys.argv[2]))))
