"""What torch gives for sequences with resets, two ways: split at each one, and in a loop over time.

Slow and obvious: nothing comes from the code that is judged.
"""

import itertools

import torch

from tests.support.states import bare, members


def split(module, x, hx, reset, lengths=None):
    """Run torch's layer on every stretch between two resets, one row after the other.

    Args:
        module: one of torch.nn's, not batch first.
        x: (T, B, I).
        hx: a state.
        reset: (T, B) bool.
        lengths: (B,), or None.
    """
    slots, directions = len(members(hx)[0]), 1 + module.bidirectional
    outputs, states = [], []
    for b in range(x.shape[1]):
        end = len(x) if lengths is None else int(lengths[b])
        given = [s[:, b : b + 1] for s in members(hx)]
        if not end:
            outputs.append(None)
            states.append(given)
            continue
        cuts = [0, *(t for t in range(1, end) if reset[t, b]), end]
        pieces = list(itertools.pairwise(cuts))
        output, after = [], []
        for first, last in pieces:
            enters = [
                last == end if slot % directions else first == 0 and not reset[0, b]
                for slot in range(slots)
            ]
            chosen = [
                torch.stack([s[i] if enters[i] else torch.zeros_like(s[i]) for i in range(slots)])
                for s in given
            ]
            y, state = module(x[first:last, b : b + 1], bare(tuple(chosen)))
            output.append(y)
            after.append(members(state))
        outputs.append(torch.nn.functional.pad(torch.cat(output), (0, 0, 0, 0, 0, len(x) - end)))
        leaves = [0 if slot % directions else -1 for slot in range(slots)]
        states.append(
            [torch.stack([after[leaves[i]][k][i] for i in range(slots)]) for k in range(len(given))]
        )
    width = directions * (module.proj_size or module.hidden_size)
    nothing = x.new_zeros((len(x), 1, width))
    output = torch.cat([nothing if o is None else o for o in outputs], 1)
    return output, bare(tuple(torch.cat(s, 1) for s in zip(*states, strict=True)))


def loop(module, x, hx, reset):
    """Run torch's layer step by step, as users do: (1 - d) * h; of one direction, whole rows."""
    outputs = []
    for t in range(len(x)):
        kept = (1 - reset[t].to(x.dtype))[:, None]
        y, hx = module(x[t : t + 1], bare(tuple(kept * s for s in members(hx))))
        outputs.append(y)
    return torch.cat(outputs), hx


def gradients(module, x, hx, result):
    """Return outputs, states and the gradients at input, states and weights, as one list."""
    output, state = result
    arrays = [output, *members(state)]
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (a * torch.randn(a.shape, generator=generator, dtype=torch.float64).to(a.dtype)).sum()
        for a in arrays
    )
    inputs = [x, *members(hx), *module.parameters()]
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, found, strict=True)]
    return [a.detach() for a in (*arrays, *zeros)]
