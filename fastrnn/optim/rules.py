"""The update rules, each a few lines on one parameter, its gradient and its buffers.

Every rule is torch.optim's, in torch's order of operations. Only hyper-parameters are checked here,
and nothing is allocated: a rule's temporaries go to the scratch arrays `a` and `b`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastrnn.optim.base import Arrays, Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it.

        g = grad + weight_decay * param
        v = momentum * v + (1 - dampening) * g,  but v = g at the first step
        param -= lr * v,  or with nesterov lr * (g + momentum * v)

    Args:
        params: the arrays to update in place, float32 or float64.
        lr: learning rate (default 1e-3); a plain attribute, which may be set between steps.
        momentum: decay of v (default 0: there is no v).
        dampening: share of the gradient that v leaves out (default 0).
        weight_decay: L2 penalty (default 0).
        nesterov: use Nesterov's variant (default False); needs momentum > 0 and dampening = 0.

    Raises:
        TypeError: params is not made of dicts of arrays, or a hyper-parameter is not a number.
        ValueError: an array cannot be updated in place, or a hyper-parameter is out of range.

    Example:
        >>> params = {"w": np.ones(3)}
        >>> SGD(params, lr=0.1).step({"w": np.ones(3)})
        >>> params["w"]
        array([0.9, 0.9, 0.9])

    Source: Polyak 1964; Sutskever et al. 2013, eq. 1-4, with torch's placing of lr.
    """

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr, weight_decay, ["momentum_buffer"] if momentum != 0 else [])
        self.momentum = self._number("momentum", momentum)
        self.dampening = self._number("dampening", dampening)
        self.nesterov = nesterov
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"SGD: nesterov with momentum = {momentum} and dampening = {dampening}; "
                f"expected momentum > 0 and dampening = 0."
            )

    def _update(self, param, grad, buffers, a, b):
        grad = self._decayed(param, grad, out=a)
        if self.momentum != 0:
            v = buffers["momentum_buffer"]
            if self.steps == 1:
                v[...] = grad
            else:
                v *= self.momentum
                v += np.multiply(grad, 1 - self.dampening, out=b)
            if self.nesterov:
                grad = np.add(grad, np.multiply(v, self.momentum, out=b), out=b)
            else:
                grad = v
        param -= np.multiply(grad, float(self.lr), out=b)


class RMSprop(Optimizer):
    """Gradients divided by a running root mean square of themselves.

        g = grad + weight_decay * param
        s = alpha * s + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g,  if centered; else m = 0
        u = g / (sqrt(s - m**2) + eps)
        param -= lr * u,  or with momentum lr * v, where v = momentum * v + u

    Args:
        params: the arrays to update in place, float32 or float64.
        lr: learning rate (default 1e-2); a plain attribute, which may be set between steps.
        alpha: decay of the averages (default 0.99).
        eps: added to the root (default 1e-8).
        weight_decay: L2 penalty (default 0).
        momentum: decay of v (default 0: there is no v).
        centered: divide by the standard deviation in place of the root mean square (default
            False).

    Raises:
        TypeError: params is not made of dicts of arrays, or a hyper-parameter is not a number.
        ValueError: an array cannot be updated in place, or a hyper-parameter is out of range.

    Example:
        >>> opt = RMSprop({"w": np.ones(3)}, lr=0.1)
        >>> opt.step({"w": np.full(3, 7.0)})
        >>> np.abs(opt.params[0]["w"]).round(6)
        array([0., 0., 0.])

    Source: Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850, eq. 38-41.
    """

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ):
        optional = {"momentum_buffer": momentum != 0, "grad_avg": centered}
        slots = ["square_avg", *(slot for slot, used in optional.items() if used)]
        super().__init__(params, lr, weight_decay, slots)
        self.alpha = self._number("alpha", alpha)
        self.eps = self._number("eps", eps)
        self.momentum = self._number("momentum", momentum)
        self.centered = centered

    def _update(self, param, grad, buffers, a, b):
        grad = self._decayed(param, grad, out=a)
        s = buffers["square_avg"]
        _average(s, np.square(grad, out=b), self.alpha, b)
        if self.centered:
            m = buffers["grad_avg"]
            _average(m, grad, self.alpha, b)
            s = np.subtract(s, np.square(m, out=b), out=b)
        np.sqrt(s, out=b)
        b += self.eps
        u = np.divide(grad, b, out=b)
        if self.momentum != 0:
            v = buffers["momentum_buffer"]
            v *= self.momentum
            v += u
            u = v
        param -= np.multiply(u, float(self.lr), out=b)


class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for starting at zero.

        g = grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2,  with amsgrad its largest value so far
        param -= lr * m / (1 - beta1**t) / (sqrt(s / (1 - beta2**t)) + eps)

    Args:
        params: the arrays to update in place, float32 or float64.
        lr: learning rate (default 1e-3); a plain attribute, which may be set between steps.
        betas: decay of the two means (default 0.9 and 0.999).
        eps: added to the root (default 1e-8).
        weight_decay: L2 penalty (default 0), which enters m and s; for decay that does not, see
            AdamW.
        amsgrad: never let the divisor shrink (default False).

    Raises:
        TypeError: params is not made of dicts of arrays, or a hyper-parameter is not a number.
        ValueError: an array cannot be updated in place, or a hyper-parameter is out of range.

    Example:
        >>> opt = Adam({"w": np.ones(3)}, lr=0.1)
        >>> opt.step({"w": np.full(3, 7.0)})
        >>> opt.params[0]["w"].round(6)
        array([0.9, 0.9, 0.9])

    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al. 2018,
    arXiv:1904.09237, algorithm 2.
    """

    _decoupled = False

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ):
        slots = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else [])]
        super().__init__(params, lr, weight_decay, slots)
        self.betas = tuple(self._number(f"betas[{k}]", beta, 1) for k, beta in enumerate(betas))
        if len(self.betas) != 2:
            raise ValueError(f"{self._name}: betas is {betas!r}; expected two numbers in [0, 1).")
        self.eps = self._number("eps", eps)
        self.amsgrad = amsgrad

    def _update(self, param, grad, buffers, a, b):
        (beta1, beta2), lr = self.betas, float(self.lr)
        if self._decoupled:
            param *= 1 - lr * self.weight_decay
        else:
            grad = self._decayed(param, grad, out=a)
        m, s = buffers["exp_avg"], buffers["exp_avg_sq"]
        _average(m, grad, beta1, b)
        _average(s, np.square(grad, out=b), beta2, b)
        if self.amsgrad:
            s = np.maximum(buffers["max_exp_avg_sq"], s, out=buffers["max_exp_avg_sq"])
        np.sqrt(s, out=b)
        b /= (1 - beta2**self.steps) ** 0.5
        b += self.eps
        np.divide(m, b, out=b)
        b *= lr / (1 - beta1**self.steps)
        param -= b


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter alone: first param *= 1 - lr * weight_decay.

    Args:
        params: the arrays to update in place, float32 or float64.
        lr: learning rate (default 1e-3); a plain attribute, which may be set between steps.
        betas: decay of the two means (default 0.9 and 0.999).
        eps: added to the root (default 1e-8).
        weight_decay: share of the parameter that a step of lr = 1 removes (default 1e-2).
        amsgrad: never let the divisor shrink (default False).

    Raises:
        TypeError: params is not made of dicts of arrays, or a hyper-parameter is not a number.
        ValueError: an array cannot be updated in place, or a hyper-parameter is out of range.

    Example:
        >>> opt = AdamW({"w": np.ones(3)}, lr=0.1, weight_decay=0.5)
        >>> opt.step({"w": np.zeros(3)})
        >>> opt.params[0]["w"]
        array([0.95, 0.95, 0.95])

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    _decoupled = True

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


def _average(mean: NDArray, value: NDArray, decay: float, scratch: NDArray) -> None:
    """Let mean = decay * mean + (1 - decay) * value; scratch may be value."""
    mean *= decay
    mean += np.multiply(value, 1 - decay, out=scratch)
