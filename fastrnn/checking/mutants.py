"""Errors planted on purpose, to measure gradient checkers: ours, and other libraries' (bench/).

Each is an edit of this package's own source: a line of the backward pass as somebody might have
got it wrong. `Mutant.problem` runs the edited text and returns a target for `gradcheck` and its
inputs; `right` leaves the text as it is. Edited are reference.py, losses.py and nn/program.py.
"""

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from fastrnn import losses, reference
from fastrnn.nn import layers, program
from fastrnn.nn.arguments import Pullback, bare, read_call

TargetAndInputs = tuple[Callable, tuple]


class Mutant(NamedTuple):
    """One error.

    Attributes:
        where: "rnn", "relu", "lstm", "gru", "linear", "cross_entropy", "mse" or "stack".
        words: what is wrong.
        edits: (right, wrong) pieces of source text; each right one occurs once in what is edited.
        how: arguments of the call: lengths, reverse, projection, mask, square.
        hint: a part of the hint that the report should give, "" if the error has no known pattern.
    """

    where: str
    words: str
    edits: tuple[tuple[str, str], ...]
    how: tuple[str, ...] = ()
    hint: str = ""

    def problem(self, seed: int) -> TargetAndInputs:
        """Return a target with the error, and random inputs for it."""
        return _BUILDERS[self.where](seed, self.edits, self.how)


def right(where: str, seed: int, how: tuple[str, ...] = ()) -> TargetAndInputs:
    """Return the target without an error, and random inputs for it.

    Args:
        where: as in Mutant.
        seed: of sizes and values.
        how: as in Mutant.
    """
    return _BUILDERS[where](seed, (), how)


def _edited(module: ModuleType, inside: str, edits) -> dict[str, Any]:
    """Run a module's source with edits in one of its functions or classes; return its names."""
    source, names = inspect.getsource(module), {"__name__": module.__name__}
    part = inspect.getsource(getattr(module, inside))
    changed = part
    for find, replace in edits:
        if changed.count(find) != 1:
            raise ValueError(f"{changed.count(find)} times in {inside}, expected once: {find}")
        changed = changed.replace(find, replace)
    exec(compile(source.replace(part, changed), f"<{inside}, edited>", "exec"), names)
    return names


def _recurrent(name: str, gates: int, seed: int, edits, how) -> TargetAndInputs:
    random = np.random.default_rng([seed, gates])
    T, B, I, H = random.integers([3, 2, 2, 3], [7, 5, 5, 6])  # noqa: E741
    E = max(2, H - 1) if "projection" in how else H
    kind = "rnn" if name == "relu" else name
    function = _edited(reference, f"{kind}_vjp", edits)[f"{kind}_vjp"]
    options: dict[str, Any] = {"nonlinearity": "relu"} if name == "relu" else {}
    if "lengths" in how:
        options["lengths"] = np.concatenate([[T, 1], random.integers(1, T + 1, B - 2)])
    options |= {"reverse": True} if "reverse" in how else {}
    shapes = [(T, B, I), (B, E), (gates * H, I), (gates * H, E), (gates * H,), (gates * H,)]
    x, h, *weights = (random.standard_normal(shape) / 1.5 for shape in shapes)
    state = (h, random.standard_normal((B, H))) if name == "lstm" else h
    extra = [random.standard_normal((E, H))] if "projection" in how else []
    return _named(partial(function, **options), name), (x, state, *weights, *extra)


def _linear(seed: int, edits, how) -> TargetAndInputs:
    random = np.random.default_rng([seed, 7])
    inside = "_affine_backward"
    names = _edited(reference, inside, edits)
    rows, I, O = random.integers([4, 2, 6], [7, 5, 8])  # noqa: E741
    I, O = (5, 5) if "square" in how else (I, O)  # noqa: E741
    x, weight, bias = (random.standard_normal(s) for s in ((rows, I), (O, I), (O,)))

    def linear(x, weight, bias):
        def pullback(d_y):
            d = {"weight": np.zeros_like(weight), "bias": np.zeros_like(bias)}
            d_x = names[inside](d_y, x, weight, d, "weight", "bias")
            return d_x, d["weight"], d["bias"]

        return names["_affine"](x, weight, bias), pullback

    return linear, (x, weight, bias)


def _loss(name: str, seed: int, edits, how) -> TargetAndInputs:
    random = np.random.default_rng([seed, 9])
    T, B, V = random.integers([2, 2, 3], [5, 5, 6])
    inside = "mse" if name == "mse" else "_log_loss" if "inner" in how else "softmax_cross_entropy"
    names = _edited(losses, inside, edits)
    function = names["mse" if name == "mse" else "softmax_cross_entropy"]
    given = random.standard_normal((T, B, V))
    if name == "mse":
        target = given + random.standard_normal((T, B, V))
    else:
        target = random.integers(0, V, (T, B))
    mask = np.array(random.random((T, B)) < 0.6) if "mask" in how else None
    if mask is not None:
        mask.flat[:2] = True, False

    def loss(prediction):
        value, gradient = function(prediction, target, mask=mask)
        return value, lambda d_loss: d_loss * gradient

    return _named(loss, name), (given,)


def _stack(seed: int, edits, how) -> TargetAndInputs:
    """A stack on the compiled kernels, in float64."""
    random = np.random.default_rng([seed, 11])
    T, B, I, H = random.integers([3, 2, 2, 3], [6, 4, 5, 5])  # noqa: E741
    edited = _edited(program, "Program", edits)["Program"]

    class GRU(layers.GRU):
        def vjp(self, x, state=None, lengths=None, training=True, *, reset=None, **_):
            x, call, batch = read_call("GRU", self.spec, x, lengths, reset)
            wrong = edited(self.spec, call._replace(keep=True, plain=False))
            initial = None if state is None else (state,)
            masks = self.dropout_masks(call.time, call.batch) if training else ()
            output, final, tape = wrong.run(self.weights(), x, initial, batch, masks)
            return (output, bare(final)), Pullback("GRU", wrong, tape, self.names)

    options: dict[str, Any] = {"dtype": np.float64, "dropout": 0.25 if "dropout" in how else 0.0}
    layer = GRU(int(I), int(H), 2, bidirectional=True, seed=seed, **options)
    return layer, (random.standard_normal((T, B, I)),)


def _named(function, name):
    function.__name__ = name
    return function


_BUILDERS = {
    "rnn": partial(_recurrent, "rnn", 1),
    "relu": partial(_recurrent, "relu", 1),
    "lstm": partial(_recurrent, "lstm", 4),
    "gru": partial(_recurrent, "gru", 3),
    "linear": _linear,
    "cross_entropy": partial(_loss, "cross_entropy"),
    "mse": partial(_loss, "mse"),
    "stack": _stack,
}
WHERE = tuple(_BUILDERS)


def _one(where, words, find, replace, *how, hint=""):
    return Mutant(where, words, ((find, replace),), how, hint)


_ENDS = "return Gradients(d_x if x.ndim == 3 else None, d_h, d)"
_STEP = "d_h_new = d_h[rows] + d_output[t, rows]"
_TAPE = "d = {name: np.zeros(w.shape, dtype) for name, w in params.items()}"
_TANH = "d_a = d_h_new * (1 - h_new * h_new)"
_BACK = '_affine_backward(d_a, h_prev, w_hh, d, "w_hh", "b_hh")'
_FINAL = "d_h = _copy_or_zeros(d_state, h.shape, dtype)"
_ROWS = "in reversed(tape):"

# A table, two lines for each error.
# fmt: off
MUTANTS = (
    _one("rnn", "the derivative of tanh forgotten", _TANH, "d_a = d_h_new"),
    _one("rnn", "1 - h for 1 - h**2", _TANH, "d_a = d_h_new * (1 - h_new)"),
    _one("rnn", "the derivative of the sigmoid for that of tanh", _TANH,
         "d_a = d_h_new * h_new * (1 - h_new)"),
    _one("rnn", "nothing carried to the step before", f"d_h[rows] = {_BACK}",
         f"d_h[rows] = 0 * {_BACK}", hint="zero: no gradient arrives here"),
    _one("rnn", "the carried gradient not added", _STEP, "d_h_new = d_output[t, rows]"),
    _one("rnn", "the gradient of the final state ignored", _FINAL,
         "d_h = _copy_or_zeros(None, h.shape, dtype)"),
    _one("rnn", "the last step left out", _ROWS, "in reversed(tape[:-1]):"),
    _one("rnn", "the first step left out", _ROWS, "in reversed(tape[1:]):", hint="wrong only at"),
    _one("rnn", "the steps taken forwards", _ROWS, "in tape:"),
    _one("rnn", "the cotangent of the step before", _STEP,
         "d_h_new = d_h[rows] + d_output[t - 1, rows]"),
    _one("rnn", "W_hh multiplied by the new state", _BACK, _BACK.replace("h_prev", "h_new")),
    _one("rnn", "no gradient of b_hh", _BACK, _BACK.replace("b_hh", "none"),
         hint="zero: no gradient arrives here (b_hh)"),
    _one("rnn", "that of b_hh added to b_ih", _BACK, _BACK.replace("b_hh", "b_ih"),
         hint="twice as large: counted twice? (b_ih)"),
    _one("rnn", "W_hh transposed on the way back", f"d_h[rows] = {_BACK}",
         f"d_h[rows] = {_BACK} @ np.linalg.inv(w_hh) @ w_hh.T"),
    _one("rnn", "a mean over time", _ENDS, _ENDS.replace(", d)", ", "
         "{n: g / len(xs) for n, g in d.items()})"), hint="a mean where there is a sum?"),
    _one("rnn", "a reversed sequence read forwards", _STEP,
         "d_h_new = d_h[rows] + d_output[len(xs) - 1 - t, rows]", "reverse"),
    _one("rnn", "the last step of each row left out", _STEP,
         "d_h_new = d_h[rows] + d_output[t, rows] * (lengths[rows] - 1 > t)[:, None]", "lengths"),
    _one("rnn", "rows that have ended go on", "d_x[t, rows] =", "d_x[t, -1 - rows] =", "lengths"),
    _one("rnn", "the input's gradient one step late", "d_x[t, rows] =", "d_x[t - 1, rows] =",
         hint="shifted by one"),
    Mutant("rnn", "added up over calls", (("tape = []", "tape, kept = [], "
           "{name: np.zeros(w.shape, dtype) for name, w in params.items()}"), (_TAPE, "d = kept"))),
    Mutant("rnn", "the cotangent overwritten",
           (("d_output = _copy_or_zeros(d_output, output.shape, dtype)",
             "given = d_output; d_output = _copy_or_zeros(d_output, output.shape, dtype)"),
            (_STEP, "d_h_new = given[t, rows] = d_h[rows] + d_output[t, rows]"))),
    _one("rnn", "gradients in float32", _ENDS, _ENDS.replace(", d)", ", "
         "{n: g.astype(np.float32) for n, g in d.items()})")),
    _one("relu", "the mask of the ReLU forgotten", "d_a = np.where(h_new.real <= 0, 0, d_h_new)",
         "d_a = d_h_new"),
    _one("relu", "the mask of the state before", "np.where(h_new.real <= 0, 0, d_h_new)",
         "np.where(h_prev.real <= 0, 0, d_h_new)"),
    _one("lstm", "the derivative of tanh(c) forgotten", "d_m * o * (1 - tanh_c * tanh_c)",
         "d_m * o"),
    _one("lstm", "no gradient carried by c", "d_c[rows] = d_c_new * f", "d_c[rows] = 0 * d_c_new",
         hint="zero: no gradient arrives here (state[1])"),
    _one("lstm", "c carried without the forget gate", "d_c[rows] = d_c_new * f",
         "d_c[rows] = d_c_new"),
    _one("lstm", "the carried gradient of c not added", "d_c_new = d_c[rows] + d_m",
         "d_c_new = d_m"),
    _one("lstm", "gates i and f exchanged", "[d_a_i, d_a_f, d_a_g, d_a_o]",
         "[d_a_f, d_a_i, d_a_g, d_a_o]", hint="gates in the order f, i, g, o"),
    _one("lstm", "the gate order i, f, o, g", "[d_a_i, d_a_f, d_a_g, d_a_o]",
         "[d_a_i, d_a_f, d_a_o, d_a_g]", hint="gates in the order i, f, o, g"),
    _one("lstm", "the forget gate's from the new c", "d_c_new * c_prev * f",
         "d_c_new * (f * c_prev + i * g) * f"),
    _one("lstm", "the derivative of the sigmoid for gate g", "i * (1 - g * g)", "i * g * (1 - g)"),
    _one("lstm", "no derivative of gate o", "d_m * tanh_c * o * (1 - o)", "d_m * tanh_c"),
    _one("lstm", "gate o from c, not tanh(c)", "d_m * tanh_c * o", "d_m * np.arctanh(tanh_c) * o"),
    _one("lstm", "gate i with the other sign", "d_c_new * g * i", "-d_c_new * g * i"),
    _one("lstm", "the gradient of the final c ignored", "_copy_or_zeros(d_c_n, c.shape, dtype)",
         "_copy_or_zeros(None, c.shape, dtype)"),
    _one("lstm", "the projection's from tanh(c) alone", "d_m, o * tanh_c, w_hr",
         "d_m, tanh_c, w_hr", "projection"),
    _one("lstm", "the projection not passed back",
         'd_m = _affine_backward(d_m, o * tanh_c, w_hr, d, "w_hr", None)',
         'd_m = _affine_backward(d_m, o * tanh_c, w_hr, d, "w_hr", None) * 0', "projection"),
    _one("lstm", "one part in a million", "d_c_new * c_prev * f",
         "1.000001 * d_c_new * c_prev * f"),
    _one("lstm", "c carried in float32", "d_c[rows] = d_c_new * f",
         "d_c[rows] = (d_c_new * f).astype(np.float32)"),
    _one("gru", "the reset gate forgotten in a_h", "d_a_n * r], axis=1", "d_a_n], axis=1",
         hint="carried from step to step"),
    _one("gru", "the reset gate's without a_h", "d_a_n * a_h_n * r", "d_a_n * r"),
    _one("gru", "the update gate's sign", "(h_prev - n)", "(n - h_prev)"),
    _one("gru", "the way past the gates forgotten", ' + d_h_new * z', ""),
    _one("gru", "z and 1 - z exchanged on that way", " + d_h_new * z", " + d_h_new * (1 - z)"),
    _one("gru", "1 - z forgotten in gate n", "d_h_new * (1 - z) * (1 - n * n)",
         "d_h_new * (1 - n * n)"),
    _one("gru", "r and z exchanged in a_x", "[d_a_r, d_a_z, d_a_n], axis",
         "[d_a_z, d_a_r, d_a_n], axis", hint="gates in the order z, r, n"),
    _one("gru", "the derivative of z's sigmoid forgotten", "(h_prev - n) * z * (1 - z)",
         "(h_prev - n)"),
    _one("linear", "the weight's transposed", "d[w_name] += d_y.T @ x", "d[w_name] += x.T @ d_y",
         "square", hint="transposed"),
    _one("linear", "W for its transpose in the input's", "return d_y @ w", "return d_y @ w.T",
         "square"),
    _one("linear", "a mean over the rows in the bias's", "d_y.sum(axis=0)", "d_y.mean(axis=0)",
         hint="a mean where there is a sum?"),
    _one("linear", "the first row left out of the bias's", "d_y.sum(axis=0)",
         "d_y[1:].sum(axis=0)"),
    _one("linear", "the weight's counted twice", "d_y.T @ x", "2 * d_y.T @ x",
         hint="twice as large: counted twice? (weight)"),
    _one("linear", "the bias's with the other sign", "d[b_name] +=", "d[b_name] -=",
         hint="the opposite sign (bias)"),
    _one("cross_entropy", "the target not subtracted", "d_logits[right] -= scale", "pass", "inner"),
    _one("cross_entropy", "the softmax not normalised", "d_logits *= scale / total",
         "d_logits *= scale", "inner"),
    _one("cross_entropy", "the other sign", "float(losses.sum()), d_logits",
         "float(losses.sum()), -d_logits", "inner", hint="the opposite sign"),
    _one("cross_entropy", "a sum where the loss is a mean", "float(losses.sum()), d_logits",
         "float(losses.sum()), d_logits / scale", "inner", hint="a sum where there is a mean?"),
    _one("cross_entropy", "the mean over masked positions too", "_scatter(d_rows, logits, kept)",
         "_scatter(d_rows * count / targets.size, logits, kept)", "mask"),
    _one("mse", "the factor 2 forgotten", "d_kept *= 2 * scale", "d_kept *= scale",
         hint="half as large"),
    _one("mse", "the sign of the difference alone", "d_kept *= 2 * scale",
         "d_kept = np.sign(d_kept) * scale"),
    _one("mse", "a mean over the first axis alone", "d_kept *= 2 * scale",
         "d_kept *= 2 / len(pred)"),
    _one("stack", "the reverse direction's input gradient dropped",
         "np.add(d_x, d_part, out=d_x)", "d_x"),
    _one("stack", "the mask of dropout forgotten", "d_x *= tape.masks[depth - 1]", "pass",
         "dropout"),
    _one("stack", "the scale of dropout forgotten", "d_x *= tape.masks[depth - 1]",
         "d_x *= tape.masks[depth - 1] > 0", "dropout", hint="1-p of dropout 0.25"),
    _one("stack", "the layers' states exchanged", "return d_input, self.members(d_first)",
         "return d_input, (self.members(d_first)[0][::-1],)",
         hint="reversed along its first axis"),
)
# fmt: on
