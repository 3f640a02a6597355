"""What users hold: layers, cells, streams, Linear, and their one way to the kernels."""
