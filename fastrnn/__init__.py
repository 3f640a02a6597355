"""Recurrent networks as compiled kernels: fast on the CPU, from NumPy alone.

The public names are listed in _public.py. How the package reads: cells computed by kernels, run
over time by recurrence, in a workspace, by passes, worn as functions (functional) and layers, one
step at a time in steps; trained with losses and optim; judged by reference, and gradients by
checking.

The letters of shapes, in every file: T time, B batch, I input size, H hidden size, G gates;
where there is a projection, P its size; E what is emitted (P, or H without one); D directions.

`import fastrnn` loads neither Numba nor any other file: the first use of a name does. pytest
imports the package at every start, for its plugin, also where nobody wants a network.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastrnn._public import *  # noqa: F403
else:  # type checkers would take a module with a `__getattr__` to have every name there is
    # They need packages that may be missing, and are there once they are imported by name.
    _APART = ("charlm", "demos", "pytest_plugin", "torch")

    def _load():
        """Load the public names, make them attributes, and return them."""
        from importlib import import_module

        public = vars(import_module("fastrnn._public"))
        # Where pytest rewrites assertions, it puts names with an @ into modules.
        names = [name for name in public if name.isidentifier() and not name.startswith("_")]
        for name in names:
            globals().setdefault(name, public[name])  # one that a user has replaced stays
        return names

    def __getattr__(name):
        """Return a module of the package, which loads that one, or a public name: loads them all.

        That modules come alone keeps imports free of circles: `from fastrnn import workspace`, in
        a file that the public names need, also ends here.
        """
        from importlib import import_module, util

        if name == "__all__":  # of `from fastrnn import *`
            return _load()
        if not name.startswith("__") and name not in _APART:
            if util.find_spec(f"fastrnn.{name}"):
                return import_module(f"fastrnn.{name}")
            if not name.startswith("_") and name in _load():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        """Return what tab completion shows."""
        return sorted({*globals(), *_load()} - {"TYPE_CHECKING"})
