"""Average and global average pooling, compiled; `max_pooling` is a room of its own.

The innermost loops run over the channels of one pixel, which lie side by side, and do the same for
each: LLVM turns them into vector code for float32 and float64 alike. A row of windows is reduced
tap by tap into its place in the result, which stays in the nearest cache meanwhile.

Forward passes are shared out by rows of windows. Backward passes are shared out by images, because
windows may overlap and two rows of them then add to the same pixel; this also fixes the order of
the additions, whatever the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.prepared import DOUBLE, PAGE, Calls, Given, Piece, Prepared, remembered
from tinysmooth.kernels.reference.pooling import pooled_size
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.threads import run_parallel

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
]

Array = NDArray[Any]
Pair = tuple[int, int]

NANOSECONDS_PER_TAP = 0.3
"""Rough cost of one tap of one channel, one core."""


@jit
def first_inside(start: int) -> int:
    """Return the first tap that does not lie in the padding before the image."""
    return max(0, -start)


@jit
def _sum_parts(
    part: int,
    parts: int,
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    scale: float,
    out: Array,
) -> None:
    """Write the sum of each window times ``scale`` for this part's rows of windows."""
    count, out_height, out_width, channels = out.shape
    height, width = x.shape[1], x.shape[2]
    rows = count * out_height
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        n, i = row // out_height, row % out_height
        top = i * stride[0] - padding[0]
        for j in range(out_width):
            left = j * stride[1] - padding[1]
            total = out[n, i, j]
            for c in range(channels):
                total[c] = 0
            for r in range(first_inside(top), min(kernel_size[0], height - top)):
                for s in range(first_inside(left), min(kernel_size[1], width - left)):
                    values = x[n, top + r, left + s]
                    for c in range(channels):
                        total[c] += values[c]
            for c in range(channels):
                total[c] *= scale


@jit
def _spread_parts(
    part: int,
    parts: int,
    grad: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    scale: float,
    dx: Array,
) -> None:
    """Add each window's gradient times ``scale`` to all its taps, for this part's images."""
    count, out_height, out_width, channels = grad.shape
    height, width = dx.shape[1], dx.shape[2]
    for n in range(count * part // parts, count * (part + 1) // parts):
        dx[n] = 0
        for i in range(out_height):
            top = i * stride[0] - padding[0]
            for j in range(out_width):
                left = j * stride[1] - padding[1]
                share = grad[n, i, j]
                for r in range(first_inside(top), min(kernel_size[0], height - top)):
                    for s in range(first_inside(left), min(kernel_size[1], width - left)):
                        target = dx[n, top + r, left + s]
                        for c in range(channels):
                            target[c] += share[c] * scale


@jit
def _global_mean_parts(part: int, parts: int, x: Array, totals: Array, out: Array) -> None:
    """Write the mean of each channel over the pixels (axis 1), summed in float64."""
    count, pixels, channels = x.shape
    total = totals[part]
    for n in range(count * part // parts, count * (part + 1) // parts):
        for c in range(channels):
            total[c] = 0.0
        for pixel in range(pixels):
            values = x[n, pixel]
            for c in range(channels):
                total[c] += values[c]
        for c in range(channels):
            out[n, c] = total[c] / pixels


@jit
def _global_spread_parts(
    part: int, parts: int, grad: Array, scale: float, shares: Array, dx: Array
) -> None:
    """Write each channel's gradient times ``scale`` to all pixels (axis 1)."""
    count, pixels, channels = dx.shape
    share = shares[part]
    for n in range(count * part // parts, count * (part + 1) // parts):
        for c in range(channels):
            share[c] = grad[n, c] * scale
        for pixel in range(pixels):
            target = dx[n, pixel]
            for c in range(channels):
                target[c] = share[c]


def avg_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return the mean of each window, padding counting as zeros; see the reference."""
    out = empty_pooled(x, kernel_size, stride, padding)
    scale = x.dtype.type(1 / math.prod(kernel_size))
    work = pooling_work(out, kernel_size)
    run_parallel(_sum_parts, x, kernel_size, stride, padding, scale, out, work=work)
    return out


def avg_pool2d_backward(
    grad: Array, input_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair
) -> Array:
    """Spread the gradient of each window evenly over its taps; see the reference."""
    dx = memory.empty(input_shape, grad.dtype)
    scale = grad.dtype.type(1 / math.prod(kernel_size))
    work = pooling_work(grad, kernel_size)
    run_parallel(_spread_parts, grad, kernel_size, stride, padding, scale, dx, work=work)
    return dx


@remembered
def _prepare_global(
    images: tuple[int, ...], dtype: np.dtype[Any], backward: bool, threads: int
) -> Calls:
    """Prepare the means of images, or the way back from the gradient of the means."""
    count, height, width, channels = images
    pixels, means = Given((count, height * width, channels), dtype), Given((count, channels), dtype)
    parts = plan_parts(math.prod(images) * NANOSECONDS_PER_TAP, count)
    room = Piece(0, (parts, channels + PAGE), dtype if backward else DOUBLE)
    if backward:
        scale = dtype.type(1 / (height * width))
        call = Prepared(_global_spread_parts, parts, means, scale, room, pixels)
    else:
        call = Prepared(_global_mean_parts, parts, pixels, room, means)
    return Calls((call,), room.stop, parts)


def global_avg_pool_forward(x: Array) -> Array:
    """Return the mean of each channel of each image; see the reference."""
    calls = _prepare_global(x.shape, x.dtype, False, get_num_threads())
    out = memory.empty((x.shape[0], x.shape[3]), x.dtype)
    calls.steps[0].run(memory.workspace(calls.floats), x, out)
    return out


def global_avg_pool_backward(grad: Array, input_shape: tuple[int, ...]) -> Array:
    """Spread the gradient of each mean evenly over its pixels; see the reference."""
    calls = _prepare_global(input_shape, grad.dtype, True, get_num_threads())
    dx = memory.empty(input_shape, grad.dtype)
    calls.steps[0].run(memory.workspace(calls.floats), grad, dx)
    return dx


def empty_pooled(x: Array, kernel_size: Pair, stride: Pair, padding: Pair) -> Array:
    size = pooled_size(x.shape, kernel_size, stride, padding)
    return memory.empty((x.shape[0], *size, x.shape[3]), x.dtype)


def pooling_work(windows: Array, kernel_size: Pair) -> float:
    return windows.size * math.prod(kernel_size) * NANOSECONDS_PER_TAP
