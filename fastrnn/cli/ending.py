"""How the command line ends: the status, and one line on stderr where something is wrong.

    0    it is done                     2    misuse, or something that cannot be done
    1    `gradcheck`: it is wrong       130  Ctrl-C                141  nobody reads its output

Loads nothing, for it has to be there before anything else is.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

MISUSE, CTRL_C, UNREAD = 2, 130, 141


@contextlib.contextmanager
def ended() -> Iterator[None]:
    """End the process where the block raises: misuse with one line, a mistake of ours with all.

    Raises:
        SystemExit: with the status.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None: it is closed
                sys.stdout.flush()
    except KeyboardInterrupt:
        os._exit(CTRL_C)
    except BrokenPipeError:
        _stop_output()
        sys.exit(UNREAD)
    except (ArithmeticError, MemoryError, OSError, ValueError) as error:
        _stop_output()
        refuse(error)
    except Exception as error:
        _stop_output()
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
        sys.exit(MISUSE)


def refuse(error: object) -> NoReturn:
    """Say in one line what is wrong, and end the process.

    Raises:
        SystemExit: always.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(f"fastrnn: {text}", file=sys.stderr, flush=True)
    sys.exit(MISUSE)


def refuse_usage(error: Any) -> NoReturn:
    """Say in one line what is wrong with the arguments, and how the command is called.

    Args:
        error: Typer's.

    Raises:
        SystemExit: always.
    """
    usage, command = "", "fastrnn"
    if error.ctx is not None:
        usage, command = f" {error.ctx.get_usage()};", error.ctx.command_path
    refuse(f"{error.format_message().rstrip('.')}.{usage} see {command} --help.")


def _stop_output() -> None:
    """Forget what cannot be written, or Python would complain of it once more at its end."""
    with contextlib.suppress(OSError, AttributeError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
