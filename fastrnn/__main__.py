"""The command line, `python -m fastrnn` or `fastrnn`: its start, and how every way of it ends.

What is parsed and printed is in cli/app.py, which is loaded only when Ctrl-C is answered: that
takes a second, and until then Python would answer with a traceback.
"""

# Python's own core of `signal`, which itself takes ten milliseconds to load.
import _signal  # pyright: ignore[reportMissingImports]
import os


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: what to parse; None for those of the process.

    Raises:
        SystemExit: always; its code is the exit status.
    """
    answered = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if answered:  # not where Ctrl-C is ignored, as in the background
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))
    from fastrnn.cli.ending import ended, refuse

    try:
        with ended():
            try:
                from fastrnn.cli.app import main as run
            except ValueError as error:  # a variable of the environment
                refuse(error)
            except Exception as error:
                refuse(f"cannot be loaded: {type(error).__name__}: {error}")
            run(arguments)
    finally:
        if answered:  # all is done: while Python ends it is too late
            _signal.signal(_signal.SIGINT, _signal.SIG_IGN)


if __name__ == "__main__":
    main()
