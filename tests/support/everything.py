"""All that the kernels of one cell and type do, at small shapes: layers, streams, checkpoints.

To compare one run of it with another, bit for bit, in other circumstances. As a program, it takes
`cell dtype file` and saves what it computes.
"""

import sys
from pathlib import Path

import numpy as np

SIZES = (
    {"T": 3, "B": 2, "I": 2, "H": 3},
    {"T": 5, "B": 7, "I": 17, "H": 33},
    {"T": 4, "B": 3, "H": 16, "I": 16, "lengths": (4, 0, 2), "bidirectional": True},
    {"T": 3, "B": 9, "I": 70, "H": 9, "one_hot": True, "num_layers": 2},
    {"T": 1, "B": 1, "I": 1, "H": 1, "bias": False},
    {"T": 0, "B": 2},
    {"T": 2, "B": 0},
    {"T": 3, "B": 2, "H": 40, "proj_size": 5},
    {"T": 12, "B": 2, "I": 200, "H": 300},
    {"T": 2, "B": 1, "I": 300, "H": 300},
    {"T": 1, "B": 2, "I": 32, "H": 32, "num_layers": 2},
)
LONG = (
    {"T": 7, "B": 3, "H": 33, "lengths": (4, 0, 7), "bidirectional": True},
    {"T": 9, "B": 2, "I": 70, "H": 40, "one_hot": True, "proj_size": 5},
    {"T": 30, "B": 1, "I": 200, "H": 300},
)


def everything(cell_name: str, dtype: str) -> dict:
    """Return all arrays by name; short sequences have checkpoints, too, while this runs."""
    from fastrnn.cells import CELLS
    from fastrnn.engine import plan
    from fastrnn.nn.program import prepare
    from tests.support.configurations import Configuration, run

    [cell] = [cell for cell in CELLS if cell.name == cell_name]
    results = {}

    def keep(name, arrays):
        results.update({f"{name} {key}": a.copy() for key, a in arrays.items() if a is not None})

    def configured(sizes):
        if "c" not in cell.states:
            sizes = {name: size for name, size in sizes.items() if name != "proj_size"}
        configuration = Configuration(cell, **sizes)
        return configuration, configuration.layer(dtype), configuration.values(dtype)

    for i, sizes in enumerate(SIZES):
        configuration, layer, values = configured(sizes)
        keep(i, run(layer, values, configuration.array_lengths()))
        if not configuration.bidirectional and configuration.B:
            stream = layer.stream(configuration.B)
            for t in range(configuration.T):
                keep(i, {f"stream {t}": stream(values["x"][t])})
    limits = {"_BLOCK_ROWS": (6, 6), "UNPACKED_STEPS": 0, "UNPACKED_ROWS": 0}
    before = {name: getattr(plan, name) for name in limits}
    try:
        for name, limit in limits.items():
            setattr(plan, name, limit)
        prepare.cache_clear()
        for i, sizes in enumerate(LONG):
            configuration, layer, values = configured(sizes)
            lengths = configuration.array_lengths()
            keep(f"checkpoints {i}", run(layer, values, lengths, checkpoint=1))
    finally:
        for name, limit in before.items():
            setattr(plan, name, limit)
        prepare.cache_clear()
    return results


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    np.savez(sys.argv[3], **everything(*sys.argv[1:3]))
