"""Gradient of images with few channels or large filters: taps as columns of a product, added up.

The windows route gives each channel of x a lane of a vector, sixteen at a time: with three
channels thirteen lanes would work for nothing. Here the lanes are all taps of all channels::

    columns [pixel of out][R S C]  =  grad [pixel][K]  @  filters [K][R S C]      3x3x3: 27 of 32
    lanes dx[y, x, :]  =  sum over the taps (r, s) that reach it of  columns[i, j][r, s, :]

with i stride + r = y + padding, likewise for j. It is the transpose of im2col, done for a band of
rows of x at a time so that the columns stay in the cache. A pixel *gathers* its taps (a few short
loads and one store); adding each column to where it belongs would wait for the store before it.

The work follows the pixels of out, while that of the windows route follows those of x: where
filters are nearly as large as the image, out has far fewer.

Bands overlap: the rows of out that reach two bands are multiplied twice, R - 1 in `BAND` rows.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.packing import fill_up, zero_rows
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import TILE_ROWS, columns_cost, panel_product, panel_width
from tinysmooth.kernels.prepared import INT, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, load, splat, store_tail
from tinysmooth.kernels.views import behind

BAND = 16
"""Rows of x that are made at a time."""

GATHERED_TAP = 8
"""Adding a tap of sixteen channels to a pixel takes as long as so many multiply-adds of vectors."""

FILTERS_AS_PIXELS = 85
"""Packing the filters takes as long as the products of this many pixels."""

PACKED_TAP = 1.5
"""Nanoseconds it takes one core to pack a number of the filters, roughly."""


def cost(grad_shape: Shape, channels: int, kernel: Pair) -> float:
    """Return the time of all pixels of out, in multiply-adds of vectors.

    Small images are a band each, and their pixels make whole tiles.

    Examples
    --------
    With one pixel in an image, three of four rows of a tile are for nothing.

    >>> cost((8, 1, 1, 9), 3, (5, 5)) == cost((8, 2, 2, 9), 3, (5, 5))
    True
    """
    batch, rows, columns, filters = grad_shape
    pixels, taps = batch * round_up(rows * columns, ROWS_STEP), kernel[0] * kernel[1]
    products = filters * columns_cost(-(-taps * channels // LANES))
    gathering = GATHERED_TAP * taps * -(-channels // LANES)
    return (pixels + FILTERS_AS_PIXELS) * products + pixels * gathering


@jit
def pack_taps(
    part: int, parts: int, weight: np.ndarray, shape: tuple[int, int, int], b: np.ndarray
) -> None:
    """Copy a part of the filters (K, C, R S) to ``b[panel][K][width]``: a column is (tap, channel).

    Columns that fill up the last panel are zeros.
    """
    filters, channels, area = shape
    lanes = (area * channels + LANES - 1) // LANES * LANES
    first = 0
    while first < lanes:
        width = panel_width(first, lanes)
        stop = min(first + width, area * channels)
        for k in range(filters * part // parts, filters * (part + 1) // parts):
            to, at = first * filters + k * width, k * channels * area
            tap, channel = divmod(first, channels)
            for column in range(stop - first):
                b[to + column] = weight[at + channel * area + tap]
                channel += 1
                if channel == channels:
                    tap, channel = tap + 1, 0
            zero_rows(b, to + stop - first, 0, 1, first + width - stop)
        first += width


@jit
def gather_rows(
    part: int,
    parts: int,
    grad: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Make one part of the bands of dx; `b` holds the packed filters (K, R S C)."""
    batch, height, width, channels, rows, columns, filters, kernel_rows, kernel_columns = sizes[:9]
    down, right, top, left, lanes, most = sizes[9:]
    c, pixels = workspace[part], tables[part]
    all_filters = behind(pixels, most)
    for k in range(filters):
        all_filters[k] = k
    bands = (height + BAND - 1) // BAND
    for band in range(batch * bands * part // parts, batch * bands * (part + 1) // parts):
        image, first_y = band // bands, band % bands * BAND
        stop_y = min(height, first_y + BAND)
        # Rows of out that reach the band: i down + r = y + top for some tap r.
        i0 = max(0, (first_y + top - kernel_rows + down) // down)
        i1 = max(i0, min(rows, (stop_y - 1 + top) // down + 1))
        count = (i1 - i0) * columns
        at = (image * rows + i0) * columns * filters
        for pixel in range(count):
            pixels[pixel] = at + pixel * filters
        fill_up(pixels, count)
        first = 0
        while first < lanes:
            size = panel_width(first, lanes)
            panel_product(
                grad, 0, pixels, 0, count, all_filters, filters,
                b, first * filters, size, size, c, first, pixels, lanes, 0,
                grad, at + TILE_ROWS * filters, TILE_ROWS * filters,
            )  # fmt: skip
            first += size
        gather_band(c, out, sizes, image, first_y, stop_y, i0, i1)


@jit
def gather_band(
    c: np.ndarray,
    out: np.ndarray,
    sizes: tuple[int, ...],
    image: int,
    first_y: int,
    stop_y: int,
    i0: int,
    i1: int,
) -> None:
    """Add up the taps of the rows first_y to stop_y; `c` holds the columns of rows i0 to i1.

    The taps that reach one pixel lie in equal steps behind one another: one tap further in the
    filter is one pixel back in the image.
    """
    _, height, width, channels, _, columns, _, kernel_rows, kernel_columns = sizes[:9]
    down, right, top, left, lanes, _ = sizes[9:]
    next_row = down * kernel_columns * channels - columns * lanes
    next_column = right * channels - lanes
    for y in range(first_y, stop_y):
        i, r = divmod(y + top, down)
        # Tap r + t down meets row i - t.
        t0, t1 = max(0, i - i1 + 1), min((kernel_rows - r + down - 1) // down, i - i0 + 1)
        row = (i - t0 - i0) * columns * lanes + (r + t0 * down) * kernel_columns * channels
        j, s = divmod(left, right)
        to = (image * height + y) * width * channels
        for _ in range(width):
            u0 = max(0, j - columns + 1)
            u1 = min((kernel_columns - s + right - 1) // right, j + 1)
            at = row + (j - u0) * lanes + (s + u0 * right) * channels
            for channel in range(0, channels, LANES):
                total, tap = splat(0.0), at + channel
                for _ in range(t0, t1):
                    for u in range(u1 - u0):
                        total = total + load(c, tap + u * next_column)
                    tap += next_row
                store_tail(out, to + channel, total, min(LANES, channels - channel))
            to += channels
            s += 1
            if s == right:
                j, s = j + 1, 0


@remembered
def _prepare(
    grad: Shape, weight: Shape, images: Shape, stride: Pair, padding: Pair, num_threads: int
) -> Calls:
    filters, channels, *kernel = weight
    batch, height = images[:2]
    rows, columns = grad[1:3]
    taps = kernel[0] * kernel[1] * channels
    lanes = round_up(taps, LANES)
    packed = filters * lanes

    bands = batch * -(-height // BAND)
    work = batch * rows * columns * (packed / PRODUCTS_PER_NANOSECOND + taps / channels)
    parts = plan_parts(work, limit=bands)
    reach = min(rows, (BAND + kernel[0] - 2) // stride[0] + 1)
    most = round_up(reach * columns, ROWS_STEP)

    b = Piece(0, (packed,))
    workspace = Piece(b.stop, (parts, most * lanes + LANES))
    tables = Piece(workspace.stop, (parts, most + filters), INT)
    bank = (flat(weight), (filters, channels, kernel[0] * kernel[1]), b)
    sizes = (*images, rows, columns, filters, *kernel, *stride, *padding, lanes, most)
    arrays = (flat(grad), b, flat(images), workspace, tables)
    steps = (
        Prepared(pack_taps, plan_parts(PACKED_TAP * packed), *bank),
        Prepared(gather_rows, parts, *arrays, sizes),
    )
    return Calls(steps, tables.stop, parts)


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    shapes = (grad.shape, weight.shape, tuple(input_shape))
    calls = _prepare(*shapes, stride, padding, get_num_threads())
    out = memory.empty(input_shape, np.float32)
    floats, (pack, gathering) = memory.workspace(calls.floats), calls.steps
    pack.run(floats, weight)
    gathering.run(floats, grad, out)
    return out
