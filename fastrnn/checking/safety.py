"""How much more than its estimate an error may be before a gradient is called wrong.

Constants only; coordinates.tolerance and projections.py put them together.
"""

NUMERIC_SAFETY = 10.0  # times the estimated error of the numeric derivative
# Times the measured noise of the analytic gradient: noise is a standard deviation, but the largest
# error of thousands of entries counts.
ANALYTIC_SAFETY = 12.0
ULPS = 16.0  # units in the last place of the largest entry of the array
SATURATED_ULPS = 4.0  # of Evaluation.unsaturated_scale
