"""Batch norm backward: two sweeps over ``x`` and the gradient, with little kept from the forward.

With ``d`` the gradient of the normalised image (see the reference for the formulas)::

    sweep 1:  sum(d) and sum(d * (x - mean))               --> dbias, dweight, three coefficients
    sweep 2:  dx = d * direct + (x - mean) * slope + constant

where, per channel and over M pixels, ::

    direct = weight * inv_std      constant = -direct * dbias / M
                                   slope    = -direct * dweight * inv_std / M

Sweeps over ``x`` find ``d`` anew: they compute ``x * scale + shift`` exactly as the forward pass
did, and with it where ReLU cut off and which tap of each 2x2 window was the maximum. That costs
less than reading a stored mask would. Pooling is the tournament of its four taps: left against
right in both rows, then the two winners, where the later tap needs to be larger, so that the first
maximum wins.

Through pooling ``d`` is zero but for one pixel of a window, whose ``x * scale + shift`` is the
result of the forward pass. If that is at hand, sweep 1 reads it in the place of ``x``, a quarter of
the memory: ``x - mean`` is ``(result - centre) / scale``, ``centre = mean * scale + shift``. Not if
rounding would tell: see `FARTHEST` and `SMALLEST`, which every channel must keep to.

Without statistics of this batch (``training=False``) slope and constant are zero.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.backward_sums import (
    CONSTANT,
    DIRECT,
    MEAN,
    NOTHING,
    SCALE,
    SHIFT,
    SLOPE,
    WEIGHT,
    finish_sums,
    sum_parts,
    sum_pool_parts,
)
from tinysmooth.kernels.normalisation.forward import NANOSECONDS_PER_FLOAT
from tinysmooth.kernels.normalisation.lanes import (
    FOUR,
    LANES,
    floor_of,
    pixels_together,
    read,
    select_above,
    select_larger,
    write,
)
from tinysmooth.kernels.prepared import (
    DOUBLE,
    INT,
    REMEMBERED,
    Calls,
    Given,
    Piece,
    Prepared,
    flat,
)
from tinysmooth.kernels.reference import normalisation as reference
from tinysmooth.kernels.thread_count import plan_parts
from tinysmooth.kernels.vectors import fma, load, select_equal, splat

Array = NDArray[Any]
Shape = tuple[int, ...]


@jit
def _through_statistics(value: Any, table: Array, c: int) -> Any:
    """Return the part of dx that goes through mean and variance.

    With constants in their place the slope is 0; infinity times 0 would be NaN.
    """
    slope, constant = load(table[SLOPE], c), load(table[CONSTANT], c)
    through = fma(value - load(table[MEAN], c), slope, constant)
    return select_equal(slope, splat(np.float32(0)), constant, through)


@jit
def write_dx(
    x: Array,
    grad: Array,
    first: int,
    last: int,
    channels: int,
    table: Array,
    floor: float,
    dx: Array,
    origin: int,
) -> None:
    """Write dx of pixels first to last, to ``dx`` without the `origin` floats that come first."""
    zero = splat(np.float32(0))
    low = splat(floor)
    for pixel in range(first, last):
        start = pixel * channels
        for c in range(0, channels, LANES):
            count = channels - c
            value = read(x, start + c, count)
            d = read(grad, start + c, count)
            d = select_above(fma(value, load(table[SCALE], c), load(table[SHIFT], c)), low, d, zero)
            through = _through_statistics(value, table, c)
            write(dx, start - origin + c, fma(d, load(table[DIRECT], c), through), count)


@jit
def write_dx_pool(
    x: Array,
    grad: Array,
    first: int,
    last: int,
    height: int,
    width: int,
    channels: int,
    table: Array,
    floor: float,
    dx: Array,
    origin: int,
) -> None:
    """Do as `write_dx` through the pooling, for pairs of rows; an odd last one is alone."""
    out_height = height // 2
    out_width = width // 2
    pairs = (height + 1) // 2
    below = width * channels
    zero = splat(np.float32(0))
    low = splat(floor)
    for row in range(first, last):
        image = row // pairs
        pair = row % pairs
        top = (image * height + pair * 2) * below
        windows = out_width if pair < out_height else 0
        for column in range(windows):
            for c in range(0, channels, LANES):
                count = channels - c
                factor, summand = load(table[SCALE], c), load(table[SHIFT], c)
                corner = top + 2 * column * channels + c
                x0 = read(x, corner, count)
                x1 = read(x, corner + channels, count)
                x2 = read(x, corner + below, count)
                x3 = read(x, corner + below + channels, count)
                y0 = fma(x0, factor, summand)
                y1 = fma(x1, factor, summand)
                y2 = fma(x2, factor, summand)
                y3 = fma(x3, factor, summand)
                upper = select_larger(y1, y0, y1, y0)
                lower = select_larger(y3, y2, y3, y2)
                best = select_larger(lower, upper, lower, upper)
                to = corner - origin
                target = ((image * out_height + pair) * out_width + column) * channels + c
                d = read(grad, target, count) * load(table[DIRECT], c)
                d = select_above(best, low, d, zero)
                d_upper = select_larger(lower, upper, zero, d)
                d_lower = select_larger(lower, upper, d, zero)
                d0 = select_larger(y1, y0, zero, d_upper) + _through_statistics(x0, table, c)
                d1 = select_larger(y1, y0, d_upper, zero) + _through_statistics(x1, table, c)
                d2 = select_larger(y3, y2, zero, d_lower) + _through_statistics(x2, table, c)
                d3 = select_larger(y3, y2, d_lower, zero) + _through_statistics(x3, table, c)
                write(dx, to, d0, count)
                write(dx, to + channels, d1, count)
                write(dx, to + below, d2, count)
                write(dx, to + below + channels, d3, count)
        # What no window covers still moves the statistics of the batch.
        for line in range(pair * 2, min(pair * 2 + 2, height)):
            for column in range(2 * windows, width):
                start = ((image * height + line) * width + column) * channels
                for c in range(0, channels, LANES):
                    value = _through_statistics(read(x, start + c, channels - c), table, c)
                    write(dx, start - origin + c, value, channels - c)


@jit
def write_dx_rows(
    x: Array,
    grad: Array,
    first: int,
    last: int,
    shape: tuple[int, int, int],
    pool: int,
    table: Array,
    floor: float,
    dx: Array,
    origin: int,
) -> None:
    """Do as `write_dx` for rows of pixels or, through the pooling, as `write_dx_pool` for pairs."""
    height, width, channels = shape
    if pool:
        write_dx_pool(x, grad, first, last, height, width, channels, table, floor, dx, origin)
    else:
        write_dx(x, grad, first * width, last * width, channels, table, floor, dx, origin)


@jit
def _dx_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    gradients: Array,
    dx: Array,
    sizes: tuple[int, int, int, int, int, int],
    floor: float,
    tables: Array,
    sums: Array,
) -> None:
    """Write this part's rows of dx; and dweight and dbias, each part to a row of its own."""
    count, height, width, channels, training, pool = sizes
    pixels, table = count * height * width, tables[part]
    finish_sums(sums, found, pixels * training, channels, numbers, table, gradients[part])
    rows = count * ((height + 1) // 2 if pool else height)
    first, last = rows * part // parts, rows * (part + 1) // parts
    shape = (height, width, channels)
    write_dx_rows(x, grad, first, last, shape, pool, table, floor, dx, 0)


class Room(NamedTuple):
    """What both sweeps share of the workspace, from its beginning on."""

    tables: Piece
    block_sums: Piece
    sums: Piece


def room_for(channels: int, parts: int) -> Room:
    """Return the room for so many channels."""
    width = max(FOUR, -(-channels // LANES) * LANES)
    tables = Piece(0, (parts, CONSTANT + 1, width))
    block_sums = Piece(tables.stop, (parts, 2, width))
    return Room(tables, block_sums, Piece(block_sums.stop, (parts, 2, width), DOUBLE))


def parts_for(images: Shape) -> int:
    """Return the parts of both sweeps over images of this shape."""
    return plan_parts(2 * math.prod(images) * NANOSECONDS_PER_FLOAT)


def numbers_and_found(channels: int) -> tuple[Given, Given]:
    """Return what stands for the coefficients that come in, and for what the sums are of."""
    return Given((WEIGHT + 1, channels), DOUBLE), Given((1,), INT)


def halved(images: Shape, pool: bool) -> Shape:
    """Return the shape of the images behind the pooling, if there is one."""
    count, height, width, channels = images
    return (count, height // 2, width // 2, channels) if pool else images


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare_sums(images: Shape, relu: bool, pool: bool, of_result: bool, parts: int) -> Prepared:
    """Prepare sweep 1 over the images or, `of_result`, over what they became."""
    count, height, width, channels = images
    windows = halved(images, pool)
    summed = windows if of_result else images
    arrays = (flat(summed), flat(windows), *numbers_and_found(channels))
    if pool and not of_result:
        kernel, sizes = sum_pool_parts, (count * windows[1], height, width, channels)
    else:
        pixels = math.prod(summed[:3])
        kernel = sum_parts
        sizes = (pixels, channels, pixels_together(pixels, channels), int(of_result))
    return Prepared(kernel, parts, *arrays, sizes, floor_of(relu), *room_for(channels, parts))


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare_dx(images: Shape, relu: bool, pool: bool, training: bool, parts: int) -> Calls:
    """Prepare sweep 2."""
    channels = images[3]
    room, grad = room_for(channels, parts), flat(halved(images, pool))
    gradients = Given((parts, 2, channels), DOUBLE)
    arrays = (flat(images), grad, *numbers_and_found(channels), gradients, flat(images))
    sizes = (*images, int(training), int(pool))
    call = Prepared(_dx_parts, parts, *arrays, sizes, floor_of(relu), room.tables, room.sums)
    return Calls((call,), room.sums.stop, parts)


def sum_up(
    floats: Array,
    grad: Array,
    x: Array,
    numbers: Array,
    relu: bool,
    pool: bool,
    result: Array | None,
    parts: int,
) -> Array:
    """Run sweep 1, which leaves its sums in the workspace; return what they are of."""
    found = np.full(1, NOTHING, np.int64)
    if pool and result is not None:
        call = _prepare_sums(x.shape, relu, pool, True, parts)
        call.run(floats, result, grad, numbers, found)
    if found[0] == NOTHING:
        _prepare_sums(x.shape, relu, pool, False, parts).run(floats, x, grad, numbers, found)
    return found


def batch_norm_backward(
    grad: Array,
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    relu: bool,
    pool: bool,
    training: bool,
    result: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the images, the weight and the bias; see the reference."""
    if x.dtype != np.float32:
        return reference.batch_norm_backward(
            grad, x, scale, shift, mean, inv_std, weight, relu, pool, training
        )
    parts = parts_for(x.shape)
    calls = _prepare_dx(x.shape, relu, pool, training, parts)
    dx, floats = memory.empty(x.shape, x.dtype), memory.workspace(calls.floats)
    numbers = np.array((scale, shift, mean, inv_std, weight), np.float64)
    found = sum_up(floats, grad, x, numbers, relu, pool, result, parts)
    gradients = np.empty((parts, 2, x.shape[3]))
    calls.steps[0].run(floats, x, grad, numbers, found, gradients, dx)
    dweight, dbias = gradients[0].astype(weight.dtype)
    return dx, dweight, dbias
