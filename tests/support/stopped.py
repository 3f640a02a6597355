"""A call that is stopped at each instant in turn, as Ctrl-C may stop it."""

import sys
from functools import partial


class Stopped(KeyboardInterrupt):
    """What stops it."""


def every_instant(module, call):
    """Yield functions that make the call: one stops it at its first line in a module, and so on.

    Each returns whether it stopped it; the last one does not. In between, the caller puts back what
    was there before the call.
    """
    over = False

    def stopped(instant):
        nonlocal over
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            if frame.f_code.co_filename != module.__file__:
                return None
            if event in ("line", "return"):
                count += 1
                if count == instant:
                    sys.settrace(None)
                    raise Stopped
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        except Stopped:
            return True
        finally:
            sys.settrace(before)
        over = True
        return False

    instant = 0
    while not over:
        instant += 1
        yield partial(stopped, instant)
