"""Convolution of any shape: the microkernel on windows that are never copied.

What `im2col` writes out for the whole batch is here only thought: row i of the matrix of windows
starts at ``windows[i]`` in a strip of the image, tap k lies ``taps[k]`` further on (`packing`
explains the tables), and the microkernel follows both::

    block of windows  A [pixels][depth]       A[i, k] = strip[windows[i] + taps[k]]
    packed filters    B [panel][depth][64]    row (tap, channel) of the depth
    A @ B                                     64 columns of out, 6 pixels at a time

The microkernel sees the same for every R, S, stride and padding. What makes them different is in
the `Grid`: window (i, j) starts at source pixel (i step + start), has so many taps, and its result
goes to output pixel (i out_step + out_start), to which a third table points::

    out[outs[i] + filter]  =  (A @ B)[i, filter]

A convolution is one such grid or several of them (`grids`), one after the other.

The gradient of the filters is A.T @ grad, summed over the blocks of a thread and then over threads.
A.T is A with its tables exchanged.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import (
    Grid,
    copy_filled,
    count_up,
    fill_up,
    find_taps,
    find_windows,
    grid_at,
    grid_depth,
    is_inside,
    zero_rows,
)
from tinysmooth.kernels.convolution.statistics import add_pixels
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ASKED
from tinysmooth.kernels.panels import PANEL, TILE_ROWS, panel_product, panel_width
from tinysmooth.kernels.vectors import LANES, WIDE, load, store, store_tail
from tinysmooth.kernels.views import behind

DEPTH_BLOCK = 768
"""Rows of a panel of filters taken at a time: 192 KB, which stay in the L2 cache for all windows
of a block."""

APART = 2**62 if WIDE else 256
"""Channels from which on even windows that need no zeros are copied for the gradient of filters:
pixels as far apart as that compete for the same places of the L1 cache. Never with AVX-512: on Zen
5 and on Intel's processors the competition costs less than the copies, without which 1x1 filters
take 0.83 to 0.98 of the time."""

TILES_AHEAD = 1 if WIDE else 2
"""How many tiles ahead pixels are asked for. A narrow tile of 64 steps is done in the time that a
line needs to come from memory: 1x1 filters on 64 channels took 1.13 times as long with one."""

HALF_STEP = 4 * TILE_ROWS
"""Half of the sums are whole tiles, and so many rows that the other half is worth a product."""


@jit
def convolve_windows(
    part: int,
    parts: int,
    source: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    moments: np.ndarray,
    totals: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    grids: np.ndarray,
    sizes: tuple[int, int, int],
) -> None:
    """Convolve one part: a share of each grid's rows or, if `by_filters`, of the panels of b.

    Where `moments` has parts, the sums of `statistics` are taken, too.
    """
    filters, most, by_filters = sizes
    padded = (filters + LANES - 1) // LANES * LANES
    c, windows = workspace[part], tables[part]
    strip, outs, taps = behind(c, most * PANEL), behind(windows, most), behind(windows, 2 * most)
    begin, stop, share, shares = 0, padded, part, parts
    if by_filters:
        panels = (padded + PANEL - 1) // PANEL
        begin, stop = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        stop, share, shares = min(stop, padded), 0, 1
    for number in range(grids.shape[0]):
        grid = grid_at(grids, number)
        inside = is_inside(grid)
        images = source if inside else strip
        find_taps(grid, inside, taps)
        rows = grid.batch * grid.windows_down
        last = rows * (share + 1) // shares
        for row in range(rows * share // shares, last, grid.block):
            after = min(row + grid.block, last)
            find_windows(source, grid, inside, row, after, strip, windows, outs)
            count = (after - row) * grid.windows_across
            convolve_block(images, windows, taps, b, out, outs, c, grid, count, begin, stop)
            if moments.shape[0]:
                add_pixels(out, outs, count, filters, begin, stop, moments[part], totals[part])


@jit
def convolve_block(
    images: np.ndarray,
    windows: np.ndarray,
    taps: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    outs: np.ndarray,
    c: np.ndarray,
    grid: Grid,
    count: int,
    begin: int,
    stop: int,
) -> None:
    """Convolve the first `count` windows with the filters of panels begin to stop."""
    filters = grid.out_channels
    padded = (filters + LANES - 1) // LANES * LANES
    # Rows of taps that lie one after the other in b are one run.
    run, runs = grid.taps_across * grid.source_channels, grid.taps_down
    if run == grid.row_of_taps:
        run, runs = run * runs, 1
    if run * runs == 0:  # no window covers these pixels
        for i in range(count):
            zero_rows(out, outs[i] + begin, 0, 1, min(stop, filters) - begin)
        return
    a_tile = windows[min(TILE_ROWS, count - 1)] - windows[0]
    following = windows[min(TILES_AHEAD * TILE_ROWS, count - 1)]
    first = begin
    while first < stop:
        width = panel_width(first, padded)
        whole = first + width <= filters  # else the last lanes must not be stored
        to, at, step = (out, first, 0) if whole else (c, 0, width)
        packed = grid.packed_at + first * grid.packed_depth
        for r in range(runs):
            for k in range(0, run, DEPTH_BLOCK):
                row = grid.first_row + r * grid.row_of_taps + k
                columns, some = behind(taps, r * run + k), min(DEPTH_BLOCK, run - k)
                panel_product(
                    images, 0, windows, 0, count, columns, some,
                    b, packed + row * width, width, width, to, at, outs, step, r + k,
                    images, following + columns[0], a_tile,
                )  # fmt: skip
        if not whole:
            store_lanes(c, width, out, outs, count, first, filters - first)
        first += width


@jit
def store_lanes(
    c: np.ndarray,
    width: int,
    out: np.ndarray,
    outs: np.ndarray,
    count: int,
    first: int,
    used: int,
) -> None:
    """Copy the first `used` floats of rows of c to the channels from `first` on of their pixels.

    The rows are `width` floats apart.
    """
    whole = used // LANES * LANES
    for i in range(count):
        for k in range(0, whole, LANES):
            store(out, outs[i] + first + k, load(c, i * width + k))
        store_tail(out, outs[i] + first + whole, load(c, i * width + whole), used - whole)


@jit
def filter_gradient_windows(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    grids: np.ndarray,
    sizes: tuple[int, int, int, int],
    add: int,
    ahead: np.ndarray,
) -> None:
    """Add up A.T @ grad; to what is there, if `add` is not 0.

    What is asked for ahead is in `ahead` where the gradient of the next product is in `grad`: that,
    or what else will have to come from memory.

    A part is a share of the rows of windows, added up in ``sums[part]``, which is (depth, K); or,
    if `by_filters`, a share of the panels over all windows, added up in ``sums[0]``.
    """
    filters, most, chunk, by_filters = sizes
    padded = (filters + LANES - 1) // LANES * LANES
    b, windows = workspace[part], tables[part]
    strip, outs, taps = behind(b, chunk * PANEL), behind(windows, most), behind(windows, 2 * most)
    size = (tables.shape[1] - 2 * most) // 2
    sum_rows = behind(taps, size)
    total = sums[0] if by_filters else sums[part]
    left, right, share, shares = 0, padded, part, parts
    if by_filters:
        panels, share, shares = (padded + PANEL - 1) // PANEL, 0, 1
        left, right = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        right = min(right, padded)
    some_taps = grid_depth(grid_at(grids, 0)) < grid_at(grids, 0).packed_depth
    if not add and (grids.shape[0] > 1 or some_taps):
        # Zones have some of the taps each: the first product does not write all sums.
        zero_rows(total, left, padded, total.size // padded, right - left)
    for number in range(grids.shape[0]):
        grid = grid_at(grids, number)
        depth = grid_depth(grid)
        if depth == 0:
            continue
        inside = is_inside(grid) and grid.source_channels < APART
        images = x if inside else strip
        find_taps(grid, inside, taps)
        fill_up(taps, depth)
        find_sum_rows(grid, padded, sum_rows)
        fill_up(sum_rows, depth)
        in_order = grid.windows_across == grid.out_width and grid.windows_down == grid.out_height
        steps = (grid.step_down, grid.step_across)
        pixel_by_pixel = inside and in_order and steps == (1, 1) and depth == grid.source_channels
        rows = grid.batch * grid.windows_down
        stop = rows * (share + 1) // shares
        for row in range(rows * share // shares, stop, grid.block):
            last = min(row + grid.block, stop)
            find_windows(x, grid, inside, row, last, strip, windows, outs)
            count = (last - row) * grid.windows_across
            for start in range(0, count, chunk):
                some = min(chunk, count - start)
                first = left
                while first < right:
                    width = panel_width(first, padded)
                    panel, at, step = grad, outs[start] + first, filters
                    # Lanes behind the last filter meet the next pixel, for sums that nobody reads;
                    # behind the last pixel is nothing, and those of a zone are not neighbours.
                    if not in_order or outs[start + some - 1] + first + width > grad.size:
                        used = min(width, filters - first)
                        for i in range(some):
                            copy_filled(grad, outs[start + i] + first, b, i * width, used)
                        panel, at, step = b, 0, width
                    # Each panel asks for its share of the gradient of the next product and, while
                    # half of the sums are made, of its pixels if those are read where they lie.
                    last_window, middle = start + some - 1, depth
                    if pixel_by_pixel and width == PANEL and depth >= HALF_STEP:
                        middle = (depth + HALF_STEP) // (2 * HALF_STEP) * HALF_STEP
                    a_tile = some * width * TILE_ROWS // middle
                    following = outs[last_window] + filters
                    panel_product(
                        images, 0, taps, 0, middle, behind(windows, start), some,
                        panel, at, step, width, total, first, sum_rows, 0, add,
                        ahead, following + some * first, min(a_tile, some * ASKED),
                    )  # fmt: skip
                    if middle < depth:
                        whole = some * depth * width // padded
                        a_tile = whole * TILE_ROWS // (depth - middle)
                        pixels = windows[last_window] + depth + some * depth * first // padded
                        panel_product(
                            images, 0, taps, middle, depth, behind(windows, start), some,
                            panel, at, step, width, total, first, sum_rows, 0, add,
                            images, pixels, min(a_tile, some * ASKED),
                        )  # fmt: skip
                    first += width
                add = 1


@jit
def find_sum_rows(grid: Grid, padded: int, rows: np.ndarray) -> None:
    """Write where the sums of (tap row, tap column, channel) are."""
    size = grid.taps_across * grid.source_channels
    for tap in range(grid.taps_down):
        first = (grid.first_row + tap * grid.row_of_taps) * padded
        count_up(behind(rows, tap * size), first, padded, size)
