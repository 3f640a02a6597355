"""WHEN: one direction of one layer over time, compiled; knows arrays, and names no cell."""

# Whole, before any file here wants a part of it: threads may import files here all at once.
from fastrnn import kernels as kernels
