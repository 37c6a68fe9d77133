"""Winograd for few tiles: filters are transformed where they are used, and never stored.

`winograd_tiles` transforms all filters first, to four times their size, because every block of
tiles reads them again. The last layers of a network at a small batch have many filters and hardly a
tile (512 x 512 filters, 4 x 4 pixels: one tile an image); there, writing U and reading it back
would take longer than everything else. So the loops change places. Each thread has some of the
filters and goes over all tiles::

    V [36][tiles][C]                                all of x
    for each panel of 64 filters:                            AVX2: of 16 filters
        for each group of 32 to 64 channels:
            weight --filter transform--> U [36][group][64]   used once, at once
            M [36][tiles][64]  +=  V[p][:, group] @ U[p]
        M --output transform--> out

    gradient of the filters, likewise:
        grad --> D [36][tiles][64]
        for each group:  sums [36][group][64] = V[p].T @ D[p]  --transform--> 64 filters

Each group reads and writes all of M; so groups are large where tiles are many, until U is as large
as M. For the gradient they are as large as they can be.

V is made by every thread for itself, because with few tiles that is less than a second hand-off
costs. `winograd_tiles` makes it once, but writes U and reads it back, and for the gradient of the
filters it keeps sums [36][C][K] in each thread. `winograd_costs` weighs one against the other.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import fill_up
from tinysmooth.kernels.convolution.statistics import FLUSH, add_tile, flush
from tinysmooth.kernels.convolution.winograd_filters import transform_filters, transform_sums
from tinysmooth.kernels.convolution.winograd_patches import (
    PATCH,
    POSITIONS,
    TILE,
    gradient_tile,
    output_tile,
)
from tinysmooth.kernels.convolution.winograd_tiles import SLICE_GAP, input_tiles
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ASKED
from tinysmooth.kernels.panels import PANEL, panel_product, panel_width
from tinysmooth.kernels.vectors import LANES
from tinysmooth.kernels.views import behind


@jit
def find_channels(shifts: int, step: int, some: int, columns: np.ndarray) -> int:
    """Write where `some` channels of every shifted image lie in a tile of V; return how many."""
    for shift in range(shifts):
        for c in range(some):
            columns[shift * some + c] = shift * step + c
    return shifts * some


@jit
def forward_few_tiles(
    part: int,
    parts: int,
    x: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    moments: np.ndarray,
    totals: np.ndarray,
    workspace: np.ndarray,
    gathered: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
    shape: tuple[int, int, int, int],
    backward: int,
) -> None:
    """Convolve all tiles with one part of the filters; sums as in `winograd_tiles`."""
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across, v_row, block, at_once = sizes[7:]
    shifts, step = shifts_down * shifts_across, v_row // (shifts_down * shifts_across)
    padded = (filters + LANES - 1) // LANES * LANES
    v_slice, m_slice = block * v_row + SLICE_GAP, block * PANEL + SLICE_GAP
    u_slice = shifts * at_once * PANEL + SLICE_GAP
    v, taps = workspace[part], gathered[part]
    m = behind(v, POSITIONS * v_slice)
    u = behind(m, POSITIONS * m_slice)
    patch = behind(u, POSITIONS * u_slice)
    tiles_of_v = tables[part]
    channels_of_v = behind(tiles_of_v, block)
    count = input_tiles(x, sizes[:11], v_row, v_slice, 0, block, v, patch)
    for tile in range(count):
        tiles_of_v[tile] = tile * v_row
    filled = fill_up(tiles_of_v, count)
    groups = padded // LANES
    first, stop = groups * part // parts * LANES, groups * (part + 1) // parts * LANES
    while first < stop:
        size = panel_width(first, stop)
        for c in range(0, channels, at_once):
            some = min(at_once, channels - c)
            depth = find_channels(shifts, step, some, channels_of_v)
            for k in range(0, size, LANES):
                for i in range(0, some, LANES):
                    transform_filters(
                        weight, shape, (shifts_down, shifts_across), backward,
                        first + k, c + i, min(LANES, some - i),
                        taps, u, k + i * size, size, some * size, u_slice, PATCH,
                    )  # fmt: skip
            for p in range(POSITIONS):
                panel_product(
                    v, p * v_slice + c, tiles_of_v, 0, filled, channels_of_v, depth,
                    u, p * u_slice, size, size, m, p * m_slice, tiles_of_v, PANEL, c,
                    u, (p + 1) * u_slice, depth * ASKED,
                )  # fmt: skip
        across, down, pixels = (columns + TILE - 1) // TILE, (rows + TILE - 1) // TILE, 0
        for tile in range(count):
            image, place = divmod(tile, down * across)
            top, left = place // across * TILE, place % across * TILE
            output_tile(
                m, tile * PANEL, m_slice, out, image, top, left, rows, columns,
                filters, first, first + size, patch,
            )  # fmt: skip
            if moments.shape[0]:
                pixels += add_tile(
                    out, image, top, left, rows, columns, filters, first, first + size,
                    tile == 0, moments[part], TILE,
                )  # fmt: skip
                if tile % FLUSH == FLUSH - 1 or tile == count - 1:
                    flush(moments[part], totals[part], first, first + size, pixels)
                    pixels = 0
        first += size


@jit
def filter_gradient_few_tiles(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    gathered: np.ndarray,
    sums: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, ...],
    shape: tuple[int, int, int, int],
) -> None:
    """Make the gradient of one part of the filters from all tiles."""
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, shifts_down, shifts_across, v_row, block, at_once = sizes[7:]
    shifts, step = shifts_down * shifts_across, v_row // (shifts_down * shifts_across)
    padded = (filters + LANES - 1) // LANES * LANES
    v_slice, d_slice = block * v_row + SLICE_GAP, block * PANEL + SLICE_GAP
    v, taps, total = workspace[part], gathered[part], sums[part]
    d = behind(v, POSITIONS * v_slice)
    patch = behind(d, POSITIONS * d_slice)
    tiles_of_v = tables[part]
    channels_of_v = behind(tiles_of_v, block)
    count = input_tiles(x, sizes[:11], v_row, v_slice, 0, block, v, patch)
    for tile in range(count):
        tiles_of_v[tile] = tile * v_row
    slice_size = shifts * at_once * PANEL + SLICE_GAP
    groups = padded // LANES
    first, stop = groups * part // parts * LANES, groups * (part + 1) // parts * LANES
    across, down = (columns + TILE - 1) // TILE, (rows + TILE - 1) // TILE
    while first < stop:
        size = panel_width(first, stop)
        for tile in range(count):
            image, place = divmod(tile, down * across)
            top, left = place // across * TILE, place % across * TILE
            gradient_tile(
                grad, image, top, left, rows, columns, filters, first, size,
                d, tile * size, d_slice, patch,
            )  # fmt: skip
        for c in range(0, channels, at_once):
            some = min(at_once, channels - c)
            depth = fill_up(channels_of_v, find_channels(shifts, step, some, channels_of_v))
            for p in range(POSITIONS):
                panel_product(
                    v, p * v_slice + c, channels_of_v, 0, depth, tiles_of_v, count,
                    d, p * d_slice, size, size, total[0], p * slice_size, channels_of_v, size, 0,
                    d, (p + 1) * d_slice, count * ASKED,
                )  # fmt: skip
            for k in range(0, size, LANES):
                for i in range(0, some, LANES):
                    transform_sums(
                        total, k + i * size, size, some * size, slice_size, shape,
                        (shifts_down, shifts_across), first + k, c + i, min(LANES, some - i),
                        taps, out, PATCH,
                    )  # fmt: skip
        first += size
