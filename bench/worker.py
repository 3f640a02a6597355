"""A process that times problems on request, with whatever version of fastrnn it finds.

Lines of JSON in: {"cell", "shape", "mode", "seconds", "slower"}; lines of JSON out: {"times"}, or
{"error"}. Used by gate.py, which runs two versions side by side.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent.parent))  # behind PYTHONPATH, which has the version

from bench.problems import Problem
from bench.shapes import Shape
from bench.timing import block


def slowed(run, factor: float):
    """Return `run` made so much slower, to see whether the gate notices."""

    def slower():
        begin = time.perf_counter()
        run()
        end = begin + (time.perf_counter() - begin) * factor
        while time.perf_counter() < end:
            pass

    return slower if factor > 1 else run


def runner(problem: Problem):
    """Return what is timed. Uses nothing but the public interface: older versions have it too."""
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
