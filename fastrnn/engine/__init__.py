"""WHEN: one direction of one layer run over time, forward and backward, compiled; no cell is named."""
