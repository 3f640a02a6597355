"""A single step of a module, the plainest call: what a policy or a decoder does all day.

The general way through modules.py takes longer than the step of a small layer. What follows from
the shape of the input is kept here, in the module's twin, once a call went the general way; what
may change from call to call is looked at again. Whatever is unusual is left to the general way.
"""

import functools
import itertools
from typing import Any

import torch
from torch import Tensor

from fastrnn.nn.call import Call
from fastrnn.nn.module import MAX_PROGRAMS
from fastrnn.nn.single_step import SingleStep, is_single
from fastrnn.torch import autograd, native, saved
from fastrnn.torch.deferred import Factors, Generation
from fastrnn.torch.twin import Twin, is_ordinary, known_twin, states_of


def remember(twin: Twin, x: Tensor, state: tuple, output: tuple | None) -> None:
    """Prepare for more calls of one step with this input.

    Args:
        twin: of the module.
        x: the input.
        state: shape of each state.
        output: shape of the output; None: a cell, which has none.
    """
    if x.shape not in twin.singles:
        if len(twin.singles) >= MAX_PROGRAMS:
            twin.singles.clear()
        twin.singles[x.shape] = _Single(twin, x.shape, torch.Size(state), output)


def attempt(module: Any, x: Tensor, hx):
    """Return the result of a module for a single step, or None: then take the general path."""
    twin = known_twin(module)
    if twin is None or (single := twin.singles.get(x.shape)) is None or not single.possible:
        return None
    if x.dtype is not twin.dtype or not is_ordinary(x):
        return None
    if single.layers > 1 and module.training and module.dropout > 0:
        return None
    states = states_of(hx, x.dtype, single.shapes)
    if states is None:
        return None
    if autograd.is_wanted(x, states, twin.weights):
        if not single.differentiable[x.requires_grad]:
            return None
        generation = _generation(twin)
        if generation is None and not any(weight.requires_grad for weight in twin.weights):
            x, states = x.clone(), [state.clone() for state in states]  # see Operation.copies
        deferred = None if generation is None else generation.deferred(twin)
        weights = twin.weights if deferred is None else (deferred.token,)
        result = _apply((single, module, generation, deferred), x, *states, *weights)
    else:
        result = single.run(x, states)
    if single.output is None:
        return result[0] if single.states == 1 else result
    return result[0], result[1] if single.states == 1 else result[1:]


def _generation(twin: Twin) -> Generation | None:
    """Return the weights as they are now, if the gradients of all of them are wanted."""
    generation = twin.generation
    if generation is None or not generation.is_now():
        generation = None
        if all(weight.requires_grad for weight in twin.weights):
            generation = Generation(twin.weights)
        twin.generation = generation
    return generation


def _contiguous(tensors) -> list:
    """Return the tensors, or None, in C order: a copy where they are not."""
    return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]


class _Single:
    """What is known of a module's single steps with input of one shape.

    Attributes:
        possible: the kernels of single steps take it.
        differentiable: and its gradient, without the input's and with it.
        states: how many the cell has.
        weights: how many the module has.
        layers: how many it has.
        shapes: of the states.
        output: shape of the output; None: a cell, which has none.
        state_shape: of each state, as kernels take it.
        native: the same by torch's operations.
    """

    def __init__(self, twin: Twin, x: torch.Size, state: torch.Size, output):
        spec, rows = twin.spec, x.numel() // x[-1]
        call = Call(1, rows, 1)
        plain = all(weight.is_contiguous() for weight in twin.weights)
        self.possible = plain and is_single(spec, call)
        self.differentiable = [
            plain and is_single(spec, call._replace(keep=True, wrt_input=wanted))
            for wanted in (False, True)
        ]
        self.states, self.layers = len(spec.cell.states), spec.num_layers
        self.shapes, self.output = [state] * self.states, output
        self.native = native.cell if output is None else native.layer
        self.weights = len(twin.weights)
        self._each = self.weights // self.layers
        self._firsts = range(0, self.weights, self._each)  # of each layer
        self._shared, self._missing = spec.cell.shared, (0,) * (5 - self._each)
        self._no_weights = (None,) * self.weights
        self._no_places, self._no_pre = [(0,) * 5] * self.layers, [(0, 0)] * self.layers
        if not self.possible:
            return
        self._program = program = SingleStep(spec, call)
        self.state_shape = (self.layers, rows, spec.hidden_size)
        # torch.empty_like takes half the time of torch.empty.
        new = functools.partial(torch.empty, dtype=twin.dtype, device="cpu")
        row = (1, rows, spec.hidden_size)
        self._like_state, self._like_saved = new(state), new(program.saved_shape)
        self._saves, self._like_pre = self._like_saved.numel() > 0, new(program.pre_shape)
        self._like_output = new(row if output is None else output)
        self._like_inputs = [new(x), *[new(row)] * (self.layers - 1)]
        self._like_weights = [new(weight.shape) for weight in twin.weights]
        self._places = self._grouped([weight.data_ptr() for weight in twin.weights])
        kept = [self._like_saved] * self._saves
        if self.layers > 1:
            kept.append(new(self.state_shape))
        self._choices = {}
        for given, *wrt in itertools.product((0, self.states), (False, True), (False, True)):
            choice = saved.choose(twin, given, saved.unread_weights(twin, 1, wrt))
            inputs = [self._like_inputs[0], *[self._like_state] * given, *self._like_weights]
            kinds = saved.kinds_of([*[inputs[i] for i in choice.read], *kept])
            self._choices[given, *wrt] = choice._replace(kinds=kinds)

    def _grouped(self, places: list[int]) -> list[tuple]:
        """Return addresses, one for each weight, as SingleStep takes them."""
        return [(*places[i : i + self._each], *self._missing) for i in self._firsts]

    def room(self) -> list[Tensor]:
        """Return room for what the gradient reads besides; a cell that saves nothing has none."""
        return [torch.empty_like(self._like_saved)] if self._saves else []

    def choice(self, x: Tensor, states) -> saved.Choice:
        """Return which of x, the states and the weights the gradient reads."""
        wrt = bool(states) and (states[0].requires_grad or states[-1].requires_grad)
        return self._choices[len(states), x.requires_grad, wrt]

    def run(self, x: Tensor, states, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the output, if it has one, and the states; `kept` is filled."""
        # Written out: loops over two states would take as long as a small step. Copies live as
        # long as the names.
        x = x if x.is_contiguous() else x.contiguous()
        initial = 0, 0
        if states:
            h_0 = states[0] if states[0].is_contiguous() else states[0].contiguous()
            c_0 = states[-1] if states[-1].is_contiguous() else states[-1].contiguous()
            initial = h_0.data_ptr(), c_0.data_ptr()  # of a cell without a second one nobody looks
        h_n = torch.empty_like(self._like_state)
        if self.states == 1:
            results, final = (h_n,), (h_n.data_ptr(), 0)
        else:
            c_n = torch.empty_like(self._like_state)
            results, final = (h_n, c_n), (h_n.data_ptr(), c_n.data_ptr())
        output = 0
        if self.output is not None:
            results = torch.empty_like(self._like_output), *results
            output = results[0].data_ptr()
        place = 0 if kept is None else kept.data_ptr()
        self._program.forward(self._places, x.data_ptr(), initial, final, output, place, 0)
        return results

    def gradients(self, x, states, weights, kept, d_results, wanted, factors):
        """Return the gradients of the input, of the states, of the weights; None: not wanted.

        Args:
            x: the input, as `run` got it.
            states: see x.
            weights: the same, wherever they are by now.
            kept: what `run` filled, if the cell saves something, and h_n of several layers.
            d_results: gradients at what `run` returned; None is zero.
            wanted: whether the gradients at the input and at weights are.
            factors: lists, one of each layer, that get what the weights' gradients are made of;
                or None.
        """
        wants_input, wants_weights = wanted
        # Copies live as long as the names.
        x, *tensors = _contiguous((x, *states, *d_results))
        given, layers = len(states), self.layers
        h_0 = tensors[0] if given else None
        h_n = kept[-1] if layers > 1 else None
        d_output = 0
        if self.output is not None and tensors[given] is not None:
            d_output = tensors[given].data_ptr()
        d_states = [torch.empty_like(self._like_state)]
        if self.states > 1:
            d_states.append(torch.empty_like(self._like_state))
        d_weights, d_places = self._no_weights, self._no_places
        if wants_weights:
            d_weights = [torch.empty_like(like) for like in self._like_weights]
            d_places = self._grouped([d.data_ptr() for d in d_weights])
        d_inputs: list[Any] = [torch.empty_like(self._like_inputs[0]) if wants_input else None]
        d_inputs += [torch.empty_like(like) for like in self._like_inputs[1:]]
        d_pre = self._no_pre
        if factors is not None:
            d_pre = [self._left(i, x, h_0, h_n, factors[i]) for i in range(layers)]
        self._program.backward(
            [(weights[i].data_ptr(), weights[i + 1].data_ptr()) for i in self._firsts],
            (x.data_ptr(), 0 if h_n is None else h_n.data_ptr()),
            (0 if h_0 is None else h_0.data_ptr(), kept[0].data_ptr() if self._saves else 0),
            _pair(tensors[len(tensors) - self.states :]),
            d_output,
            [0 if d is None else d.data_ptr() for d in d_inputs],
            _pair(d_states),
            d_places,
            d_pre,
        )
        return d_inputs[0], d_states, d_weights

    def _left(self, layer: int, x, h_0, h_n, factors: list) -> tuple[int, int]:
        """Add a layer's factors to a list, and return where its kernel writes them."""
        d_a_x = d_a_h = torch.empty_like(self._like_pre)
        if not self._shared:
            d_a_x = torch.empty_like(self._like_pre)
        read = h_n[layer - 1] if layer else x
        if h_0 is not None and self.layers > 1:
            h_0 = h_0.view(self.state_shape)[layer]
        factors.append(Factors(d_a_x, d_a_h, read, h_0))
        return d_a_x.data_ptr(), d_a_h.data_ptr()


def _pair(tensors) -> tuple[int, int]:
    """Return the addresses of the members of a state; of what is missing, 0."""
    h, c = tensors[0], tensors[1] if len(tensors) > 1 else None
    return 0 if h is None else h.data_ptr(), 0 if c is None else c.data_ptr()


class _StepNode(torch.autograd.Function):
    """A step: of x, the states and the weights or, deferred, their token."""

    @staticmethod
    def forward(ctx: Any, call: tuple, x: Tensor, *others: Tensor):
        single, _, _, deferred = call
        given = len(others) - (single.weights if deferred is None else 1)
        ctx.call, ctx.given = call, given
        kept = single.room()
        results = single.run(x, others[:given], kept[0] if kept else None)
        ctx.set_materialize_grads(False)
        weights = others[given:] if deferred is None else deferred.weights
        if single.layers > 1:  # upper layers read h_n, which the user may change
            kept.append(results[-single.states].clone().view(single.state_shape))
        # The same as autograd.py saves: checkpointing compares, and a call may come either way.
        saved.save(ctx, single.choice(x, others[:given]), (x, *others[:given], *weights), kept)
        return results

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor | None):
        (single, module, generation, deferred), given = ctx.call, ctx.given
        if generation is not None:
            generation.pending = False
        (x, *others), kept, there = saved.load(ctx)
        if not there:
            others, kept = _contiguous(others), _contiguous(kept)
        states, weights = others[:given], others[given:]
        wants_input, *wants = ctx.needs_input_grad[1:]
        wants_weights = any(wants[given:]) if deferred is None else deferred.wanted()
        if torch.is_grad_enabled() or not autograd.are_plain(d_results):
            if deferred is not None:
                wants[given:] = [wants_weights] * len(weights)
            native = functools.partial(single.native, module)
            call = autograd.Operation(single.run, single.gradients, native, given, False)
            d_x, *d_others = autograd.native_gradients(
                ctx, call, (wants_input, *wants), (x, *states, *weights), d_results
            )
            d_states, d_weights = d_others[:given], d_others[given:]
            if deferred is not None and wants_weights:
                deferred.add_ready(d_weights)
        else:
            d_x, d_states, d_weights = single.gradients(
                x,
                states,
                weights,
                kept,
                [None if d is None else d.resolve_neg() for d in d_results],
                (wants_input, wants_weights and deferred is None),
                deferred.factors() if deferred is not None and wants_weights else None,
            )
        d_weights = (None,) if deferred is not None else d_weights
        return None, d_x, *(d_states if given else ()), *d_weights


_apply = autograd.shortest_apply(_StepNode)
