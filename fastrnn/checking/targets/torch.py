"""A torch function as a target: how it is called, and differentiated by torch.autograd.

The user's tensors and torch's random state are never touched: it runs on copies. What a module
needs besides is in torch_module.py.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from fastrnn.checking.problem import Arrays, Problem, Variable
from fastrnn.checking.targets.numpy import BLOCKED, argument_names, gates_of, name_of, plain_name
from fastrnn.checking.targets.pytree import Arguments, array_of, floats_in, tensor_of

_ULPS = 64 * float(np.finfo(np.float64).eps)
_SHOWN = 5  # names in a note


class _Run(NamedTuple):
    """One call of the target.

    Attributes:
        outputs: all floating outputs.
        leaves: the tensors of the variables.
        drawn: the state of torch's random numbers at the end.
    """

    outputs: list[Tensor]
    leaves: list[Tensor]
    drawn: Tensor


class TorchFunction:
    """A torch function as a target; the base of TorchModule.

    Args:
        target: a function of tensors, a torch.autograd.Function or its `apply`.
        inputs: its arguments.
        seed: of torch's random numbers at each call.

    Attributes:
        variables: as in Problem.
        notes: as in Problem.

    Raises:
        TypeError: the target does not run in float64, or no output is floating.
    """

    kind = "torch function"

    def __init__(self, target: Any, inputs: tuple, seed: int):
        self.target, self.seed = target, seed % 2**63
        self.name, names = _known(target, len(inputs))
        parameters = self._parameters()
        taken = {variable.name for variable in parameters}
        names = [f"inputs[{i}]" if name in taken else name for i, name in enumerate(names)]
        self.arguments = Arguments(names, inputs)
        self.variables = (*self._described(self.arguments.variables), *parameters)
        self.dtypes = [variable.value.dtype for variable in self.variables]
        self.notes: list[str] = []
        constants = [*self.arguments.constants, *self._frozen()]
        if constants:
            self.notes.append(f"constant, as they require no gradient: {_some(constants)}")
        # How to run it; found out by trying.
        self.through = False  # it changes its inputs in place, in ways that autograd follows
        self.needs_grad = False  # even a plain call needs torch's grad mode
        self.stateful = False  # a module whose calls change later calls
        self.complex_outputs = False
        self.kept: list[int] = []  # numbers of the outputs that are checked
        if self.variables:
            self._find_out()

    def problem(self) -> Problem:
        """Return the target as a Problem."""
        return Problem(
            self.name,
            self.kind,
            self.variables,
            self.forward,
            self.vjp,
            required=tuple(v.name for v in self.variables),
            none_is_zero=True,
            notes=self.notes,
        )

    def forward(self, values: Arrays) -> Arrays:
        """Return the outputs, as arrays."""
        outputs = self._run(values, self.needs_grad).outputs
        return [array_of(outputs[i]).copy() for i in self.kept]

    def vjp(self, values: Arrays):
        """Return outputs and pullback; each call has its own graph and its own copy of a module."""
        run = self._run(values, True)
        outputs = [run.outputs[i] for i in self.kept]
        _show_changes(values, run.leaves)

        def pullback(cotangents):
            given = [
                None if c is None else tensor_of(c, o.dtype)
                for c, o in zip(cotangents, outputs, strict=True)
            ]
            pairs = [
                (o, g)
                for o, g in zip(outputs, given, strict=True)
                if g is not None and o.requires_grad
            ]
            grads: Sequence[Tensor | None] = [None] * len(run.leaves)
            if pairs:
                ends, starts = zip(*pairs, strict=True)
                with _apart():
                    grads = torch.autograd.grad(
                        ends, run.leaves, starts, retain_graph=True, allow_unused=True
                    )
            _show_changes(cotangents, given)
            return [
                array_of(torch.zeros_like(leaf) if grad is None else grad)
                for leaf, grad in zip(run.leaves, grads, strict=True)
            ]

        return [array_of(output) for output in outputs], pullback

    def _prepared(self, values: Arrays, dtype: torch.dtype | None, new: bool):
        """Return what to call, and its parameters, set to these values.

        Args:
            values: of the parameters.
            dtype: to compute in; None: its own.
            new: return an object that no other call uses.
        """
        return (self.target.apply if _is_function_class(self.target) else self.target), []

    def _parameters(self) -> list[Variable]:
        """Return the variables that are not inputs."""
        return []

    def _frozen(self) -> list[str]:
        """Return the names of parameters that are not variables."""
        return []

    def _described(self, variables: list[Variable]) -> list[Variable]:
        """Return the inputs with what is known of their axes and gates."""
        gates = gates_of(variables)
        return [replace(v, gates=gates if plain_name(v.name) in BLOCKED else ()) for v in variables]

    def _run(self, values: Arrays, grad: bool) -> _Run:
        kinds = [np.asarray(value).dtype for value in values]
        is_complex = any(kind.kind == "c" for kind in kinds)
        dtype = None if kinds == self.dtypes else torch.complex128 if is_complex else torch.float64
        if is_complex and self.complex_outputs:
            raise NotImplementedError("the complex step of what is complex already")
        count = len(self.arguments.variables)
        # The default dtype makes tensors that the target creates, as torch.zeros(3), float64 too.
        with _apart(self.seed, None if dtype is None else torch.float64):
            with torch.set_grad_enabled(grad):
                nested, leaves = self.arguments.built(values[:count], dtype, grad, self.through)
                call, parameters = self._prepared(values[count:], dtype, new=grad)
                outputs = floats_in(call(*nested))
                if not is_complex and any(output.is_complex() for output in outputs):
                    self.complex_outputs = True
                    outputs = [
                        torch.view_as_real(output.resolve_conj()) if output.is_complex() else output
                        for output in outputs
                    ]
            return _Run(outputs, [*leaves, *parameters], torch.get_rng_state())

    def _find_out(self) -> None:
        """Call the target a few times, and decide how to call it from then on."""
        own = self._first([variable.value for variable in self.variables])
        if not own.outputs:
            raise TypeError(
                f"gradcheck: {self.name} returned no floating tensor; expected tensors, which may "
                "be nested in tuples, lists and dicts."
            )
        left_out = [i for i, output in enumerate(own.outputs) if not output.requires_grad]
        self.kept = [i for i in range(len(own.outputs)) if i not in left_out]
        if not self.kept:
            self.kept, left_out = left_out, []
            self.notes.append("no output requires a gradient, so autograd's is zero")
        if left_out:
            self.notes.append(f"not checked, as they require no gradient: outputs {left_out}")
        values = [variable.value.astype(np.float64) for variable in self.variables]
        precise = own if np.float32 not in self.dtypes else self._in_float64(values)
        if not torch.equal(own.drawn, precise.drawn):
            # Dropout draws the same masks in both; torch.rand and torch.randn do not.
            self.variables = tuple(
                replace(v, value=x) for v, x in zip(self.variables, values, strict=True)
            )
            self.notes.append(
                "in float32 it draws other random numbers than in float64, so its "
                "gradient was checked in float64"
            )
        self._find_out_modes(values, precise)

    def _first(self, values: Arrays) -> _Run:
        try:
            return self._run(values, True)
        except RuntimeError as error:
            if "leaf Variable that requires grad" not in str(error):
                raise
        self.through = True
        return self._run(values, True)

    def _in_float64(self, values: Arrays) -> _Run:
        try:
            return self._run(values, True)
        except Exception as error:
            raise TypeError(
                f"gradcheck: {self.name} does not run in float64, in which its derivative is "
                f"taken: {str(error).strip().rstrip('.')}. Pass everything in float64, or have it "
                "compute in the dtype of its inputs: tensors that a function reads besides can be "
                "inputs, those of a module buffers, and a module the target itself."
            ) from error

    def _find_out_modes(self, values: Arrays, precise: _Run) -> None:
        """Decide whether plain calls may run without grad mode: if they give the same outputs."""
        try:
            first, second = self._run(values, False), self._run(values, False)
        except Exception:  # it calls torch.autograd.grad itself, say
            self.needs_grad = True
            return
        self.stateful = _difference(first, second) > 0
        away = _difference(first, precise)
        largest = max(float(np.abs(array_of(o)).max(initial=0)) for o in precise.outputs)
        if not away <= _ULPS * largest and not _difference(self._run(values, True), precise):
            self.needs_grad = True
            self.notes.append(f"its outputs are others under torch.no_grad(), by {away:.3g}")


def _known(target: Any, count: int) -> tuple[str, list[str]]:
    """Return the name of a target and those of its first inputs, `inputs[i]` where unknown."""
    function: Any = target if _is_function_class(target) else getattr(target, "__self__", None)
    if _is_function_class(function):
        # With setup_context, forward has no ctx.
        skipped = int(function.setup_context is Function.setup_context)
        names = argument_names(function.forward, count + skipped)[skipped:]
        # Unknown names were counted with ctx: number them without it.
        names = [
            f"inputs[{i}]" if name.startswith("inputs[") else name for i, name in enumerate(names)
        ]
        return function.__name__, names
    if isinstance(target, nn.Module):
        return type(target).__name__, argument_names(target.forward, count)
    return name_of(target), argument_names(target, count)


def _is_function_class(target: Any) -> bool:
    return isinstance(target, type) and issubclass(target, Function)


@contextlib.contextmanager
def _apart(seed: int | None = None, default: torch.dtype | None = None) -> Iterator[None]:
    """Leave torch's random numbers and its default dtype as they were."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        try:
            if default is not None:
                torch.set_default_dtype(default)
            yield
        finally:
            torch.set_default_dtype(before)


def _show_changes(arrays: Sequence[Any], tensors: Sequence[Tensor | None]) -> None:
    """Copy what the target wrote into tensors to the arrays they were made of."""
    for array, tensor in zip(arrays, tensors, strict=True):
        if tensor is None or not isinstance(array, np.ndarray) or not array.flags.writeable:
            continue
        now = array_of(tensor)
        if not np.array_equal(array, now, equal_nan=True):
            array[...] = now


def _difference(first: _Run, second: _Run) -> float:
    """Return the largest difference between the outputs of two calls."""
    if [o.shape for o in first.outputs] != [o.shape for o in second.outputs]:
        return np.inf
    pairs = [(array_of(a), array_of(b)) for a, b in zip(first.outputs, second.outputs, strict=True)]
    return max(float(np.nan_to_num(np.abs(a - b), nan=0).max(initial=0)) for a, b in pairs)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
