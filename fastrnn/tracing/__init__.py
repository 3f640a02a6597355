"""The gradient, seen: what a layer computes inside, step by step, and how its gradient flows.

`trace` gives the arrays (traces.py), `gradient_flow` what they say: how fast the gradient vanishes
or explodes (flow.py), the spectral radii behind it (jacobian.py), and a picture (plot.py). The
numbers are those of the training pass itself, which is run one step at a time and watched
(recorder.py): nothing of BPTT is written twice, and no cell is named.
"""

from fastrnn.tracing.flow import Curve, GradientFlow, PassFlow, Saturation, gradient_flow
from fastrnn.tracing.traces import PassTrace, Trace, trace

__all__ = [
    "Curve",
    "GradientFlow",
    "PassFlow",
    "PassTrace",
    "Saturation",
    "Trace",
    "gradient_flow",
    "trace",
]
