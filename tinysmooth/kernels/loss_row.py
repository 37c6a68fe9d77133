"""One row of logits: its exps and their sums, and the row scaled.

These are the two sweeps that the kernels of `tinysmooth.kernels.loss` are made of, each written
twice: for float32 with vectors of sixteen, for float64 with the exact exp of the C library. Which
one a kernel gets is decided by the dtype when it is compiled (Numba's ``overload``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from tinysmooth.kernels.compiler import OPTIONS
from tinysmooth.kernels.exponential import exp_of_difference, fill_tail, largest_lane, sum_lanes
from tinysmooth.kernels.vectors import (
    LANES,
    fma,
    load,
    load_tail,
    maximum,
    select_greater,
    splat,
    store,
    store_tail,
)

__all__ = ["row_exps", "scale_row"]

BLOCK = 2048
"""Numbers summed in float32 before the sum goes to float64; a multiple of LANES."""


def row_exps(logits: Any, row: Any, out: Any, line: Any) -> Any:
    """Write exp(z - max z) to ``out[line]``; chosen by dtype when a kernel is compiled.

    Returns the maximum, the sum of the exps without the winner's 1, and the sum of z - max z.
    """
    raise NotImplementedError


def _row_exps_float32(logits: Any, row: Any, out: Any, line: Any) -> Any:
    size = logits.shape[1]
    whole = size - size % LANES
    start, begin = row * size, line * size
    lowest, zero, one = splat(-np.inf), splat(0.0), splat(1.0)
    barely_less = splat(-1e-45)  # the negative float nearest to 0

    a, b = lowest, lowest
    for i in range(0, whole - LANES, 2 * LANES):
        a = maximum(load(logits, start + i), a)
        b = maximum(load(logits, start + i + LANES), b)
    if whole % (2 * LANES):
        a = maximum(load(logits, start + whole - LANES), a)
    if whole < size:
        tail = load_tail(logits, start + whole, size - whole)
        b = maximum(fill_tail(tail, size - whole, lowest), b)
    top = largest_lane(maximum(a, b))

    m = splat(top)
    rest, distance, winners = 0.0, 0.0, 0.0
    for i in range(0, size, BLOCK):
        stop = min(i + BLOCK, whole)
        sums, distances, ties = zero, zero, zero
        for k in range(i, stop, LANES):
            z = load(logits, start + k)
            e = exp_of_difference(z, m)
            store(out, begin + k, e)
            d = z - m
            sums = sums + select_greater(d, barely_less, zero, e)
            ties = ties + select_greater(d, barely_less, one, zero)
            distances = distances + d
        if stop == whole and whole < size and stop < i + BLOCK:
            count = size - whole
            z = fill_tail(load_tail(logits, start + whole, count), count, m)
            e = exp_of_difference(z, m)
            store_tail(out, begin + whole, e, count)
            d = z - m
            sums = sums + select_greater(d, barely_less, zero, e)
            # The lanes past the end were filled with the maximum: they are ties, at distance 0.
            ties = ties + fill_tail(select_greater(d, barely_less, one, zero), count, zero)
            distances = distances + d
        rest += np.float64(sum_lanes(sums))
        winners += np.float64(sum_lanes(ties))
        distance += np.float64(sum_lanes(distances))
    if distance == -np.inf:  # a class with logit -inf, or a difference too large for a float32
        distance = 0.0
        for k in range(size):
            distance += np.float64(logits[row, k]) - np.float64(top)
    return np.float64(top), rest + (winners - 1.0), distance


def _row_exps_float64(logits: Any, row: Any, out: Any, line: Any) -> Any:
    size = logits.shape[1]
    winner = 0
    for k in range(size):
        if logits[row, k] > logits[row, winner]:
            winner = k
    top = logits[row, winner]
    rest, distance = top - top, 0.0  # 0, or NaN if the winner is infinite or NaN
    for k in range(size):
        d = logits[row, k] - top
        e = math.exp(d)
        out[line, k] = e
        distance += d
        if k != winner:
            rest += e
    return top, rest, distance


@overload(row_exps, jit_options=OPTIONS)
def _choose_row_exps(logits: Any, row: Any, out: Any, line: Any) -> Any:
    if logits.dtype == types.float32:
        return _row_exps_float32
    return _row_exps_float64


def scale_row(out: Any, line: Any, factor: Any, offset: Any) -> Any:
    """Replace every number of ``out[line]`` by number * factor + offset; chosen by dtype."""
    raise NotImplementedError


def _scale_row_float32(out: Any, line: Any, factor: Any, offset: Any) -> Any:
    size = out.shape[1]
    whole = size - size % LANES
    begin = line * size
    times, plus = splat(factor), splat(offset)
    for k in range(begin, begin + whole, LANES):
        store(out, k, fma(load(out, k), times, plus))
    if whole < size:
        count = size - whole
        value = fma(load_tail(out, begin + whole, count), times, plus)
        store_tail(out, begin + whole, value, count)


def _scale_row_float64(out: Any, line: Any, factor: Any, offset: Any) -> Any:
    for k in range(out.shape[1]):
        out[line, k] = out[line, k] * factor + offset


@overload(scale_row, jit_options=OPTIONS)
def _choose_scale_row(out: Any, line: Any, factor: Any, offset: Any) -> Any:
    return _scale_row_float32 if out.dtype == types.float32 else _scale_row_float64
