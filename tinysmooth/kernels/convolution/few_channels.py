"""Gradient of images with few channels: all taps as columns of one product, then added up.

The packed-windows route gives each channel of x a lane of a vector, sixteen at a time: with three
channels thirteen lanes would work for nothing. Here the lanes are all taps of all channels::

    columns [pixel of out][R S C]  =  grad [pixel][K]  @  filters [K][R S C]      3x3x3: 27 of 32
    lanes dx[y, x, :]  =  sum over the taps (r, s) that reach it of  columns[i, j][r, s, :]

with i stride + r = y + padding, likewise for j. It is the transpose of im2col, done for a band of
rows of x at a time so that the columns stay in the cache. A pixel *gathers* its taps (a few short
loads and one store); adding each column to where it belongs would wait for the store before it.

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
from tinysmooth.kernels.microkernel import ROWS_STEP, panel_product, panel_width
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES, load, splat, store_tail

BAND = 16
"""Rows of x that are made at a time."""

WORTH_IT = 0.7
"""Share of the other route's products below which this one is faster, in spite of its second
step."""


def pays(channels: int, kernel: Pair) -> bool:
    """Tell whether taps as lanes waste less than channels as lanes."""
    taps = kernel[0] * kernel[1]
    return channels <= LANES and round_up(taps * channels, LANES) < WORTH_IT * taps * LANES


@jit
def pack_taps(weight: np.ndarray, shape: tuple[int, int, int], b: np.ndarray) -> None:
    """Copy filters (K, C, R S) to ``b[panel][K][width]``: a column is (tap, channel)."""
    filters, channels, area = shape
    lanes = (area * channels + LANES - 1) // LANES * LANES
    zero_rows(b, 0, 0, 1, b.size)
    first = 0
    while first < lanes:
        width = panel_width(first, lanes)
        for column in range(first, min(first + width, area * channels)):
            tap, channel = divmod(column, channels)
            to = first * filters + column - first
            for k in range(filters):
                b[to + k * width] = weight[(k * channels + channel) * area + tap]
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
    c, pixels, all_filters = workspace[part], tables[part, :most], tables[part, most:]
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
        filled = fill_up(pixels, count)
        first = 0
        while first < lanes:
            size = panel_width(first, lanes)
            panel_product(
                *(grad, 0, pixels, 0, filled, all_filters, filters),
                *(b, first * filters, size, size, c, first, lanes, 0),
            )
            first += size
        for y in range(first_y, stop_y):
            first_r = (y + top) % down
            last_i = (y + top - first_r) // down
            for x in range(width):
                total = splat(0.0)
                first_s = (x + left) % right
                last_j = (x + left - first_s) // right
                i = last_i
                for r in range(first_r, kernel_rows, down):
                    if i0 <= i < i1:
                        j = last_j
                        for s in range(first_s, kernel_columns, right):
                            if 0 <= j < columns:
                                tap = (r * kernel_columns + s) * channels
                                total = total + load(c, ((i - i0) * columns + j) * lanes + tap)
                            j -= 1
                    i -= 1
                to = ((image * height + y) * width + x) * channels
                store_tail(out, to, total, channels)


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    filters, channels, *kernel = weight.shape
    batch, height = input_shape[:2]
    rows, columns = grad.shape[1:3]
    taps = kernel[0] * kernel[1] * channels
    lanes = round_up(taps, LANES)

    b = memory.empty((filters * lanes,), np.float32)
    pack_taps(weight.reshape(-1), (filters, channels, kernel[0] * kernel[1]), b)

    out = memory.empty(input_shape, np.float32)
    bands = batch * -(-height // BAND)
    work = batch * rows * columns * filters * lanes / PRODUCTS_PER_NANOSECOND
    parts = plan_parts(work, limit=bands)
    reach = min(rows, (BAND + kernel[0] - 2) // stride[0] + 1)
    most = round_up(reach * columns, ROWS_STEP)
    workspace = memory.empty((parts, most * lanes + LANES), np.float32)
    tables = memory.empty((parts, most + filters), np.int64)
    sizes = (*input_shape, rows, columns, filters, *kernel, *stride, *padding, lanes, most)
    arrays = (grad.reshape(-1), b, out.reshape(-1), workspace, tables)
    run_parallel(gather_rows, *arrays, sizes, parts=parts)
    return out
