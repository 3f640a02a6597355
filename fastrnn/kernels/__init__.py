"""HOW the arithmetic runs: it knows arrays, not recurrence."""

# What kernels are linked to has to be known before the first of them is compiled (linked.py).
from fastrnn.kernels import dots as dots
from fastrnn.kernels import tile as tile
