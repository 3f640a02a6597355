"""Inside a layer: its gates, states and gradients at every step, and how the gradient flows.

`trace` returns the arrays (traces.py). `gradient_flow` sums them up: how fast the gradient vanishes
or explodes (flow.py), the spectral radii that explain it (jacobian.py), as a table (report.py) and
a picture (plot.py). The numbers come from the training kernels themselves, run one step at a time
and recorded (recorder.py): BPTT is not written a second time, and no cell is named.
"""

from fastrnn.tracing.flow import gradient_flow
from fastrnn.tracing.report import Curve, GradientFlow, PassFlow, Saturation
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
