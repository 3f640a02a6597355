"""The benchmark suite: who is fastest, how near to the machine's limit, and is it still so.

`python -m bench` lists the commands; `python -m pytest bench` runs the same measurements under
pytest-benchmark. Nothing in the package depends on it.
"""
