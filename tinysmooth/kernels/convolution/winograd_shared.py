"""Fused Winograd F(3x3, 3x3): a tile is transformed once for all 3x3 parts of a larger filter.

A 7x7 filter, filled up with zeros to 9x9, is nine 3x3 filters, applied to the image shifted by 0, 3
or 6 pixels down and across. `winograd_tiles` transforms the tiles of each of the nine images. But
where the tiles themselves are 3 pixels apart, no image has tiles of its own::

    tile (i, j) of the image shifted by (3 a, 3 b)   is   tile (i + a, j + b) of the image

    the tiles of an image      . . . . . . .       5 x 5 tiles of out, 7 x 7 patches of pixels:
    (15 x 15 pixels, 7x7       . A A A A A .       the lines of tiles A are what the part (1, 1)
    filters, padding 3)        . A A A A A .       of the filters sees, lines 1 to 5 of 0 to 6
                               . A A A A A .
                               . A A A A A .       A[tile (i, j), (a, b, c)] =
                               . A A A A A .           V[tile (i + a, j + b)][c]
                               . . . . . . .

So V holds each patch of 5 x 5 pixels once, and the two tables of the microkernel make nine of it: a
row of A begins at its tile, and the depth goes on at the tiles below and beside. Per pixel of out
that is 25 multiplications in the place of 49, where F(4x4, 3x3) would have 20; but the transforms,
a fifth to a third of the work there, are all but gone.

Filters of 3x3, a single part, share nothing. But 9 pixels are three tiles, of 3 as of 4 pixels, and
25 multiplications are fewer than 36: for many images of 5, 6, 9 or 18 pixels this is the quicker
way.

The unit is a *strip*: some lines of tiles of an image, if possible all, with the patches that they
see. The transforms are those of `transforms`, and rounding is no worse: the largest number in them
is 4.

The gradient of x is the same convolution with the filters turned. For the gradient of the filters a
tile of the gradient of out, 3 x 3 pixels, plays the filter, and the filters' parts the pixels::

    dW part = A^T [ sum over tiles of  (G dout G^T) * (B^T d B) ] A
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.statistics import FLUSH, add_tile, flush
from tinysmooth.kernels.convolution.transforms import (
    transform_shared_filter,
    transform_shared_input,
    transform_shared_output,
)
from tinysmooth.kernels.convolution.winograd_patches import copy_patch
from tinysmooth.kernels.convolution.winograd_tiles import (
    SLICE_GAP,
    TOGETHER,
    add_tiles,
    multiply_tiles,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import panel_width
from tinysmooth.kernels.vectors import LANES, load, store_tail
from tinysmooth.kernels.views import behind

TILE = 3
"""Pixels on the side of a tile, taps on that of a part of a filter, and pixels between the parts:
all three must be the same."""

SIDE = 5
"""Pixels on the side of a patch, 2 TILE - 1."""

POSITIONS = SIDE * SIDE
"""Numbers of a transformed tile."""


@jit
def input_patches(
    x: np.ndarray,
    sizes: tuple[int, ...],
    start: int,
    stop: int,
    v: np.ndarray,
    slice_size: int,
    patch: np.ndarray,
) -> int:
    """Transform the patches of strips start to stop; return how many tiles of out these have."""
    _, height, width, channels, rows, columns, _ = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across, lines, strips, row = sizes[7:14]
    down, across = (rows + TILE - 1) // TILE, (columns + TILE - 1) // TILE
    beside = across + shifts_across - 1
    grid = (lines + shifts_down - 1) * beside
    padded, pixels = (channels + LANES - 1) // LANES * LANES, SIDE * channels
    tiles = 0
    for strip in range(start, stop):
        image, number = divmod(strip, strips)
        first = number * lines
        some = min(lines, down - first)
        tiles += some * across
        for i in range(some + shifts_down - 1):
            for j in range(beside):
                top, left = (first + i) * TILE - pad_top, j * TILE - pad_left
                to = ((strip - start) * grid + i * beside + j) * row
                inside = top >= 0 and left >= 0 and top + SIDE <= height and left + SIDE <= width
                at, line = ((image * height + top) * width + left) * channels, width * channels
                last = at + (SIDE - 1) * (line + channels)
                # Lanes behind the channels may hold the next pixel's: nothing multiplies them.
                if inside and last + padded <= x.size:
                    for c in range(0, padded, LANES):
                        transform_shared_input(
                            x, at + c, line, channels, v, to + c, SIDE * slice_size, slice_size
                        )
                    continue
                copy_patch(
                    x, image, top, left, height, width, channels, 0, channels, SIDE, SIDE, patch
                )
                for c in range(0, padded, LANES):
                    transform_shared_input(
                        patch, c, pixels, channels, v, to + c, SIDE * slice_size, slice_size
                    )
    return tiles


@jit
def place_of(tile: int, start: int, lines: int, strips: int, across: int) -> tuple[int, int, int]:
    """Return image, top and left of a tile of out, counted from the first of strip `start`."""
    strip, place = divmod(tile, lines * across)
    image, number = divmod(start + strip, strips)
    return image, (number * lines + place // across) * TILE, place % across * TILE


@jit
def output_pixels(
    m: np.ndarray,
    offset: int,
    slice_size: int,
    out: np.ndarray,
    place: tuple[int, int, int],
    size: tuple[int, int, int],
    first: int,
    last: int,
    patch: np.ndarray,
) -> None:
    """Transform ``m[p][offset:]`` to the 3 x 3 pixels at a place, channels first to last."""
    (image, top, left), (rows, columns, channels) = place, size
    whole = top + TILE <= rows and left + TILE <= columns
    for k in range(first, last, LANES):
        at, to = offset + k - first, ((image * rows + top) * columns + left) * channels + k
        if whole and k + LANES <= channels:
            transform_shared_output(
                m, at, SIDE * slice_size, slice_size, out, to, columns * channels, channels
            )
            continue
        transform_shared_output(m, at, SIDE * slice_size, slice_size, patch, 0, TILE * LANES, LANES)
        for i in range(min(TILE, rows - top)):
            for j in range(min(TILE, columns - left)):
                pixel = load(patch, (i * TILE + j) * LANES)
                store_tail(out, to + (i * columns + j) * channels, pixel, min(LANES, channels - k))


@jit
def gradient_pixels(
    grad: np.ndarray,
    place: tuple[int, int, int],
    size: tuple[int, int, int],
    first: int,
    width: int,
    d: np.ndarray,
    offset: int,
    slice_size: int,
    patch: np.ndarray,
) -> None:
    """Transform `width` channels of 3 x 3 pixels of the gradient to ``d[p][offset:]``."""
    (image, top, left), (rows, columns, filters) = place, size
    source, base = grad, ((image * rows + top) * columns + left) * filters + first
    line, pixel = columns * filters, filters
    if top + TILE > rows or left + TILE > columns or first + width > filters:
        used = min(width, filters - first)
        # Lanes behind the filters hold anything: their sums are not written out.
        copy_patch(grad, image, top, left, rows, columns, filters, first, used, TILE, TILE, patch)
        source, base, line, pixel = patch, 0, TILE * used, used
    for k in range(0, width, LANES):
        transform_shared_filter(
            source, base + k, line, pixel, d, offset + k, SIDE * slice_size, slice_size
        )


@jit
def forward_shared(
    part: int,
    parts: int,
    x: np.ndarray,
    u: np.ndarray,
    out: np.ndarray,
    moments: np.ndarray,
    totals: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Convolve one part of the strips; `sizes` as `winograd_shared_route` lays them out.

    Where `moments` has parts, the sums of `statistics` are taken, too.
    """
    batch, _, _, _, rows, columns, filters = sizes[:7]
    lines, strips, _, v_slice, block, tiles, depth, last_depth = sizes[11:]
    across, size = (columns + TILE - 1) // TILE, (rows, columns, filters)
    padded = (filters + LANES - 1) // LANES * LANES
    m_row = min(padded, TOGETHER)
    m_slice = tiles * m_row + SLICE_GAP
    v = workspace[part]
    m = behind(v, POSITIONS * v_slice)
    patch = behind(m, POSITIONS * m_slice)
    channels_of_v = behind(tables, tiles)
    begin, stop = batch * strips * part // parts, batch * strips * (part + 1) // parts
    for start in range(begin, stop, block):
        count = input_patches(x, sizes, start, min(stop, start + block), v, v_slice, patch)
        filled = (count + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
        for first in range(0, padded, m_row):
            width = min(padded - first, m_row)
            multiply_tiles(
                SIDE, v, v_slice, tables, filled, channels_of_v, depth, last_depth,
                u, padded, first, width, m, m_slice, m_row,
            )  # fmt: skip
            pixels = 0
            for tile in range(count):
                place = place_of(tile, start, lines, strips, across)
                output_pixels(
                    m, tile * m_row, m_slice, out, place, size, first, first + width, patch
                )
                if moments.shape[0]:
                    pixels += add_tile(
                        out, place[0], place[1], place[2], rows, columns, filters,
                        first, first + width, start + tile == begin, moments[part], TILE,
                    )  # fmt: skip
                    if tile % FLUSH == FLUSH - 1 or tile == count - 1:
                        flush(moments[part], totals[part], first, first + width, pixels)
                        pixels = 0


@jit
def filter_gradient_shared(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Add up V[p].T @ D[p] over one part of the strips in ``sums[part]``, which is (25, C, K)."""
    batch, _, _, _, rows, columns, filters = sizes[:7]
    lines, strips, _, v_slice, block, tiles, depth, last_depth = sizes[11:]
    across, size = (columns + TILE - 1) // TILE, (rows, columns, filters)
    padded = (filters + LANES - 1) // LANES * LANES
    d_slice = tiles * padded + SLICE_GAP
    v, total = workspace[part], sums[part]
    d = behind(v, POSITIONS * v_slice)
    patch = behind(d, POSITIONS * d_slice)
    channels_of_v = behind(tables, tiles)
    filled = (depth + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
    last_filled = (last_depth + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
    begin, stop = batch * strips * part // parts, batch * strips * (part + 1) // parts
    for start in range(begin, stop, block):
        count = input_patches(x, sizes, start, min(stop, start + block), v, v_slice, patch)
        for tile in range(count):
            place, first = place_of(tile, start, lines, strips, across), 0
            while first < padded:
                width = panel_width(first, padded)
                gradient_pixels(
                    grad, place, size, first, width,
                    d, first * tiles + tile * width, d_slice, patch,
                )  # fmt: skip
                first += width
        add_tiles(
            SIDE, v, v_slice, channels_of_v, filled, last_filled, tables, count,
            d, d_slice, tiles, total, padded, start - begin,
        )  # fmt: skip
