"""Optimisers, SGD, RMSprop, Adam and AdamW, and gradient clipping.

The update rules, defaults and argument names are torch.optim's; the arrays are NumPy's, changed in
place, in their own dtype. Deliberately not here: groups with their own rates (use two optimisers),
schedules (set `opt.lr` between steps), and gradients that are missing or sparse.

`params` and `grads` are always a dict of arrays, or a list of dicts of arrays in the same order, as
in `RMSprop([lstm.params, head.params])`.
"""

from fastrnn.optim.clip import clip_grad_norm, clip_grad_value
from fastrnn.optim.rules import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "RMSprop", "clip_grad_norm", "clip_grad_value"]
