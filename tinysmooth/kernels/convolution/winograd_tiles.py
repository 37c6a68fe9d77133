"""Fused Winograd F(4x4, 3x3): the convolution of 3x3 filters with a quarter of the multiplications.

`tinysmooth.kernels.convolution.winograd` has the mathematics: cut the output in tiles of 4 x 4
pixels; the 6 x 6 input pixels of a tile are transformed to 36 numbers for each channel, so are the
filters, and then position p of the 36 is an ordinary matrix product over the channels::

    M[p] (tiles, K)  =  V[p] (tiles, C)  @  U[p] (C, K)          p = 0 .. 35

Done layer-wide, V and M are each 2.25 times as large as x and out, and go through main memory: that
costs more than the multiplications saved. *Fused* means: each thread takes a block of tiles small
enough for its cache, and goes all the way from pixels to pixels::

    x --input transform--> V [36][block][C]          36 block C floats, in the L2 cache
    for every 64 filters:
        for p in 0..35:  M[p] = V[p] @ U[p]          the microkernel: a panel, or with AVX2 four
        M [36][block][64] --output transform--> out

Slices of V and M are 16 floats further apart than they need be: without that, the 36 numbers of one
tile lie a multiple of 4 KB apart and compete for the same 12 places of the L1 cache.

Larger filters are sums of 3x3 filters: a 5x5 filter, filled up with zeros to 6x6, is four of them,
applied to the image shifted by 0 or 3 pixels. The shifted images count as further channels, so V
and U only grow deeper: 5x5 filters take 4 x 36 multiplications in the place of 400, or a few less
(`multiply_tiles`), and nothing else changes.

The gradient of x is the same kernel: filters turned by 180 degrees, with C and K exchanged, and
padding R - 1 - padding. The gradient of the filters adds up V[p].T @ D[p] over the tiles, D being
the transformed gradient of out.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.statistics import FLUSH, add_tile, flush
from tinysmooth.kernels.convolution.winograd_patches import (
    PATCH,
    POSITIONS,
    TILE,
    gradient_tile,
    input_tile,
    output_tile,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ASKED, ROWS_STEP
from tinysmooth.kernels.panels import TILE_ROWS, panel_product, panel_width
from tinysmooth.kernels.vectors import LANES
from tinysmooth.kernels.views import behind

TOGETHER = 64
"""Filters whose M is made at a time: one panel or, with AVX2, four, while V[p] stays near. Where V
is larger than the L2 cache, narrow panels would else fetch all of it four times as often. A whole
number of panels, because U is laid out in them."""

SLICE_GAP = 16
"""Floats between two slices of a workspace, against 4 KB aliasing."""


@jit
def input_tiles(
    x: np.ndarray,
    sizes: tuple[int, ...],
    v_row: int,
    v_slice: int,
    start: int,
    stop: int,
    v: np.ndarray,
    patch: np.ndarray,
) -> int:
    """Transform the pixels of tiles start to stop, as far as there are any; return how many."""
    batch, height, width, channels, rows, columns, _ = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across = sizes[7:]
    down, across = (rows + TILE - 1) // TILE, (columns + TILE - 1) // TILE
    count = min(stop, batch * down * across) - start
    step = v_row // (shifts_down * shifts_across)
    for tile in range(count):
        image, place = divmod(start + tile, down * across)
        i, j = divmod(place, across)
        input_tile(
            x, image, i * TILE - pad_top, j * TILE - pad_left, height, width, channels,
            shifts_down, shifts_across, v, tile * v_row, step, v_slice, patch,
        )  # fmt: skip
    return count


@jit
def multiply_tiles(
    side: int,
    v: np.ndarray,
    v_slice: int,
    tiles_of_v: np.ndarray,
    filled: int,
    channels_of_v: np.ndarray,
    depth: int,
    last_depth: int,
    u: np.ndarray,
    padded_filters: int,
    first: int,
    size: int,
    m: np.ndarray,
    m_slice: int,
    m_row: int,
) -> None:
    """M[p] = V[p] @ U[p] for `size` filters from `first` on, at all `side` x `side` positions.

    Those of the last row see nothing but the third row of a 3x3 filter. The lowest shifted images,
    which are the last of a row of V, may meet filters that have none: U is zero there, and the
    products leave them out, with a depth of `last_depth`.
    """
    for p in range(side * side):
        used, k = depth if p < side * (side - 1) else last_depth, 0
        while k < size:
            width = panel_width(k, size)
            panel = (p * padded_filters + first + k) * depth
            # It asks for the same filters at the next position: what it needs next would come too
            # late where U does not fit the L2 cache.
            panel_product(
                v, p * v_slice, tiles_of_v, 0, filled, channels_of_v, used, u, panel, width, width,
                m, p * m_slice + k, tiles_of_v, m_row, 0,
                u, panel + padded_filters * depth, used * ASKED,
            )  # fmt: skip
            k += width


@jit
def add_tiles(
    side: int,
    v: np.ndarray,
    v_slice: int,
    channels_of_v: np.ndarray,
    filled: int,
    last_filled: int,
    tiles_of_v: np.ndarray,
    count: int,
    d: np.ndarray,
    d_slice: int,
    block: int,
    total: np.ndarray,
    padded_filters: int,
    add: int,
) -> None:
    """Add V[p].T @ D[p] over `count` tiles to ``total[p]``, or write it where `add` is 0.

    In the last row of positions the gradient of the lowest shifted images may stay unwritten: it
    belongs to taps that no filter has.
    """
    for p in range(side * side):
        used, first = filled if p < side * (side - 1) else last_filled, 0
        while first < padded_filters:
            size = panel_width(first, padded_filters)
            to = p * filled * padded_filters + first
            # It asks for lines from the first of its sums on: they rarely all fit the L2 cache.
            panel_product(
                v, p * v_slice, channels_of_v, 0, used, tiles_of_v, count,
                d, p * d_slice + first * block, size, size,
                total, to, channels_of_v, padded_filters, add,
                total, to, TILE_ROWS * padded_filters,
            )  # fmt: skip
            first += size


@jit
def forward_tiles(
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
    """Convolve one part of the tiles; `sizes` as `winograd_route` lays them out.

    Where `moments` has parts, the sums of `statistics` are taken, too.
    """
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across, depth, last_depth, v_row, block = sizes[7:]
    down, across = (rows + TILE - 1) // TILE, (columns + TILE - 1) // TILE
    padded_filters = (filters + LANES - 1) // LANES * LANES
    m_row = min(padded_filters, TOGETHER)
    v_slice, m_slice = block * v_row + SLICE_GAP, block * m_row + SLICE_GAP
    v = workspace[part]
    m = behind(v, POSITIONS * v_slice)
    patch = behind(m, POSITIONS * m_slice)
    tiles_of_v, channels_of_v = tables, behind(tables, block)
    tiles = batch * down * across
    begin, stop = tiles * part // parts, tiles * (part + 1) // parts
    for start in range(begin, stop, block):
        count = input_tiles(
            x, sizes[:11], v_row, v_slice, start, min(stop, start + block), v, patch
        )
        filled = (count + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
        first = 0
        while first < padded_filters:
            size = min(padded_filters - first, m_row)
            multiply_tiles(
                PATCH, v, v_slice, tiles_of_v, filled, channels_of_v, depth, last_depth,
                u, padded_filters, first, size, m, m_slice, m_row,
            )  # fmt: skip
            pixels = 0
            for tile in range(count):
                image, place = divmod(start + tile, down * across)
                top, left = place // across * TILE, place % across * TILE
                output_tile(
                    m, tile * m_row, m_slice, out, image, top, left, rows, columns,
                    filters, first, first + size, patch,
                )  # fmt: skip
                if moments.shape[0]:
                    pixels += add_tile(
                        out, image, top, left, rows, columns, filters, first, first + size,
                        start + tile == begin, moments[part], TILE,
                    )  # fmt: skip
                    if tile % FLUSH == FLUSH - 1 or tile == count - 1:
                        flush(moments[part], totals[part], first, first + size, pixels)
                        pixels = 0
            first += size


@jit
def filter_gradient_tiles(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Add up V[p].T @ D[p] over one part of the tiles in ``sums[part]``, which is (36, C, K)."""
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across, depth, last_depth, v_row, block = sizes[7:]
    down, across = (rows + TILE - 1) // TILE, (columns + TILE - 1) // TILE
    padded_filters = (filters + LANES - 1) // LANES * LANES
    v_slice, d_slice = block * v_row + SLICE_GAP, block * padded_filters + SLICE_GAP
    v, total = workspace[part], sums[part]
    d = behind(v, POSITIONS * v_slice)
    patch = behind(d, POSITIONS * d_slice)
    tiles_of_v, channels_of_v = tables, behind(tables, block)
    tiles = batch * down * across
    filled = (depth + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
    last_filled = (last_depth + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
    begin, stop = tiles * part // parts, tiles * (part + 1) // parts
    for start in range(begin, stop, block):
        count = input_tiles(
            x, sizes[:11], v_row, v_slice, start, min(stop, start + block), v, patch
        )
        for tile in range(count):
            image, place = divmod(start + tile, down * across)
            top, left = place // across * TILE, place % across * TILE
            first = 0
            while first < padded_filters:
                size = panel_width(first, padded_filters)
                gradient_tile(
                    grad, image, top, left, rows, columns, filters, first, size,
                    d, first * block + tile * size, d_slice, patch,
                )  # fmt: skip
                first += size
        add_tiles(
            PATCH, v, v_slice, channels_of_v, filled, last_filled, tiles_of_v, count,
            d, d_slice, block, total, padded_filters, start - begin,
        )  # fmt: skip
