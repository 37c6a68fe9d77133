"""The updates of SGD, AdamW and a running mean in one pass over flat buffers, compiled.

NumPy's version reads and writes the buffers once for each arithmetic operation; here each number
is read once, updated in registers and written once. The loops are plain: all buffers have one
dtype, LLVM vectorises them, and memory sets the pace.

Gradients are read where the backward pass has left them, each parameter's in an array of its own::

    parameters   [ conv1.weight | bn1.weight | bn1.bias | ... ]     one buffer
    gradients      address 0      address 1    address 2
    decay          number 0       number 1     number 2
    ends                        n0           n1         n2          where each piece of it ends

To gather them first would mean to write them and to read them once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from tinysmooth.kernels.jit import ENABLED, jit
from tinysmooth.kernels.memory import address_of
from tinysmooth.kernels.reference import optimisation as reference
from tinysmooth.kernels.threads import run_parallel

__all__ = ["adamw_update", "move_towards", "sgd_update"]

Array = NDArray[Any]

SGD_NANOSECONDS = 1.0
ADAMW_NANOSECONDS = 1.5
AVERAGE_NANOSECONDS = 0.8
"""Rough cost of one parameter, one core."""

FEWEST_AVERAGED = 4096
"""Fewer numbers NumPy averages in less time than a kernel takes to be called."""


BLOCK = 4096
"""Parameters updated at a time; parts share whole blocks."""


@jit
def _share(size: int, part: int, parts: int) -> tuple[int, int]:
    """Return where a part's parameters begin and end: at the ends of blocks."""
    count = (size + BLOCK - 1) // BLOCK
    return count * part // parts * BLOCK, min(count * (part + 1) // parts * BLOCK, size)


@intrinsic
def _pointer(context: Any, address: Any, like: Any) -> Any:
    """Return an address as a pointer to numbers of an array's dtype."""
    kind = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64, like), generate


@jit
def _gradient_from(
    at: int, stop: int, addresses: Array, ends: Array, parameters: Array
) -> tuple[int, Any, int]:
    """Return the piece that `at` lies in, its gradient from there on, and how far: a block at most.

    The gradient is a pointer: to be read by ``gradient[i]``, and without a size.
    """
    piece = start = 0
    while ends[piece] <= at:
        start = ends[piece]
        piece += 1
    size = min(ends[piece], stop, at + BLOCK) - at
    offset = (at - start) * parameters.itemsize
    return piece, _pointer(addresses[piece] + offset, parameters), size


@jit
def _sgd_parts(
    part: int,
    parts: int,
    parameters: Array,
    addresses: Array,
    ends: Array,
    velocity: Array,
    decay: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Update this part's parameters. ``lr`` and ``momentum`` have the dtype of the buffers."""
    at, stop = _share(parameters.size, part, parts)
    while at < stop:
        piece, g, size = _gradient_from(at, stop, addresses, ends, parameters)
        here = slice(at, at + size)
        p, v, shrink = parameters[here], velocity[here], decay[piece]
        if nesterov:
            for i in range(size):
                step = g[i] + shrink * p[i]
                speed = momentum * v[i] + step
                v[i] = speed
                p[i] -= lr * (step + momentum * speed)
        else:
            for i in range(size):
                speed = momentum * v[i] + (g[i] + shrink * p[i])
                v[i] = speed
                p[i] -= lr * speed
        at += size


@jit
def _adamw_parts(
    part: int,
    parts: int,
    parameters: Array,
    addresses: Array,
    ends: Array,
    first: Array,
    second: Array,
    decay: Array,
    numbers: tuple[float, ...],
) -> None:
    """Update this part's parameters. ``numbers`` are in the dtype of the buffers."""
    lr, step_size, keep_first, keep_second, new_first, new_second, root, eps = numbers
    at, stop = _share(parameters.size, part, parts)
    while at < stop:
        piece, g, size = _gradient_from(at, stop, addresses, ends, parameters)
        here = slice(at, at + size)
        p, m, v, shrink = parameters[here], first[here], second[here], decay[piece]
        for i in range(size):
            mean = keep_first * m[i] + new_first * g[i]
            square = keep_second * v[i] + new_second * (g[i] * g[i])
            m[i] = mean
            v[i] = square
            shrunk = p[i] - lr * shrink * p[i]
            p[i] = shrunk - step_size * mean / (math.sqrt(square) * root + eps)
        at += size


@jit
def _average_parts(part: int, parts: int, average: Array, latest: Array, share: float) -> None:
    """Move this part's numbers; ``share`` has their dtype."""
    here = slice(average.size * part // parts, average.size * (part + 1) // parts)
    mean, values = average[here], latest[here]  # LLVM vectorises a loop that counts from 0
    for i in range(mean.size):
        mean[i] += (values[i] - mean[i]) * share


def sgd_update(
    parameters: Array,
    grads: Sequence[Array],
    velocity: Array,
    decay: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Take one step of SGD with momentum, in place; see the reference."""
    if not ENABLED:  # there are no addresses in Python
        reference.sgd_update(parameters, grads, velocity, decay, lr, momentum, nesterov)
        return
    number = parameters.dtype.type
    scalars = (number(lr), number(momentum), bool(nesterov))
    work = parameters.size * SGD_NANOSECONDS
    arrays = (parameters, *_pieces(grads), velocity, decay)
    run_parallel(_sgd_parts, *arrays, *scalars, work=work)


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
    """Take one step of AdamW, in place; see the reference."""
    if not ENABLED:
        options = (lr, beta1, beta2, eps, step)
        reference.adamw_update(parameters, grads, first, second, decay, *options)
        return
    number = parameters.dtype.type
    numbers = (
        number(lr),
        number(lr / (1 - beta1**step)),
        number(beta1),
        number(beta2),
        number(1 - beta1),
        number(1 - beta2),
        number(1 / math.sqrt(1 - beta2**step)),
        number(eps),
    )
    work = parameters.size * ADAMW_NANOSECONDS
    arrays = (parameters, *_pieces(grads), first, second, decay)
    run_parallel(_adamw_parts, *arrays, numbers, work=work)


def move_towards(average: Array, latest: Array, share: float) -> None:
    """Move a running mean a share of the way, in place; see the reference."""
    if average.size < FEWEST_AVERAGED or not average.flags.carray:
        reference.move_towards(average, latest, share)
        return
    arrays = (average.reshape(-1), np.ascontiguousarray(latest).reshape(-1))
    work = average.size * AVERAGE_NANOSECONDS
    run_parallel(_average_parts, *arrays, average.dtype.type(share), work=work)


def _pieces(grads: Sequence[Array]) -> tuple[Array, Array]:
    """Return the addresses of gradients, and where each ends if they are laid end to end."""
    addresses = np.array([address_of(grad) for grad in grads], np.int64)
    return addresses, np.cumsum([grad.size for grad in grads], dtype=np.int64)
