"""Plain functions as targets: one that returns its pullback, or a pair of forward and vjp.

Arrays in, arrays out. Inputs and outputs may be nested in tuples, lists and dicts (containers.py);
gradients may come as this package's `Gradients`. Layers are in fastrnn.py, torch's functions and
modules in torch.py and torch_module.py.
"""

import inspect
from collections.abc import Callable, Sequence

import numpy as np

from fastrnn import checks
from fastrnn.checking.problem import Problem, Variable
from fastrnn.checking.targets import containers
from fastrnn.nn.gradients import Gradients

GATES = {3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}  # torch's orders, of a GRU and an LSTM
# Names, without underscores, by which weights are recognised.
_INPUT = ("wih", "weightih", "wxh", "win", "kernel")
_RECURRENT = ("whh", "weighthh")
BLOCKED = (*_INPUT[:2], *_RECURRENT, "bih", "bhh", "biasih", "biashh")


def problem_of_function(function: Callable, inputs: tuple) -> Problem:
    """Return the problem of `function(*inputs) -> output, pullback`.

    Args:
        function: the target.
        inputs: its arguments.

    Raises:
        TypeError: an input is neither an array, a number, None, nor a container of these.
    """
    spread = _Inputs(function, inputs)

    def call(values):
        result = function(*spread.nested(values))
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise TypeError(
                f"gradcheck: {name_of(function)} returned a {_described(result)}; expected "
                "(output, pullback), where pullback(d_output) returns the gradients. For a "
                "function without one, pass the pair (forward, vjp)."
            )
        return result

    def vjp(values):
        output, pullback = call(values)
        return leaves(output), lambda cotangents: spread.gradients(
            _pull(pullback, output, cotangents)
        )

    return Problem(
        name_of(function), "function", spread.variables, lambda v: leaves(call(v)[0]), vjp
    )


def problem_of_pair(forward: Callable, vjp: Callable, inputs: tuple) -> Problem:
    """Return the problem of a pair of functions.

    Args:
        forward: `forward(*inputs) -> output`.
        vjp: `vjp(*inputs, d_output) -> gradients`.
        inputs: the arguments of both.

    Raises:
        TypeError: as for problem_of_function.
    """
    spread = _Inputs(forward, inputs)

    def with_gradient(values):
        nested = spread.nested(values)
        output = forward(*nested)

        def pullback(cotangents):
            return spread.gradients(vjp(*nested, rebuilt(output, cotangents)))

        return leaves(output), pullback

    return Problem(
        name_of(forward),
        "pair",
        spread.variables,
        lambda v: leaves(forward(*spread.nested(v))),
        with_gradient,
    )


def _pull(pullback, output, cotangents):
    """Call a pullback; one of this package takes d_output and d_state as two arguments."""
    nested = rebuilt(output, cotangents)
    own = str(getattr(pullback, "__module__", "")).startswith("fastrnn.")
    return pullback(*nested) if own and isinstance(nested, tuple) else pullback(nested)


class _Inputs:
    """The arguments of a function, and which arrays in them are variables."""

    def __init__(self, function, inputs):
        self.inputs, self.function = inputs, name_of(function)
        self.names = argument_names(function, len(inputs))
        found = []  # (name, array, the keys that lead to it)
        for position, (name, value) in enumerate(zip(self.names, inputs, strict=True)):
            self._find(name, value, (position,), found)
        gates = gates_of([Variable(name, value) for name, value, _ in found])
        self.variables = tuple(
            Variable(name, value, gates=gates if plain_name(name) in BLOCKED else ())
            for name, value, _ in found
        )
        self.where = [path for *_, path in found]

    def _find(self, name, value, path, found):
        if value is None or isinstance(value, bool | int | str):
            return  # passed on unchanged
        if containers.is_container(value):
            for key, member in containers.members(value):
                self._find(f"{name}{containers.shown(value, key)}", member, (*path, key), found)
            return
        array = checks.array("gradcheck: inputs", name, value, usual="float64")
        if array.dtype.kind in "iub":
            return
        if array.dtype not in checks.FLOATS:
            raise TypeError(
                f"gradcheck: inputs: {name} is {array.dtype}; expected float32 or float64 (or "
                f"integers, which are not differentiated), e.g. {name}.astype(np.float64)."
            )
        found.append((name, np.array(array, order="C"), path))

    def nested(self, values):
        """Return the arguments with these values in the places of the variables."""
        known = dict(zip(self.where, values, strict=True))

        def build(value, path):
            if path in known:
                return known[path]
            if containers.is_container(value):
                return containers.rebuilt(value, lambda key, member: build(member, (*path, key)))
            return value

        return [build(value, (i,)) for i, value in enumerate(self.inputs)]

    def gradients(self, given):
        """Return one gradient for each variable from what a pullback returned."""
        if isinstance(given, Gradients):
            given = self._by_name(given)
        elif len(self.inputs) == 1 and not self._is_all(given):
            given = (given,)
        if not isinstance(given, tuple | list) or len(given) != len(self.inputs):
            raise TypeError(
                f"gradcheck: the pullback of {self.function} returned a {_described(given)}; "
                f"expected a tuple of {len(self.inputs)}, a gradient for each of "
                f"{', '.join(self.names)}, None for one that has none."
            )
        for name, value, gradient in zip(self.names, self.inputs, given, strict=True):
            self._check_form(name, value, gradient)
        return [self._at(given, path) for path in self.where]

    def _is_all(self, given) -> bool:
        """Whether this is a tuple for the one input, not the gradient of that input itself."""
        if not isinstance(given, tuple | list) or containers.is_record(given):
            return False
        only = self.inputs[0]
        if not containers.is_container(only):
            return True
        return len(given) == 1 and (given[0] is None or containers.is_container(given[0]))

    def _check_form(self, name, value, gradient):
        """Refuse a gradient whose form is not its input's."""
        if gradient is None or not containers.is_container(value):
            return
        if not containers.same_form(value, gradient):
            raise TypeError(
                f"gradcheck: the pullback of {self.function} returned a {_described(gradient)} for "
                f"{name}; expected the gradients nested as the input is, or None."
            )
        for key, member in containers.members(value):
            shown = f"{name}{containers.shown(value, key)}"
            self._check_form(shown, member, containers.member(gradient, key))

    def _at(self, given, path):
        for key in path:
            given = None if given is None else containers.member(given, key)
        return given

    def _by_name(self, given: Gradients):
        rest = [given.input, given.state]
        return tuple(
            given.params.get(name, rest[i] if i < 2 else None) for i, name in enumerate(self.names)
        )


def gates_of(variables: Sequence[Variable]) -> tuple[str, ...]:
    """Return the names of the gates if one of the arrays is the recurrent weight of several."""
    shapes = {plain_name(v.name): v.value.shape for v in variables if v.value.ndim == 2}
    for name in _RECURRENT:
        if name in shapes:
            rows, hidden = shapes[name][0], shapes.get("whr", shapes[name])[1]
            if hidden and rows % hidden == 0:
                return GATES.get(rows // hidden, ())
    return ()


def sequence_weights(variables: Sequence[Variable], x: int) -> tuple[int, bool] | None:
    """Return the position of the weight that multiplies the input, and whether it is x @ w.

    It is recognised by its name, and by its shape: (n, I), or (I, n) for x @ w.

    Args:
        variables: of the problem.
        x: position of the input among them.
    """
    features = variables[x].value.shape[-1]
    for i, variable in enumerate(variables):
        if plain_name(variable.name) in _INPUT and variable.value.ndim == 2:
            if variable.value.shape[1] == features:
                return i, False
            if variable.value.shape[0] == features:
                return i, True
    return None


def plain_name(name: str) -> str:
    """Return a name in the form of BLOCKED: lower case, without underscores and layer number."""
    return name.lower().replace("_", "").removesuffix("l0")


def argument_names(function, count: int) -> list[str]:
    """Return the names of a function's first positional parameters, `inputs[i]` where unknown."""
    try:
        parameters = inspect.signature(getattr(function, "py_func", function)).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:count] + [f"inputs[{i}]" for i in range(len(names[:count]), count)]


def name_of(function) -> str:
    """Return the name of a function, also of one inside functools.partial."""
    inner = getattr(function, "func", function)  # of a functools.partial
    return getattr(function, "__name__", getattr(inner, "__name__", type(function).__name__))


def _described(value):
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"{type(value).__name__} of {', '.join(map(repr, value)) or 'nothing'}"
    return type(value).__name__


def leaves(output) -> list:
    """Return the arrays of an output: one array, or several nested in tuples, lists and dicts."""
    if isinstance(output, tuple | list | dict):
        return [leaf for _, member in containers.members(output) for leaf in leaves(member)]
    if output is None:
        return []
    return [output if type(output) is np.ndarray else np.asarray(output)]


def rebuilt(output, cotangents):
    """Return the cotangents nested as the output is, in containers of the same classes."""
    rest = iter(cotangents)

    def build(value):
        if isinstance(value, tuple | list | dict):
            return containers.rebuilt(value, lambda _, member: build(member))
        return None if value is None else next(rest)

    return build(output)
