"""What users hold: layers, cells, streams, Linear, and their one way to the kernels."""

# Whole, before any file here wants a part of it: threads may import files here all at once.
from fastrnn import kernels as kernels
