"""Reports of gradient checks, made by hand: right ones, wrong ones, long and awkward ones.

And what is in the picture of one; needs matplotlib only for that.
"""

import math

from fastrnn.checking import GradcheckReport, plot
from fastrnn.checking.location import Location
from fastrnn.checking.report import Coordinate, VariableReport
from tests.support import pictures

GATES = ("i", "f", "g", "o")


def coordinate(name, excess):
    return Coordinate(f"{name}[0]", name, (0,), 1.0 + excess, 1.0, excess, 0.1, 1e3, 1.0)


def variable(name, excess, **more):
    return VariableReport(
        name, (20, 5), 100, wrong=int(excess > 1), worst=coordinate(name, excess), **more
    )


def report_of(variables, **more):
    worst = max((v.worst for v in variables if v.worst), key=lambda c: c.excess, default=None)
    return GradcheckReport(
        "target",
        "function",
        "richardson: asked for",
        "full",
        0,
        variables=variables,
        ok=not any(v.wrong for v in variables),
        worst=worst,
        **more,
    )


def located(where="", steps=7, gates=GATES, first=(3, ["f"]), **more):
    excess = [[1e4 if t <= 3 and g == 1 else 0.05 for t in range(steps)] for g in range(len(gates))]
    return Location(where, list(range(steps)), gates, excess, first, steps, **more)


def wrong_lstm(layers, **more):
    """A report as of a stack of bidirectional LSTMs that is wrong everywhere."""
    names = [
        f"{kind}_l{layer}{direction}"
        for layer in range(layers)
        for direction in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    gates = dict(zip(GATES, (0.0, 3.0, 5e3, math.inf), strict=True))
    location = located("layer 0")
    location.others = [
        located(f"layer {layer}, reverse", reverse=True) for layer in range(1, layers)
    ]
    sweep = [(10.0**-k, 0.1) for k in range(1, 12)]
    return report_of(
        [variable("input", 0.3), *(variable(n, 1e6, gates=gates) for n in names)],
        location=location,
        sweep=sweep,
        **more,
    )


REPORTS = {
    "three": report_of([variable(name, 0.1) for name in "xyz"]),
    "wrong": report_of([variable("x", 0.1), variable("y", 3e9)], sweep=[(0.1, 1.0), (0.01, 0.9)]),
    "none": report_of([VariableReport("x", (3,), note="no gradient given")]),
    "infinite": report_of([variable("x", math.inf), variable("y", 0.0)], sweep=[(0.1, math.inf)]),
    "forty": wrong_lstm(4),
    "hundred": wrong_lstm(10),
    "long": report_of(
        [variable(f"encoder.layers.{k}.self_attention.in_projection_weight", k) for k in range(9)],
        location=located(steps=64, gates=("",), first=(3, [""])),
    ),
    "dollars": report_of([variable("$x^{", 3.0), variable("_$\\", 3.0), variable("", 0.1)]),
    "project": GradcheckReport(
        "target",
        "layer",
        "richardson: asked for",
        "project",
        0,
        variables=[VariableReport("x", (3,))],
        projections=[(1.0, 1.0, 0.1), (1.0, 2.0, 0.0)],
    ),
}


def drawn(report):
    return pictures.drawn(lambda figure: plot.fill(figure, report))


def words(texts):
    return [text for text, _ in texts]


def axes_of(figure, label):
    return [
        ax
        for ax in figure.findobj(lambda a: hasattr(a, "get_xlabel"))
        if ax.get_xlabel().startswith(label)
    ]
