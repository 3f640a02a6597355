"""The gradient checker: `fastrnn.gradcheck`, for this package's gradients and for anybody's.

How a check runs (verdict.py): whatever a user hands in becomes a Problem (targets/). Its gradient,
evaluated at one point (evaluation.py), with the outputs in units of their own (outputs.py), is
compared with numeric derivatives (derivatives.py) coordinate by coordinate (coordinates.py,
comparison.py, closer.py) or along random directions (projections.py). How far the two may be apart
is in tolerance.py and rounding.py. Further properties are tested (properties.py, sequences.py).
After a failure, diagnosis.py looks for likely causes and location.py for the first wrong time step.
The result is report.py, as text table.py, as a picture plot.py. selftest.py checks the checker with
errors planted on purpose (mutants.py, extremes.py).
"""

from fastrnn.checking.check import gradcheck as gradcheck
from fastrnn.checking.report import GradcheckError as GradcheckError
from fastrnn.checking.report import GradcheckReport as GradcheckReport
