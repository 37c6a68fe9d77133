"""From the statistics of a batch to one factor and one summand a channel, in one short kernel.

A few numbers a channel are soon computed. In NumPy that is sixteen calls, each of which finds its
code pushed out of the caches by the kernel before. With them, and those that made the statistics of
the sums (`tinysmooth.kernels.convolution.statistics`), 140 to 170 microseconds went by in a step
between a convolution and sweep 2; with a kernel for each it is 100, and the bits are the same.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.prepared import DOUBLE, FLOAT, NO_FLOATS, REMEMBERED, Given, Prepared
from tinysmooth.kernels.reference import normalisation as reference

Array = NDArray[Any]


@jit
def _fold(
    part: int,
    parts: int,
    mean: Array,
    var: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    inv_std: Array,
    folded: Array,
    eps: float,
    kept: np.float32,
    rates: tuple[float, float],
) -> None:
    """Write ``inv_std``, and scale and shift to ``folded``; update running statistics, if any."""
    for c in range(mean.size):
        inv_std[c] = 1.0 / math.sqrt(var[c] + eps)
        scale = weight[c] * inv_std[c]
        folded[0, c] = scale
        folded[1, c] = bias[c] - mean[c] * scale
    for c in range(running_mean.size):
        running_mean[c] = running_mean[c] * kept + np.float32(rates[0] * mean[c])
        running_var[c] = running_var[c] * kept + np.float32(rates[1] * var[c])


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare(channels: int, eps: float, momentum: float, pixels: int) -> Prepared:
    """Prepare the kernel; with no `pixels` there are no running statistics."""
    wide, narrow = Given((channels,), DOUBLE), Given((channels,))
    running = Given((channels if pixels else 0,))
    rates = reference.running_rates(momentum, pixels) if pixels else (0.0, 0.0)
    arrays = (wide, wide, narrow, narrow, running, running, wide, Given((2, channels)))
    return Prepared(_fold, 1, *arrays, eps, np.float32(1 - momentum), rates)


def batch_norm_fold(
    mean: Array,
    var: Array,
    weight: Array,
    bias: Array,
    eps: float,
    dtype: np.dtype[Any],
    running: tuple[Array, Array] | None = None,
    momentum: float = 0.0,
    pixels: int = 0,
) -> tuple[Array, Array, Array]:
    """Return scale, shift and ``inv_std``, and update running statistics; see the reference."""
    moved = running or (NO_FLOATS, NO_FLOATS)
    narrow = all(array.dtype == FLOAT for array in (weight, bias, *moved))
    # A copy would be made of others, and updated in vain; a read-only one may not be.
    in_order = all(array.flags.carray for array in moved)
    if dtype != FLOAT or not (narrow and in_order):
        return reference.batch_norm_fold(
            mean, var, weight, bias, eps, dtype, running, momentum, pixels
        )
    call = _prepare(mean.size, float(eps), float(momentum), pixels if running else 0)
    inv_std, folded = np.empty(mean.size), np.empty((2, mean.size), np.float32)
    call.run(NO_FLOATS, mean, var, weight, bias, *moved, inv_std, folded)
    return folded[0], folded[1], inv_std
