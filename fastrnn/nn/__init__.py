"""What users hold: layers, cells of one step, streams, Linear; and the one way from them to the kernels."""
