"""How the tests of models see into a fit: what the loop was given, and the same loop in torch.

The torch side is written from the definitions: one sequence at a time, without padding, so that it
shares no code with what it judges; only which sequences make a batch is asked of the package.
"""

from typing import NamedTuple

import numpy as np
import pytest

from fastrnn.models import batches, training


class Seen(NamedTuple):
    """What the loop was given, and the parameters before it ran."""

    parts: list
    losses: object
    lengths: np.ndarray
    first: list


def fit(model, *data, **more):
    """Fit a model, and return what the loop saw."""
    seen, run = [], training.Trainer.run

    def watched(trainer, *args, **options):
        parts, (losses, drawn) = list(trainer.parts.values()), trainer.task
        seen.append(Seen(parts, losses, drawn.args[0], [part.state_dict() for part in parts]))
        run(trainer, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "run", watched)
        model.fit(*data, **more)
    return seen[0]


def in_torch(seen):
    """Return torch's modules for the parts of a network, in float64, as it was before training."""
    torch = pytest.importorskip("torch")
    modules = []
    for part, first in zip(seen.parts, seen.first, strict=True):
        kind = getattr(torch.nn, type(part).__name__)
        if hasattr(part, "in_features"):
            module = kind(part.in_features, part.out_features)
        else:
            own = {"nonlinearity": part.nonlinearity} if hasattr(part, "nonlinearity") else {}
            module = kind(
                part.input_size,
                part.hidden_size,
                part.num_layers,
                bidirectional=part.bidirectional,
                **own,
            )
        module.double().load_state_dict({name: torch.tensor(p) for name, p in first.items()})
        modules.append(module)
    return modules


def train_in_torch(model, modules, losses, lengths, validate=None):
    """Return the history of the same training: `losses(rows)` yields torch's of a batch."""
    import torch

    params = [p for module in modules for p in module.parameters()]
    for p in params:
        p.grad = torch.zeros_like(p)
    rules = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
    rule = getattr(torch.optim, rules[model.optimizer])
    optimizer = rule(params, lr=model.lr, **(model.optimizer_options or {}))
    random = np.random.default_rng(np.random.SeedSequence(model.seed, spawn_key=(1,)))
    learnt = np.arange(len(lengths))
    if model.validation_fraction and validate is None:
        learnt, held_out = batches.split(len(lengths), model.validation_fraction, random)

        def validate():
            return [loss for row in held_out for loss in losses(np.array([row]))]

    history = {"loss": [], "gradient_norm": [], "validation_loss": []}
    for epoch in range(model.epochs):
        optimizer.param_groups[0]["lr"] = model.lr * model.lr_decay**epoch
        found, norms = [], []
        for rows in batches.shuffled(lengths, learnt, model.batch_size, random):
            for loss, weight in losses(rows):
                optimizer.zero_grad(set_to_none=False)
                loss.backward()
                norms.append(float(torch.nn.utils.clip_grad_norm_(params, float("inf"))))
                if model.clip_value is not None:
                    torch.nn.utils.clip_grad_value_(params, model.clip_value)
                if model.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(params, model.clip_norm)
                optimizer.step()
                found.append((loss.item(), weight))
        history["loss"].append(_mean(found))
        history["gradient_norm"].append(np.mean(norms))
        if validate is not None:
            with torch.no_grad():
                found = [(loss.item(), weight) for loss, weight in validate()]
            history["validation_loss"].append(_mean(found))
    return history


def _mean(found):
    values, weights = np.array(found).T
    return (values * weights).sum() / weights.sum()


def last_state(rnn, x, truncate):
    """Return the final state of one sequence (T, I); its gradient goes back `truncate` steps."""
    import torch

    state, k = None, truncate or len(x)
    if len(x) > k:
        with torch.no_grad():
            _, state = rnn(x[:-k, None])
    return rnn(x[-k:, None], state)[1]


def top(rnn, state):
    """Return the final h of the top layer, (D * H,)."""
    import torch

    h = state[0] if isinstance(state, tuple) else state
    return torch.cat(list(h[-2:, 0] if rnn.bidirectional else h[-1:, 0]))


def step_losses(rnn, head, inputs, targets, truncate, states):
    """Yield the losses of sequences (T_n, I) with a target for each step, a piece at a time."""
    import torch

    states, longest = list(states), max(map(len, inputs))
    k = truncate or longest
    for t in range(0, longest, k):
        logits, right = [], []
        for n, (x, y) in enumerate(zip(inputs, targets, strict=True)):
            if t < len(x):
                output, states[n] = rnn(x[t : t + k, None], states[n])
                logits.append(head(output[:, 0]))
                right.append(y[t : t + k])
        right = torch.cat(right)
        yield torch.nn.functional.cross_entropy(torch.cat(logits), right), len(right)
        states = [
            None
            if s is None
            else tuple(m.detach() for m in s)
            if isinstance(s, tuple)
            else s.detach()
            for s in states
        ]


def one_hot(indices, size):
    import torch

    return torch.nn.functional.one_hot(torch.tensor(indices), size).double()
