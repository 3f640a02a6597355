"""The command line, `python -m fastrnn` or `fastrnn`: parsing and printing, nothing else.

What each command does is in the file of its name; how it ends, in `ending` and `interrupt`.
"""

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import fastrnn
from fastrnn.claims import Claim
from fastrnn.cli.ending import CTRL_C, ended, refuse, refuse_usage
from fastrnn.cli.info import installation
from fastrnn.cli.interrupt import ended_by_ctrl_c, interruptible

try:
    import typer

    from fastrnn.checking import options
    from fastrnn.cli import character_model, check_target, config
    from fastrnn.cli import check as check_command
    from fastrnn.cli import demo as demo_command
    from fastrnn.cli import train as train_command
    from fastrnn.plotting import FORMATS
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package not in ("typer", "rich", "safetensors"):
        raise
    refuse(f'the commands need {package}: pip install "fastrnn[cli]"')

_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # the only one of the family that Typer shows
DEFAULTS = config.Config()
app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fast recurrent networks on the CPU.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fastrnn {fastrnn.__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Fast recurrent networks on the CPU."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _option(name: str, help: str, of: Any = DEFAULTS) -> Any:
    """An option whose default is the configuration's; None says that it was not given."""
    return typer.Option(
        f"--{name.replace('_', '-')}", help=f"{help} [default: {getattr(of, name)}]"
    )


def _choice(name: str) -> Any:
    return _option(name, f"One of {', '.join(config.CHOICES[name])}.")


@app.command()
def train(
    text: Annotated[
        list[Path] | None,
        typer.Argument(help="UTF-8 files; none: Python's own documentation.", show_default=False),
    ] = None,
    cell: Annotated[str | None, _choice("cell")] = None,
    hidden: Annotated[int | None, _option("hidden", "Hidden units per layer.")] = None,
    layers: Annotated[int | None, _option("layers", "Layers on top of each other.")] = None,
    seq_len: Annotated[int | None, _option("seq_len", "Characters that a gradient spans.")] = None,
    batch: Annotated[int | None, _option("batch", "Places of the text read side by side.")] = None,
    lr: Annotated[float | None, _option("lr", "Learning rate.")] = None,
    steps: Annotated[int | None, _option("steps", "Updates, in total.")] = None,
    optimizer: Annotated[str | None, _choice("optimizer")] = None,
    clip: Annotated[float | None, _option("clip", "Longest gradient; 0: any.")] = None,
    seed: Annotated[int | None, _option("seed", "Of the initial weights.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The model file; a model that is there already is kept, as NAME.previous, "
            "NAME.previous.2, ... [default: the resumed file, or model.safetensors]"
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with this model file; its options stay, but for --steps."),
    ] = None,
) -> None:
    """Train a character language model; Ctrl-C saves it and stops."""
    asked = {
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "seq_len": seq_len,
        "batch": batch,
        "lr": lr,
        "steps": steps,
        "optimizer": optimizer,
        "clip": clip,
        "seed": seed,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    path = out or resume or Path("model.safetensors")
    with ended_by_ctrl_c(), Claim(path) as claim:  # or saved, and then ended
        run = train_command.prepared(options, text or (), resume)
        train_command.train(run, path, resume, claim)


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="A file of `fastrnn train`.")],
    prompt: Annotated[str, typer.Option(help="The text to continue.")] = "",
    length: Annotated[int, typer.Option(help="Characters to write.")] = 500,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest character.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the random choices.")] = 0,
) -> None:
    """Write text with a trained model: the prompt and what follows."""
    network = character_model.load(model)
    characters = character_model.sample(network, prompt, length, temperature, seed)
    with ended_by_ctrl_c():
        interruptible(lambda: train_command.write(prompt, characters))


def _size(name: str, help: str) -> Any:
    return _option(name, help, check_target.LayerOptions)


def _flag(name: str, help: str) -> Any:
    return typer.Option(f"--{name}", help=help, show_default=False)


@app.command()
def gradcheck(
    target: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(check_target.LAYERS)}; or your own, module:function, "
            "of which the inputs, a tuple of arrays or a function that returns it, are "
            "function_inputs in the module, or the attribute function.inputs.",
            show_default=False,
        ),
    ] = None,
    input_size: Annotated[int | None, _size("input", "Features that a layer reads.")] = None,
    hidden: Annotated[int | None, _size("hidden", "Hidden units per layer.")] = None,
    seq: Annotated[int | None, _size("seq", "Time steps.")] = None,
    batch: Annotated[int | None, _size("batch", "Sequences side by side.")] = None,
    layers: Annotated[int | None, _size("layers", "Layers on top of each other.")] = None,
    bidirectional: Annotated[bool, _flag("bidirectional", "Both directions.")] = False,
    proj: Annotated[int | None, _size("proj", "Projection of an LSTM; 0: none.")] = None,
    dropout: Annotated[float | None, _size("dropout", "Between layers.")] = None,
    lengths: Annotated[bool, _flag("lengths", "Sequences of different lengths.")] = False,
    one_hot: Annotated[bool, _flag("one-hot", "Integers as input.")] = False,
    dtype: Annotated[str | None, _size("dtype", "float32 or float64.")] = None,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(options.METHODS)}.")] = "auto",
    mode: Annotated[
        str,
        typer.Option(
            help="full: every coordinate; sample: some of every parameter, gate and time; "
            "project: random directions, for any size."
        ),
    ] = "full",
    samples: Annotated[int, typer.Option(help="Coordinates of each part, in mode sample.")] = 12,
    projections: Annotated[int, typer.Option(help="Directions, in mode project.")] = 5,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    second_order: Annotated[
        bool, _flag("second-order", "Also: the gradient's own derivative is symmetric.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the report as JSON; -: to stdout, and no table.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help=f"Draw the report: {', '.join(FORMATS)}.")
    ] = None,
    self_test: Annotated[
        bool, _flag("self-test", "Check the checker itself, by errors planted on purpose.")
    ] = False,
) -> None:
    """Check a gradient against the function itself; status 0: right, 1: wrong, 2: misuse."""
    sizes = {
        "input": input_size,
        "hidden": hidden,
        "seq": seq,
        "batch": batch,
        "layers": layers,
        "bidirectional": bidirectional or None,
        "proj": proj,
        "dropout": dropout,
        "lengths": lengths or None,
        "one_hot": one_hot or None,
        "dtype": dtype,
    }
    asked = {name: value for name, value in sizes.items() if value is not None}
    if self_test:
        _self_test(target, asked, json or picture)
    check_target.check_range(
        {**asked, "samples": samples, "projections": projections, "seed": seed}
    )
    check_command.prepare(json, picture)
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints
        found, inputs = check_target.find(target, asked, seed)
        with ended_by_ctrl_c(), check_command.progress_bar(mode) as progressed:
            report = interruptible(
                lambda: check_command.check(
                    str(target),
                    found,
                    inputs,
                    method=method,
                    mode=mode,
                    n_samples=samples,
                    n_projections=projections,
                    seed=seed,
                    second_order=second_order,
                    progress=progressed,
                )
            )
    check_command.show(report, json, picture)
    raise typer.Exit(not report.ok)


@app.command()
def demo(
    name: Annotated[
        str | None, typer.Argument(help="Which; none: what there is.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help=f"Draw what was found: {', '.join(FORMATS)}.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    quick: Annotated[bool, _flag("quick", "Seconds, with less data and poorer figures.")] = False,
) -> None:
    """Show recurrent networks on real data, beside simpler methods."""
    if name is None:
        demo_command.show_list(picture)
        return
    run = demo_command.find(name, picture, seed)
    with ended_by_ctrl_c(), demo_command.progress_bar() as report:
        result, seconds = interruptible(lambda: demo_command.timed(run, quick, seed, report))
    demo_command.show(result, seconds, picture)


@app.command()
def info() -> None:
    """Show what this installation computes with."""
    print(installation())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: what to parse; None for those of the process.

    Raises:
        SystemExit: always; its code is the exit status.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character that a model has
    with ended():
        try:
            status = app(arguments, prog_name="fastrnn", standalone_mode=False)
        except typer.Abort:
            status = CTRL_C
        except SystemExit as stop:
            if isinstance(stop.__context__, BrokenPipeError):  # which Typer makes a 1
                raise stop.__context__ from None
            raise
        except _USAGE_ERROR as error:
            refuse_usage(error)
    sys.exit(int(status or 0))


def _self_test(target: str | None, sizes: dict, file: Path | None) -> NoReturn:
    if target or sizes or file:
        raise ValueError("--self-test goes alone: leave out the target and its options")
    from fastrnn.checking.selftest import self_test

    with ended_by_ctrl_c(), check_command.progress_bar() as progressed:
        result = interruptible(lambda: self_test(progressed))
    print(result.table())
    raise typer.Exit(not result.ok)


if __name__ == "__main__":
    main()
