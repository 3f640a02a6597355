"""python -m bench: run, report, models, episodes, hosts, checkers, long, draw, gate."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import fastrnn
from bench.cases.contender import Missing
from bench.cases.contenders import CONTENDERS
from bench.cases.problems import MODES, Problem
from bench.cases.shapes import SHAPES, parse
from bench.tools import gate as gates
from bench.tools import report as reports
from bench.tools.measure import Result, measure
from fastrnn.cells import CELLS

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
console = Console(width=150)
Threads = Annotated[int | None, typer.Option(help="of all contenders; default: the cores")]
Contenders = Annotated[str, typer.Option("--contenders", "--who", help="separated by commas")]
_PEERS = ",".join(reports.PEERS)


def _threads(count: int | None) -> None:
    if count is not None:
        fastrnn.set_num_threads(count)


def _choice(text: str, allowed, what: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in allowed:
            raise typer.BadParameter(f"{name!r} is not a {what}; choose from {', '.join(allowed)}")
    return chosen


def _print(results: list[Result]) -> None:
    headings = (
        "mode",
        "cell",
        "T,B,I,H",
        "contender",
        "ms",
        "GFLOP/s",
        "of peak",
        "ratio",
        "error",
    )
    table = Table(*headings)
    for r in results:
        for name, timing in sorted(r.timings.items(), key=lambda item: item[1].seconds):
            rate = r.operations / timing.seconds / 1e9
            table.add_row(
                r.mode,
                r.cell,
                ",".join(map(str, r.shape)),
                name,
                f"{timing.seconds * 1e3:.4g}",
                f"{rate:.1f}",
                f"{rate / r.peak:.0%}",
                f"{timing.seconds / r.ours.seconds:.2f}",
                f"{timing.error:.0e}",
            )
        for name, reason in r.missing.items():
            table.add_row(r.mode, r.cell, ",".join(map(str, r.shape)), name, reason)
    console.print(table)


@app.command()
def run(
    shape: Annotated[list[str], typer.Option(help="T,B,I,H, or a name in bench/cases/shapes.py")],
    cell: Annotated[str, typer.Option(help="separated by commas")] = "lstm,gru,rnn_tanh",
    mode: Annotated[str, typer.Option(help=f"of {', '.join(MODES)}")] = "forward,train",
    contenders: Contenders = _PEERS,
    rounds: int = 7,
    threads: Threads = None,
    json: Annotated[Path | None, typer.Option(help="folder for results.json")] = None,
):
    """Measure shapes of your own: all contenders that are installed, interleaved."""
    _threads(threads)
    cells = _choice(cell, [known.name for known in CELLS], "cell")
    modes, names = _choice(mode, MODES, "mode"), _choice(contenders, CONTENDERS, "contender")
    names = list(dict.fromkeys(["fastrnn", *names]))
    try:
        shapes = [(text, SHAPES[text]) if text in SHAPES else ("", parse(text)) for text in shape]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    results = [
        measure(Problem(c, s, m), names, name, rounds)
        for m in modes
        for name, s in shapes
        for c in cells
    ]
    _print(results)
    if json is not None:
        reports.save(json, {"machine": reports.machine()}, results)


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="folder")] = Path(__file__).parent / "report",
    grid: Annotated[int, typer.Option(help="number of shapes of the grid to add")] = 0,
    cell: str = "lstm,gru,rnn_tanh",
    mode: str = ",".join(MODES),
    contenders: Contenders = _PEERS,
    rounds: int = 5,
    growth: bool = True,
    threads: Threads = None,
):
    """Measure all contenders at every shape; write report.md, results.json and the plots."""
    from bench.tools import plots

    _threads(threads)
    cells = _choice(cell, [known.name for known in CELLS], "cell")
    modes, names = _choice(mode, MODES, "mode"), _choice(contenders, CONTENDERS, "contender")
    data, results = {"machine": reports.machine()}, []
    for m in modes:
        for name, shape in reports.shapes_of(grid if m in ("forward", "train") else 0):
            if name not in reports.SHAPES_OF.get(m, (name,)):
                continue
            for c in cells:
                result = measure(Problem(c, shape, m), names, name, rounds)
                results.append(result)
                best = result.best_peer
                against = f", {best[0]} / ours = {best[1]:.2f}" if best else ""
                console.print(
                    f"{m} {c} {name} {shape}: {result.ours.seconds * 1e3:.4g} ms, "
                    f"{result.share:.0%} of peak{against}"
                )
        reports.save(out, data, results)  # in case the rest is interrupted
    data["seldom"] = {
        f"{c} {name}": reports.seldom(Problem(c, SHAPES[name]), names)
        for c in cells
        for name in ("one_step", "forecast_b1", "speech_b1", "keyword_spotting")
    }
    if growth:
        data["growth"] = reports.growth(names, say=console.print)
        data["memory"] = reports.memory()
    reports.save(out, data, results)
    console.print(f"{out / 'report.md'} and {', '.join(plots.draw(out, data, results))}")


@app.command()
def models(
    case: Annotated[str, typer.Option(help="only those with this in their name")] = "",
    mode: Annotated[str, typer.Option(help="train, inference")] = "train,inference",
    pace: Annotated[str, typer.Option(help="back to back, every 20 ms")] = "",
    rounds: int = 5,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="folder for models.md")] = None,
):
    """Measure whole torch models, before and after fastrnn.torch.accelerate."""
    try:
        from bench.cases import torch_models as zoo
    except Missing as reason:
        raise typer.BadParameter(str(reason)) from None
    if threads is not None:
        zoo.torch.set_num_threads(threads)  # which ours follow
    names = [name for name in zoo.CASES if case in name]
    paces, modes = [p for p in zoo.PACES if pace in p], _choice(mode, zoo.MODES, "mode")
    found = []
    for m in zoo.measure(names, paces, modes, rounds):
        found.append(m)
        times = f"{m.torch * 1e3:.4g} / {m.ours * 1e3:.4g} ms"
        short = f"[red], bar {m.bar}[/red]" if m.ratio < m.bar else ""
        console.print(f"{m.name}, B {m.batch}, {m.mode}, {m.pace}: {times} = {m.ratio:.2f}{short}")
    tables = zoo.markdown(found)
    console.print(tables)
    if out is not None:
        (out / "models.md").write_text(
            f"{zoo.HEADING}\n{reports.described(reports.machine())}\n\n{tables}"
        )


@app.command()
def episodes(
    cell: Annotated[str, typer.Option(help="separated by commas")] = "lstm,gru",
    contenders: Annotated[str, typer.Option(help="separated by commas; default: all")] = "",
    rounds: int = 5,
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="folder for episodes.md")] = None,
):
    """Measure what resets inside sequences cost, and others' ways around them."""
    from bench.cases import episodes as resets

    _threads(threads)
    known, found = list(resets.CONTENDERS), []
    names = _choice(contenders, known, "contender") if contenders else known
    names = list(dict.fromkeys(["fastrnn", *names]))
    for c in _choice(cell, list(resets.LAYERS), "cell"):
        for m in resets.measure(c, contenders=names, rounds=rounds):
            found.append(m)
            times = ", ".join(f"{name} {s * 1e3:.3g}" for name, s in m.seconds.items())
            where = f"{c}, {m.mode}, B {m.batch}, H {m.size}, {m.pattern}"
            console.print(f"{where}: {m.cost:.2f} of ours without; {times} ms")
    tables = resets.markdown(found)
    console.print(tables)
    if out is not None:
        described = reports.described(reports.machine())
        (out / "episodes.md").write_text(f"{resets.HEADING}\n{described}\n\n{tables}")


@app.command()
def hosts(
    steps: Annotated[int, typer.Option(help="of all environments together")] = 40_960,
    out: Annotated[Path, typer.Option(help="folder")] = Path(__file__).parent / "report",
):
    """Train recurrent policies in sb3-contrib and torchrl, before and after; draw hosts.svg."""
    from bench.cases import hosts as trainings

    found = trainings.measure(steps, console.print)
    if not found:
        raise typer.BadParameter("no host is installed")
    trainings.picture(out / "hosts.svg", found)


@app.command()
def checkers(
    seeds: Annotated[int, typer.Option(help="how often each error is planted")] = 2,
    out: Annotated[Path, typer.Option(help="folder")] = Path(__file__).parent / "report",
):
    """Compare gradient checkers on the same planted errors; write checkers.md."""
    from bench.cases import gradient_checkers as compared

    rows = compared.measure(seeds, console.print)
    (out / "checkers.md").write_text(compared.markdown(rows))
    compared.picture(out / "gradcheck.svg")
    table = Table(*compared.COLUMNS)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


@app.command()
def long(
    rounds: int = 3,
    out: Annotated[Path, typer.Option(help="folder")] = Path(__file__).parent / "report",
):
    """Measure gradients of up to a million steps, time and memory; write long.md and long.svg."""
    from bench.cases import long_sequences as lengths
    from bench.tools import plots

    rows = lengths.measure(rounds, console.print)
    (out / "long.md").write_text(lengths.markdown(rows))
    plots.draw_long(out, rows)


@app.command()
def draw(out: Annotated[Path, typer.Option(help="folder")] = Path(__file__).parent / "report"):
    """Write report.md and the plots from a results.json, without measuring."""
    from bench.tools import plots

    data, results = reports.load(out)
    reports.save(out, data, results)
    console.print(", ".join(plots.draw(out, data, results)))


@app.command()
def gate(
    base: Annotated[str | None, typer.Option(help="revision to compare with")] = None,
    rounds: int = 9,
    slower: Annotated[float, typer.Option(help="factor that slows the kernels, as a test")] = 1.0,
    threads: Threads = None,
):
    """Fail if a kernel is slower than in --base; without it, if one is far from the peak."""
    _threads(threads)
    say = console.print if console.is_terminal else lambda line: None
    if base:
        verdicts = gates.compare(base, rounds=rounds, slower=slower, say=say)
        table = Table("case", "base ms", "here ms", "ratio", "noise", "verdict")
    else:
        verdicts = gates.efficiency(rounds=rounds, slower=slower, say=say)
        table = Table("case", "floor", "share of peak", "ratio", "spread", "verdict")
    for v in verdicts:
        text = v.error or ("[red]slower[/red]" if v.slower else "ok")
        table.add_row(
            v.case, f"{v.before:.3g}", f"{v.after:.3g}", f"{v.ratio:.3f}", f"{v.noise:.3f}", text
        )
    console.print(table)
    if any(v.slower for v in verdicts):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
