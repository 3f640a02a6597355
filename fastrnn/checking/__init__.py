"""The gradient checker: `fastrnn.gradcheck`, for this package's gradients and for anybody's.

How it reads: whatever a user hands in becomes a Problem (numpy.py, fastrnn.py; torch's in
fastrnn/torch/checked.py); an Evaluation of it is judged coordinate by coordinate (coordinates.py)
or along random directions (projections.py), against derivatives.py; besides, properties.py and
sequences.py; after a failure, diagnosis.py and location.py; all of it told by report.py,
drawn by plot.py, and asked for at the command line through check.py. mutants.py are errors
planted on purpose, by which the checker itself is checked (selftest.py).
"""

from fastrnn.checking.check import gradcheck as gradcheck
from fastrnn.checking.report import GradcheckError as GradcheckError
from fastrnn.checking.report import GradcheckReport as GradcheckReport
