"""Recurrent networks as compiled kernels: fast on the CPU, from NumPy alone.

This file is the lazy front door, and deliberately holds no list of names: _public.py does.

How the package reads: `kernels` compute, `cells` define one time step, `engine` runs it over time,
`nn` exposes it as layers, and `functional` as functions of arrays. `losses` and `optim` train it,
`reference` is what its numbers are compared with, and `checking` compares gradients. `torch`,
`models`, `demos` and `cli` are built on these.

Notation of shapes, in every file: T time, B batch, I input size, H hidden size, G gates, P the size
of a projection, E what a step emits (P, or H without a projection), D directions.

`import fastrnn` loads neither Numba nor any other file of the package; the first use of a name
does. pytest imports the package at every start, for its plugin, even where nobody wants a network.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers know the name; `typing` takes longer to load than all else
if TYPE_CHECKING:
    from fastrnn._public import *  # noqa: F403
else:  # type checkers would take a module with a `__getattr__` to have every name
    # These need packages that may be missing; they are attributes only once imported by name.
    _APART = ("demos", "pytest_plugin", "torch")

    def _load():
        """Load the public names, make them attributes, and return them."""
        from importlib import import_module

        public = vars(import_module("fastrnn._public"))
        # Where pytest rewrites assertions, it adds names with an @ to modules.
        names = [name for name in public if name.isidentifier() and not name.startswith("_")]
        for name in names:
            globals().setdefault(name, public[name])  # what a user has replaced stays
        return names

    def __getattr__(name):
        """Return a module of the package, loading it alone, or a public name, loading all of them.

        Loading modules alone keeps imports free of circles: `from fastrnn import checks`, in a
        file that the public names need, ends here too.
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
