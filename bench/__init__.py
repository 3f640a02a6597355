"""The benchmark suite: this package against other libraries, the machine's limits, and its past.

`python -m bench` lists the commands; `python -m pytest bench` runs the same measurements under
pytest-benchmark, from bench_*.py. What is measured is in cases/, how in tools/, and the last report
in report/. Nothing in the package depends on it.
"""
