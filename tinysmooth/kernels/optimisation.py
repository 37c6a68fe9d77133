"""The updates of SGD and AdamW in one pass over flat buffers, compiled.

NumPy's version reads and writes the buffers once for each arithmetic operation; here each number
is read once, updated in registers and written once. The loops are plain: all buffers have one
dtype, LLVM vectorises them, and memory sets the pace.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.threads import run_parallel

__all__ = ["adamw_update", "sgd_update"]

Array = NDArray[Any]

SGD_NANOSECONDS = 1.0
ADAMW_NANOSECONDS = 1.5
"""Rough cost of one parameter, one core."""


@jit
def _sgd_parts(  # type: ignore[no-untyped-def]
    part, parts, parameters, grads, velocity, decay, lr, momentum, nesterov
):
    """Update this part's parameters. ``lr`` and ``momentum`` have the dtype of the buffers."""
    mine = slice(parameters.size * part // parts, parameters.size * (part + 1) // parts)
    p, g, v, shrink = parameters[mine], grads[mine], velocity[mine], decay[mine]
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
def _adamw_parts(  # type: ignore[no-untyped-def]
    part, parts, parameters, grads, first, second, decay, numbers
):
    """Update this part's parameters. ``numbers`` are in the dtype of the buffers."""
    lr, step_size, keep_first, keep_second, new_first, new_second, root, eps = numbers
    mine = slice(parameters.size * part // parts, parameters.size * (part + 1) // parts)
    p, g, m, v, shrink = parameters[mine], grads[mine], first[mine], second[mine], decay[mine]
    for i in range(p.size):
        m[i] = keep_first * m[i] + new_first * g[i]
        v[i] = keep_second * v[i] + new_second * (g[i] * g[i])
        shrunk = p[i] - lr * shrink[i] * p[i]
        p[i] = shrunk - step_size * m[i] / (math.sqrt(v[i]) * root + eps)


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
    run_parallel(_adamw_parts, parameters, grads, first, second, decay, numbers, work=work)
