"""A process that times problems on request, with the version of fastrnn that PYTHONPATH names.

Lines of JSON in: {"cell", "shape", "mode", "seconds", "slower"}; lines of JSON out: {"times"}, or
{"error"}. Used by gate.py, which runs two versions side by side.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))  # after PYTHONPATH, which has the version

from bench.cases.problems import Problem
from bench.cases.shapes import Shape
from bench.tools.timing import block


def slowed(run, factor: float):
    """Return `run` made slower by a factor, to see whether the gate notices."""

    def slower():
        start = time.perf_counter()
        run()
        end = start + (time.perf_counter() - start) * factor
        while time.perf_counter() < end:
            pass

    return slower if factor > 1 else run


def runner(problem: Problem):
    """Return the function to time. It only uses public API, which older versions have too."""
    layer, x = problem.layer, problem.x
    if problem.mode.offer == "forward":
        return lambda: layer(x, lengths=problem.lengths)
    if problem.mode.offer == "step":
        stream, steps = layer.stream(problem.shape.batch), problem.steps()
        return lambda: stream(next(steps))
    return lambda: layer.vjp(x, lengths=problem.lengths)[1](problem.d_output)


def main() -> None:
    """Answer requests until there are no more."""
    runs: dict[tuple, object] = {}
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        known = (request["cell"], tuple(request["shape"]), request["mode"])
        try:
            if known not in runs:
                runs.clear()
                problem = Problem(known[0], Shape(*known[1]), known[2])
                runs[known] = slowed(runner(problem), request.get("slower", 1.0))
            answer = {"times": block(runs[known], request["seconds"])}
        except Exception as error:  # the version under test lacks something: say so, go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
