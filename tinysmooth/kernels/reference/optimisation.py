"""The update rules of SGD, AdamW and a running mean in NumPy, in place on flat buffers.

All parameters of a model lie in one flat array, and so does each state of the optimiser, so that
one call updates them all. Gradients come as a list of arrays, which laid end to end are the flat
one. Weight decay is a number for each of them, because some parameters (biases, the weights of
batch norm) may have none.

With g the gradient, p the parameters and lambda the decay::

    SGD [1]_     g <- g + lambda p        v <- momentum v + g
                 p <- p - lr v            or, Nesterov,  p <- p - lr (g + momentum v)

    AdamW [2]_   p <- p - lr lambda p
                 m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
                 p <- p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

These are the conventions of ``torch.optim.SGD`` (no dampening) and ``torch.optim.AdamW``.

.. [1] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and
   momentum in deep learning", ICML 2013, in the form where the velocity holds no learning rate.
.. [2] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "adamw_update",
    "move_towards",
    "sgd_update",
]

Array = NDArray[Any]


def sgd_update(
    parameters: Array,
    grads: Sequence[Array],
    velocity: Array,
    decay: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Take one step of SGD with momentum, in place.

    Parameters
    ----------
    parameters, velocity : ndarray (P,)
        Both are overwritten. The velocity starts at zero.
    grads : sequence of ndarray
        The gradients of the parameters, in their order and of their dtype; of any shapes, in C
        order, P numbers in all. They are not changed.
    decay : ndarray (len(grads),)
        The weight decay of the parameters of each gradient, of their dtype.
    lr, momentum : float
        Learning rate, and the share of the velocity that is kept.
    nesterov : bool
        Whether to look one step ahead along the velocity.
    """
    step = _laid_end_to_end(grads) + _spread(decay, grads) * parameters
    velocity *= momentum
    velocity += step
    parameters -= lr * (step + momentum * velocity if nesterov else velocity)


def adamw_update(
    parameters: Array,
    grads: Sequence[Array],
    first: Array,
    second: Array,
    decay: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None:
    """Take one step of AdamW, in place.

    Parameters
    ----------
    parameters, first, second : ndarray (P,)
        Overwritten: the parameters and the running means of the gradient and of its square, which
        start at zero.
    grads : sequence of ndarray
        The gradients of the parameters, in their order and of their dtype; of any shapes, in C
        order, P numbers in all. They are not changed.
    decay : ndarray (len(grads),)
        The weight decay of the parameters of each gradient, of their dtype.
    lr, beta1, beta2, eps : float
        Learning rate, the shares of both running means that are kept, and the summand that keeps
        the quotient finite.
    step : int
        Number of this step, from 1.
    """
    grad = _laid_end_to_end(grads)
    parameters *= 1 - lr * _spread(decay, grads)
    first *= beta1
    first += (1 - beta1) * grad
    second *= beta2
    second += (1 - beta2) * grad**2
    deviation = np.sqrt(second) / math.sqrt(1 - beta2**step) + eps
    parameters -= lr / (1 - beta1**step) * first / deviation


def move_towards(average: Array, latest: Array, share: float) -> None:
    """Move a running mean a share of the way to the latest numbers, in place.

    Parameters
    ----------
    average : ndarray, float32 or float64
        Changed to ``average + share * (latest - average)``.
    latest : ndarray of the same shape and dtype
    share : float
        Of the way; rounded to the dtype.
    """
    average += (latest - average) * average.dtype.type(share)


def _laid_end_to_end(grads: Sequence[Array]) -> Array:
    return np.concatenate([grad.reshape(-1) for grad in grads])


def _spread(decay: Array, grads: Sequence[Array]) -> Array:
    return np.repeat(decay, [grad.size for grad in grads])
