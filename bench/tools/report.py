"""The report: every contender at every shape in one run, as Markdown and JSON; plots.py draws it.

Losses are shown as plainly as wins: every row has the ratio to the best of the others, and those
below 1 are also listed at the top.
"""

import json
import os
import platform
import subprocess
import time
import tracemalloc
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np

import fastrnn
from bench.cases.contenders import CONTENDERS
from bench.cases.problems import Problem
from bench.cases.shapes import GRID, GROWTH, SHAPES, Shape
from bench.tools import peak
from bench.tools.measure import Result, Timing, measure, ready
from bench.tools.timing import wait_until_quiet
from fastrnn.kernels import tile

# Modes that are not run at all shapes, and the shapes they are run at.
_USUAL = ("keyword_spotting", "char_lm", "square")
SHAPES_OF = {
    "stream": ("one_step", "one_step_wide", "decoder"),
    "varlen": _USUAL,
    "varlen_train": _USUAL,
    "one_hot": ("char_lm", "word_lm"),
    "float64": _USUAL,
    "float64_train": _USUAL,
}
PEERS = [name for name in CONTENDERS if name != "reference"]


def machine() -> dict:
    """Return a description of what the numbers depend on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    versions = {}
    for name in ("fastrnn", "numba", "numpy", "torch", "onnxruntime", "openvino", "jax"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        check=False,
        text=True,
        capture_output=True,
        cwd=Path(__file__).parent,
    )
    return {
        "CPU": model,
        "cores": os.cpu_count(),
        "threads": fastrnn.get_num_threads(),
        "kernels": tile.describe(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
        "commit": commit.stdout.strip() or "unknown",
        "limits": peak.limits(),
    }


def described(info: dict) -> str:
    """Return in a line what `machine` returns, without the limits."""
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    return (
        f"{info['CPU']}, {info['cores']} cores, {info['threads']} threads; {info['system']}; "
        f"commit {info['commit']}. {versions}."
    )


def draw_grid(count: int, seed: int = 0) -> list[Shape]:
    """Return shapes drawn from the grid, without the largest, which take minutes."""
    random, shapes = np.random.default_rng(seed), []
    while len(shapes) < count:
        time_, batch = int(random.choice(GRID["time"])), int(random.choice(GRID["batch"]))
        shape = Shape(time_, batch, *map(int, random.choice(GRID["size"], 2)))
        if time_ * batch * shape.hidden * (shape.input + shape.hidden) < 1.5e10:
            shapes.append(shape)
    return shapes


def seldom(problem: Problem, contenders, every: float = 0.02, calls: int = 25) -> dict[str, tuple]:
    """Return for each contender the median time of calls back to back, and of calls with pauses."""
    runs, _, _ = ready(problem, contenders)
    result = {}
    for name, run in runs.items():
        wait_until_quiet()
        times: tuple[list, list] = ([], [])
        for pause, taken in zip((0.0, every), times, strict=True):
            for _ in range(calls):
                time.sleep(pause)
                before = time.perf_counter()
                run()
                taken.append(time.perf_counter() - before)
        result[name] = tuple(float(np.median(taken)) for taken in times)
    return result


def memory(cell: str = "lstm") -> dict[str, list]:
    """Return bytes against T: the output, inference beyond it, training's residuals, its peak."""
    rows: dict[str, list] = {"T": [], "output": [], "inference": [], "kept": [], "training": []}
    for shape in GROWTH:
        problem = Problem(cell, shape)
        layer, x = problem.layer, problem.x
        layer(x)
        tracemalloc.start()
        output = layer(x)[0]
        inference = tracemalloc.get_traced_memory()[1] - output.nbytes
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        (output, _), pullback = layer.vjp(x)
        pullback(problem.d_output)
        training = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        for name, value in zip(
            rows, (shape.time, output.nbytes, inference, pullback.nbytes, training), strict=True
        ):
            rows[name].append(int(value))
    return rows


def _table(results: Iterable[Result]) -> list[str]:
    peers = [name for name in PEERS if name != "fastrnn"]
    lines = [
        "| cell | shape | T, B, I, H | ms | GFLOP/s | of peak | "
        + " | ".join(peers)
        + " | best | error |",
        "|---|---|---|---|---|---|" + "---|" * len(peers) + "---|---|",
    ]
    for r in results:
        ours, best = r.ours.seconds, r.best_peer
        ratios = [f"{r.timings[p].seconds / ours:.2f}" if p in r.timings else "-" for p in peers]
        shown = "-" if best is None else f"{best[1]:.2f}"
        shown = f"**{shown}**" if best is not None and best[1] < 1 else shown
        lines.append(
            f"| {r.cell} | {r.name} | {', '.join(map(str, r.shape))} | {ours * 1e3:.4g} | "
            f"{r.operations / ours / 1e9:.1f} | {r.share:.0%} | "
            + " | ".join(ratios)
            + f" | {shown} | {r.ours.error:.0e} |"
        )
    return lines


def summary(results: list[Result]) -> list[str]:
    """Return one line for each mode: how often and by how much we are faster."""
    lines = ["| mode | problems | geometric mean | minimum | below 1 |", "|---|---|---|---|---|"]
    for mode in dict.fromkeys(r.mode for r in results):
        best = np.array([r.best_peer[1] for r in results if r.mode == mode and r.best_peer])
        if best.size:
            lines.append(
                f"| {mode} | {best.size} | {np.exp(np.log(best).mean()):.2f} | "
                f"{best.min():.2f} | {(best < 1).sum()} |"
            )
    return lines


def markdown(data: dict, results: list[Result]) -> str:
    """Return the report."""
    info = data["machine"]
    lines = [
        "# How fast fastrnn is",
        "",
        described(info),
        "",
        "All contenders in one process, in alternating blocks of calls, each started when all "
        "threads are quiet; medians. A number below a name is that contender's time over ours: "
        "above 1 we are faster. `of peak` is our share of the multiply-adds per second measured in "
        "the same run; "
        "`error` is ours against the float64 reference. JAX: jit of lax.scan.",
        "",
        "| limit | measured |",
        "|---|---|",
        *(f"| {name} | {value:.0f} |" for name, value in info["limits"].items()),
        "",
        *summary(results),
        "",
        "![speed-up](speedup.svg)",
        "",
        "![share of the machine](roofline.svg)",
        "",
    ]
    losses = [r for r in results if r.best_peer and r.best_peer[1] < 1]
    if losses:
        lines += ["## Where another is faster", "", *_table(losses), ""]
    for mode in dict.fromkeys(r.mode for r in results):
        lines += [f"## {mode}", "", *_table(r for r in results if r.mode == mode), ""]
    if data.get("seldom"):
        lines += [
            "## Calls every 20 ms",
            "",
            "Milliseconds back to back, and every 20 ms.",
            "",
            "| problem | " + " | ".join(PEERS) + " |",
            "|---|" + "---|" * len(PEERS),
        ]
        for name, times in data["seldom"].items():
            cells = [
                f"{times[p][0] * 1e3:.3f}, {times[p][1] * 1e3:.3f}" if p in times else "-"
                for p in PEERS
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    if data.get("growth"):
        lines += [
            "## As sequences grow",
            "",
            "Microseconds per step; B = 1, I = H = 64.",
            "",
            "![growth](growth.svg)",
            "",
            "![memory](memory.svg)",
            "",
            "| mode | cell | contender | " + " | ".join(f"T = {s.time:,}" for s in GROWTH) + " |",
            "|---|---|---|" + "---|" * len(GROWTH),
        ]
        for mode, cell, name, seconds in data["growth"]:
            cells = [
                "-" if s is None else f"{s / shape.time * 1e6:.2f}"
                for s, shape in zip(seconds, GROWTH, strict=True)
            ]
            lines.append(f"| {mode} | {cell} | {name} | " + " | ".join(cells) + " |")
        lines.append("")
    missing = {f"{name}: {why}" for r in results for name, why in r.missing.items()}
    if missing:
        lines += ["## Not measured", "", *(f"- {line}" for line in sorted(missing)), ""]
    return "\n".join(lines)


def growth(contenders, cells=("lstm", "gru"), say=print) -> list[tuple]:
    """Return (mode, cell, contender, seconds for each of GROWTH); None: too long to wait for."""
    rows = []
    for mode in ("forward", "train"):
        for cell in cells:
            found: dict[str, list] = {name: [] for name in contenders}
            for shape in GROWTH:
                names = [n for n in contenders if n == "fastrnn" or shape.time <= 10_000]
                result = measure(Problem(cell, shape, mode), names, rounds=3, seconds=0.02)
                for name in contenders:
                    timing = result.timings.get(name)
                    found[name].append(timing and timing.seconds)
                per_step = result.ours.seconds / shape.time
                say(f"{mode} {cell} T={shape.time}: {per_step * 1e6:.2f} us per step")
            rows += [(mode, cell, name, times) for name, times in found.items() if any(times)]
    return rows


def save(path: Path, data: dict, results: list[Result]) -> None:
    """Write results.json and report.md."""
    path.mkdir(parents=True, exist_ok=True)
    plain = [
        {**r._asdict(), "timings": {n: t._asdict() for n, t in r.timings.items()}} for r in results
    ]
    (path / "results.json").write_text(json.dumps({**data, "results": plain}, indent=1) + "\n")
    (path / "report.md").write_text(markdown(data, results))


def load(path: Path) -> tuple[dict, list[Result]]:
    """Return the data and results of a folder that `save` wrote."""
    data = json.loads((path / "results.json").read_text())
    results = [
        Result(
            **{
                **r,
                "shape": tuple(r["shape"]),
                "timings": {n: Timing(**t) for n, t in r["timings"].items()},
            }
        )
        for r in data.pop("results")
    ]
    return data, results


def shapes_of(grid: int) -> list[tuple[str, Shape]]:
    """Return the named shapes, and a number of shapes of the grid."""
    return [*SHAPES.items(), *(("grid", shape) for shape in draw_grid(grid))]
