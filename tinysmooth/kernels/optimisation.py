"""The updates of SGD, AdamW and a running mean in one pass over flat buffers, compiled.

NumPy's version reads and writes the buffers once for each arithmetic operation; here each number
is read once, updated in registers and written once. The loops are plain: all buffers have one
dtype, LLVM vectorises them, and memory sets the pace. Decay may be a full buffer or, when it is the
same for all parameters, a number broadcast to one (``np.broadcast_to``), which costs no reading.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
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
"""Parameters updated at a time: decay that is the same for all is one block, read from cache."""


@jit
def _blocks(size: int, part: int, parts: int) -> tuple[int, int]:
    """Return a part's blocks as first and last number; only the last block of all is shorter."""
    count = (size + BLOCK - 1) // BLOCK
    return count * part // parts, count * (part + 1) // parts


@jit
def _sgd_parts(
    part: int,
    parts: int,
    parameters: Array,
    grads: Array,
    velocity: Array,
    decay: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Update this part's parameters. ``lr`` and ``momentum`` have the dtype of the buffers."""
    first_block, last_block = _blocks(parameters.size, part, parts)
    for block in range(first_block, last_block):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, parameters.size))
        p, g, v = parameters[here], grads[here], velocity[here]
        shrink = decay[here] if decay.size == parameters.size else decay[: p.size]
        if nesterov:
            for i in range(p.size):
                step = g[i] + shrink[i] * p[i]
                speed = momentum * v[i] + step
                v[i] = speed
                p[i] -= lr * (step + momentum * speed)
        else:
            for i in range(p.size):
                speed = momentum * v[i] + (g[i] + shrink[i] * p[i])
                v[i] = speed
                p[i] -= lr * speed


@jit
def _adamw_parts(
    part: int,
    parts: int,
    parameters: Array,
    grads: Array,
    first: Array,
    second: Array,
    decay: Array,
    numbers: tuple[float, ...],
) -> None:
    """Update this part's parameters. ``numbers`` are in the dtype of the buffers."""
    lr, step_size, keep_first, keep_second, new_first, new_second, root, eps = numbers
    first_block, last_block = _blocks(parameters.size, part, parts)
    for block in range(first_block, last_block):
        here = slice(block * BLOCK, min((block + 1) * BLOCK, parameters.size))
        p, g, m, v = parameters[here], grads[here], first[here], second[here]
        shrink = decay[here] if decay.size == parameters.size else decay[: p.size]
        for i in range(p.size):
            mean = keep_first * m[i] + new_first * g[i]
            square = keep_second * v[i] + new_second * (g[i] * g[i])
            m[i] = mean
            v[i] = square
            shrunk = p[i] - lr * shrink[i] * p[i]
            p[i] = shrunk - step_size * mean / (math.sqrt(square) * root + eps)


@jit
def _average_parts(part: int, parts: int, average: Array, latest: Array, share: float) -> None:
    """Move this part's numbers; ``share`` has their dtype."""
    for i in range(average.size * part // parts, average.size * (part + 1) // parts):
        average[i] += (latest[i] - average[i]) * share


def sgd_update(
    parameters: Array,
    grads: Array,
    velocity: Array,
    decay: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Take one step of SGD with momentum, in place; see the reference."""
    number = parameters.dtype.type
    scalars = (number(lr), number(momentum), bool(nesterov))
    work = parameters.size * SGD_NANOSECONDS
    decay = _compact(decay)
    run_parallel(_sgd_parts, parameters, grads, velocity, decay, *scalars, work=work)


def adamw_update(
    parameters: Array,
    grads: Array,
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
    decay = _compact(decay)
    run_parallel(_adamw_parts, parameters, grads, first, second, decay, numbers, work=work)


def move_towards(average: Array, latest: Array, share: float) -> None:
    """Move a running mean a share of the way, in place; see the reference."""
    if average.size < FEWEST_AVERAGED or not average.flags.c_contiguous:
        reference.move_towards(average, latest, share)
        return
    arrays = (average.reshape(-1), np.ascontiguousarray(latest).reshape(-1))
    work = average.size * AVERAGE_NANOSECONDS
    run_parallel(_average_parts, *arrays, average.dtype.type(share), work=work)


def _compact(decay: Array) -> Array:
    """Return decay that was broadcast from one number as one block of it: a fifth less to read."""
    if decay.strides == (0,) and decay.size > BLOCK:
        return np.full(BLOCK, decay[0])
    return np.ascontiguousarray(decay)
