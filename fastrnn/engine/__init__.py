"""WHEN: one direction of one layer over time, compiled; knows arrays, and names no cell."""
