"""Max-pooling, compiled: sixteen channels of a window in registers from the first tap to the last.

A window's maximum and the number of its tap are two vectors; each tap is one load, one comparison
and two selections, and both are written once::

    best, which = x[first tap], first
    every tap:    which = tap where x > best else which       best = x where x > best else best

The backward pass goes from pixel to pixel, not from window to window: a pixel's gradient is a sum
over the few windows that cover it, of those whose tap number says that it was the maximum::

    every window on the pixel:    dx[pixel] += grad[window] where which[window] == its tap, else 0

The first one writes, so that nothing need be zero before, and all that a pixel gets it gets at
once, in the nearest cache. To add window after window to the pixels of all its taps takes two to
six times as long where windows overlap. Where they lie side by side, as most do, no pixel has more
than one, and nobody need look for it.

Tap numbers are float32 in registers and int8 in memory.

Float64, and windows of more than 128 taps, take NumPy's way: the reference.

Forward passes are shared out by rows of windows, backward passes by rows of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.lanes import read, select_larger, write
from tinysmooth.kernels.pooling import empty_pooled, first_inside, pooling_work
from tinysmooth.kernels.reference import pooling as reference
from tinysmooth.kernels.thread_count import plan_parts
from tinysmooth.kernels.threads import run_parallel
from tinysmooth.kernels.vectors import (
    LANES,
    load,
    load_bytes,
    select_equal,
    splat,
    store,
    store_bytes,
)

__all__ = ["max_pool2d_backward", "max_pool2d_forward"]

Array = NDArray[Any]
Pair = tuple[int, int]


@jit
def _read_bytes(array: Array, offset: int, count: int, sixteen: Array) -> Any:
    """Read sixteen tap numbers, or the ``count`` that are left if fewer, by way of ``sixteen``."""
    if count >= LANES:
        return load_bytes(array, offset)
    for lane in range(count):
        sixteen[lane] = array[offset + lane]
    return load_bytes(sixteen, 0)


@jit
def _write_bytes(array: Array, offset: int, value: Any, count: int, sixteen: Array) -> None:
    """Write sixteen tap numbers, or the ``count`` that are left if fewer, by way of ``sixteen``."""
    if count >= LANES:
        store_bytes(array, offset, value)
    else:
        store_bytes(sixteen, 0, value)
        for lane in range(count):
            array[offset + lane] = sixteen[lane]


@jit
def _max_parts(
    part: int,
    parts: int,
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    out: Array,
    argmax: Array,
    shape: tuple[int, ...],
    last: Array,
) -> None:
    """Write the maxima and their taps for this part's rows of windows; the arrays are flat.

    ``last`` has room, for each part, for sixteen tap numbers: see `_write_bytes`.
    """
    height, width, channels, images, out_height, out_width = shape
    rows, sixteen = images * out_height, last[part]
    # Lanes behind a window's channels fall on the next window, which is written after it. So they
    # need care where there is none, or where it is another part's.
    padded = (channels + LANES - 1) // LANES * LANES
    stop = rows * (part + 1) // parts
    end = stop * out_width * channels
    for row in range(rows * part // parts, stop):
        n, i = row // out_height, row % out_height
        top = i * stride[0] - padding[0]
        r_first, r_stop = first_inside(top), min(kernel_size[0], height - top)
        for j in range(out_width):
            left = j * stride[1] - padding[1]
            s_first, s_stop = first_inside(left), min(kernel_size[1], width - left)
            to = (row * out_width + j) * channels
            corner = ((n * height + top) * width + left) * channels
            first = corner + (r_first * width + s_first) * channels
            farthest = corner + ((r_stop - 1) * width + s_stop - 1) * channels
            fits = to + padded <= end and farthest + padded <= x.size
            for c in range(0, channels, LANES):
                count = LANES if fits else channels - c
                best = read(x, first + c, count)
                which = splat(np.float32(r_first * kernel_size[1] + s_first))
                for r in range(r_first, r_stop):
                    for s in range(s_first, s_stop):
                        value = read(x, corner + (r * width + s) * channels + c, count)
                        tap = splat(np.float32(r * kernel_size[1] + s))
                        # The first tap meets itself: only a NaN takes over, from the same tap.
                        which = select_larger(value, best, tap, which)
                        best = select_larger(value, best, value, best)
                write(out, to + c, best, count)
                _write_bytes(argmax, to + c, which, count, sixteen)


@jit
def _covering(
    first: int, stop: int, pixel: int, taps: int, step: int, pad: int, windows: int
) -> tuple[int, int]:
    """Return which windows of a line cover a pixel: the first one, and the one after the last.

    ``first`` and ``stop`` are those of a pixel before: to count on is quicker than to divide.
    """
    while stop < windows and stop * step - pad <= pixel:
        stop += 1
    while first < stop and first * step - pad + taps <= pixel:
        first += 1
    return first, stop


@jit
def _write_row_once(
    row: int,
    grad: Array,
    argmax: Array,
    kernel_size: Pair,
    dx: Array,
    shape: tuple[int, ...],
    end: int,
    sixteen: Array,
) -> None:
    """Write a row of pixels where windows lie side by side: each pixel is in one, or in none."""
    height, width, channels, _, out_height, out_width = shape
    n, y = row // height, row % height
    i, r = y // kernel_size[0], y % kernel_size[0]
    padded, zero = (channels + LANES - 1) // LANES * LANES, splat(np.float32(0))
    windows = out_width if i < out_height else 0
    source, target = (n * out_height + i) * out_width * channels, row * width * channels
    first = np.float32(r * kernel_size[1])
    # Of these windows no lane behind the channels is beyond the end; see `_max_parts`.
    across = kernel_size[1] * channels
    free = min((grad.size - padded - source) // channels, (end - padded - target) // across)
    whole = max(0, min(windows, free))
    for j in range(whole):
        at, to = source + j * channels, target + j * across
        for s in range(kernel_size[1]):
            tap = splat(first + np.float32(s))
            for c in range(0, padded, LANES):
                which, share = load_bytes(argmax, at + c), load(grad, at + c)
                store(dx, to + s * channels + c, select_equal(which, tap, share, zero))
    for j in range(whole, windows):
        for s in range(kernel_size[1]):
            at, to = source + j * channels, target + j * across + s * channels
            tap = splat(first + np.float32(s))
            for c in range(0, channels, LANES):
                count = channels - c
                which = _read_bytes(argmax, at + c, count, sixteen)
                share = read(grad, at + c, count)
                write(dx, to + c, select_equal(which, tap, share, zero), count)
    dx[target + windows * across : target + width * channels] = 0


@jit
def _max_backward_parts(
    part: int,
    parts: int,
    grad: Array,
    argmax: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dx: Array,
    shape: tuple[int, ...],
    last: Array,
) -> None:
    """Write the gradient of this part's rows of pixels; arguments as in `_max_parts`."""
    height, width, channels, images, out_height, out_width = shape
    rows, zero, sixteen = images * height, splat(np.float32(0)), last[part]
    padded = (channels + LANES - 1) // LANES * LANES  # see `_max_parts`
    stop = rows * (part + 1) // parts
    end = stop * width * channels
    i_first, i_stop = 0, 0
    side_by_side = stride == kernel_size and padding == (0, 0)
    for row in range(rows * part // parts, stop):
        if side_by_side:
            _write_row_once(row, grad, argmax, kernel_size, dx, shape, end, sixteen)
            continue
        n, y = row // height, row % height
        if y == 0:
            i_first, i_stop = 0, 0
        i_first, i_stop = _covering(
            i_first, i_stop, y, kernel_size[0], stride[0], padding[0], out_height
        )
        j_first, j_stop = 0, 0
        for x in range(width):
            j_first, j_stop = _covering(
                j_first, j_stop, x, kernel_size[1], stride[1], padding[1], out_width
            )
            to, is_first = (row * width + x) * channels, True
            for i in range(i_first, i_stop):
                r = y + padding[0] - i * stride[0]
                for j in range(j_first, j_stop):
                    s = x + padding[1] - j * stride[1]
                    tap = splat(np.float32(r * kernel_size[1] + s))
                    at = ((n * out_height + i) * out_width + j) * channels
                    if to + padded <= end and at + padded <= grad.size:
                        for c in range(0, padded, LANES):
                            which, share = load_bytes(argmax, at + c), load(grad, at + c)
                            before = zero if is_first else load(dx, to + c)
                            store(dx, to + c, before + select_equal(which, tap, share, zero))
                    else:
                        for c in range(0, channels, LANES):
                            count = channels - c
                            which = _read_bytes(argmax, at + c, count, sixteen)
                            share = read(grad, at + c, count)
                            before = zero if is_first else read(dx, to + c, count)
                            after = before + select_equal(which, tap, share, zero)
                            write(dx, to + c, after, count)
                    is_first = False
            if is_first:  # no window covers it
                dx[to : to + channels] = 0


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array, Array]:
    """Return the maximum of each window, and which tap it was; see the reference."""
    tap_dtype = reference.argmax_dtype(kernel_size)
    if x.dtype != np.float32 or tap_dtype != np.int8:
        return reference.max_pool2d_forward(x, kernel_size, stride, padding)
    out = empty_pooled(x, kernel_size, stride, padding)
    argmax = memory.empty(out.shape, tap_dtype)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in (x, out, argmax)]
    window, shape = (kernel_size, stride, padding), (*x.shape[1:], *out.shape[:3])
    parts = plan_parts(pooling_work(out, kernel_size))
    run_parallel(_max_parts, flat[0], *window, *flat[1:], shape, _last(parts), parts=parts)
    return out, argmax


def max_pool2d_backward(
    grad: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> Array:
    """Send the gradient of each window to the tap that was its maximum; see the reference."""
    if grad.dtype != np.float32 or argmax.dtype != np.int8:
        return reference.max_pool2d_backward(
            grad, argmax, input_shape, kernel_size, stride, padding
        )
    dx = memory.empty(input_shape, grad.dtype)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in (grad, argmax)]
    window, shape = (kernel_size, stride, padding), (*input_shape[1:], *grad.shape[:3])
    parts, images = plan_parts(pooling_work(grad, kernel_size)), dx.reshape(-1)
    run_parallel(_max_backward_parts, *flat, *window, images, shape, _last(parts), parts=parts)
    return dx


def _last(parts: int) -> Array:
    """Return room for the last tap numbers of a pixel, some lines apart; see `prepared.PAGE`."""
    return memory.empty((parts, 4 * memory.ALIGNMENT), np.int8)
