"""Gradient of 3x3 filters on few channels: Winograd's F(4, 3) along the lines, F(2, 3) down.

A first layer has three channels. Transformed as in `winograd_tiles`, the gradient of out becomes
36 / 16 of its size, is written, and read back to meet hardly a number of x: that takes longer than
the products it saves. Here two lines of four of its pixels become 24 values, a few at a time, which
are made in registers where they are used and go nowhere else (`band_tiles`). A band is two lines of
the gradient, and the four lines of x that its filters see::

    x, four lines of six pixels     --B^T-->   u [q][p]      q down the columns, p along the line
    grad, two lines of four pixels  --A-->     24 values
    sums[q][p][c]  +=  u[q][p] of tile and channel * value at (q, p) of the tile
    taps of channel c  =  G^T sums[:, :, c] G                       once, at the end

Those are 24 C multiply-adds for eight pixels of sixteen filters in place of 9 * 8 C, and some 30
operations for the values. Of x, `band_transforms` takes the tiles of a line four at a time, each in
four lanes, or sixteen where there is but one channel: a group, whose numbers at a point are one
vector, and all of its points follow each other::

    u [channels / 4][band][group][q][p][16 lanes]

So the products of a tile find all their numbers at fixed distances from one address.

Tables tell where the tiles of a product lie, band by band. The last pixels of a line that fill no
tile are copied, with zeros behind them, and so are those of a last line that has no second: they
make another product. So are the last tiles of all, whose vectors would end behind the array;
elsewhere lanes behind the last filter meet the next pixel, for sums that nobody reads.

Only for AVX-512, which has registers for all sums of a pair of points.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.band_inputs import (
    GROUP,
    LINE_OF_GROUP,
    TAPS,
    lanes_of_tile,
    place_in_u,
    transform_bands,
)
from tinysmooth.kernels.convolution.band_products import add_products
from tinysmooth.kernels.convolution.band_tiles import ASKED, LINES, POINTS
from tinysmooth.kernels.convolution.band_transforms import (
    DOWN,
    FEW,
    transform_column_of_sums,
    transform_line_of_sums,
)
from tinysmooth.kernels.convolution.filters import scatter_lanes
from tinysmooth.kernels.convolution.packing import copy_filled, zero_rows
from tinysmooth.kernels.convolution.winograd_patches import TILE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, store
from tinysmooth.kernels.views import behind

PIXELS = LINES * TILE
"""Pixels of a tile of the gradient."""

MORE_TILES = LANES // TILE
"""Tiles of which a vector may reach over the end of the array: those of the last 15 floats."""

HALF_OFF = LANES + LANES // 2
"""Where the strip of copied tiles begins, behind the last whole cache line: in the middle of one.
From the beginning of a line on, it took 1.1 to 1.25 of the time in two threads on Zen 4."""


@jit
def copy_tile(
    grad: np.ndarray,
    at: int,
    line: int,
    lines: int,
    count: int,
    filters: int,
    out: np.ndarray,
    to: int,
    padded: int,
) -> None:
    """Copy `count` pixels of one line or two to a tile of whole vectors, filled up with zeros."""
    for i in range(LINES):
        pixels = count if i < lines else 0
        for j in range(pixels):
            copy_filled(grad, at + i * line + j * filters, out, to + j * padded, filters)
        zero_rows(out, to + pixels * padded, 0, 1, (TILE - pixels) * padded)
        to += TILE * padded


@jit
def copy_left_over(
    grad: np.ndarray,
    at: int,
    lines: int,
    sizes: tuple[int, ...],
    whole_tiles: np.ndarray,
    strip: np.ndarray,
    u_tiles: np.ndarray,
    strip_tiles: np.ndarray,
) -> tuple[int, int]:
    """Copy the tiles of some lines that cannot be read where they lie, and write where they are.

    Returns how many whole tiles are read where they lie, and how many tiles are copied.
    """
    channels, columns, filters, chunk, groups = sizes[3], sizes[5], sizes[6], sizes[9], sizes[10]
    padded, whole, line = (filters + LANES - 1) // LANES * LANES, columns // TILE, columns * filters
    bands, count, copies = lines // LINES, lines // LINES * whole, 0
    for band in range((lines + LINES - 1) // LINES):
        first = whole if band < bands else 0  # the last line has no second
        for tile in range(first, (columns + TILE - 1) // TILE):
            begin, some = at + band * LINES * line + tile * TILE * filters, columns - tile * TILE
            u_tiles[copies] = place_in_u(band, tile, groups, channels)
            strip_tiles[copies] = copies * PIXELS * padded
            two, some = min(LINES, lines - band * LINES), min(TILE, some)
            copy_tile(grad, begin, line, two, some, filters, strip, strip_tiles[copies], padded)
            copies += 1
    beyond = at + line + (TILE - 1) * filters + padded - grad.size
    while count and whole_tiles[count - 1] + beyond > 0:  # its last vector ends behind the array
        count -= 1
        u_tiles[copies] = whole_tiles[chunk * whole + count]
        strip_tiles[copies] = copies * PIXELS * padded
        begin = at + whole_tiles[count]
        copy_tile(grad, begin, line, LINES, TILE, filters, strip, strip_tiles[copies], padded)
        copies += 1
    return count, copies


@jit
def filter_gradient_bands(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    whole_tiles: np.ndarray,
    sizes: tuple[int, ...],
    add: int,
    ahead: np.ndarray,
) -> None:
    """Add up ``sums[part][K / 16][channels / 4][q][p][channel][16]`` over a part of the chunks.

    To what is there, if `add` is not 0. What is asked for ahead is in `ahead` where the gradient of
    the next product is in `grad`: that, or what else will have to come from memory. `whole_tiles`
    has the offsets of the whole tiles of a chunk of bands, in the gradient and then in u;
    `tables` has room for those of the tiles that a part copies.
    """
    batch, height, width, channels, rows, columns, filters, pad_top = sizes[:8]
    chunk, groups, most_copies = sizes[9:]
    padded, line = (filters + LANES - 1) // LANES * LANES, columns * filters
    fours, lanes = (channels + FEW - 1) // FEW, lanes_of_tile(channels)
    u, total, u_part = workspace[part], sums[part], chunk * groups * GROUP
    planes = behind(u, fours * u_part)
    floats = fours * (LINES * chunk + TAPS - 1) * TILE * (groups * LANES + lanes)
    strip = behind(planes, floats // LANES * LANES + HALF_OFF)
    u_tiles, strip_tiles = tables[part], behind(tables[part], most_copies)
    u_whole_tiles = behind(whole_tiles, chunk * (columns // TILE))
    zero_rows(planes, 0, 0, 1, floats)
    # Of the next product, so many lines are asked for after each group of x.
    asked = (PIXELS - ASKED) * (padded // LANES) * (columns // TILE) // (groups * fours)
    chunks = (rows + LINES * chunk - 1) // (LINES * chunk)
    start = batch * chunks * part // parts
    image, first, known = start // chunks, start % chunks * chunk * LINES, 0
    for _ in range(start, batch * chunks * (part + 1) // parts):
        lines, at = min(LINES * chunk, rows - first), (image * rows + first) * line
        bands, following = (lines + LINES - 1) // LINES, at + lines * line
        count, copies = lines // LINES * (columns // TILE), 0
        left_over = columns % TILE or lines % LINES
        if left_over or following - filters + padded > grad.size:
            places = (strip, u_tiles, strip_tiles)
            count, copies = copy_left_over(grad, at, lines, sizes, whole_tiles, *places)
        x_begin, top = image * height * width * channels, first - pad_top
        transform_bands(x, x_begin, sizes, top, bands, known, planes, u, ahead, following, asked)
        following += asked * bands * groups * fours * LANES
        for k in range(0, padded, LANES):
            to, next_k = k * POINTS * channels, following + count * ASKED * k
            for again in range(count == 0, 1 + (copies > 0)):
                source, begin, row, pixel, some = grad, at + k, line, filters, count
                u_begins, begins = u_whole_tiles, whole_tiles
                if again:
                    source, begin, row, pixel, some = strip, k, TILE * padded, padded, copies
                    u_begins, begins = u_tiles, strip_tiles
                add_products(
                    u, u_part, u_begins, channels, source, begin, begins, row, pixel, some,
                    total, to, add + again * count, ahead, next_k,
                )  # fmt: skip
        add, known, first = 1, TAPS - 1, first + LINES * chunk
        if first >= rows:
            image, first, known = image + 1, 0, 0


@jit
def bands_to_filter_gradient(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    shape: tuple[int, int],
    workspace: np.ndarray,
) -> None:
    """Add up the sums of all parts, transform them back, and write (K, C, 3, 3).

    There is but one part: the sums are few.
    """
    filters, channels = shape
    padded, step = (filters + LANES - 1) // LANES * LANES, channels * TAPS * TAPS
    points = behind(workspace, step * LANES)
    lines = behind(points, GROUP)
    for k in range(0, padded, LANES):
        for c in range(channels):
            width = min(FEW, channels - c // FEW * FEW)
            begin = k * POINTS * channels + c // FEW * FEW * POINTS * LANES + c % FEW * LANES
            for point in range(POINTS):
                at = begin + point * width * LANES
                total = load(sums[0], at)
                for other in range(1, sums.shape[0]):
                    total = total + load(sums[other], at)
                store(points, point * LANES, total)
            for q in range(DOWN):
                line, to = q * LINE_OF_GROUP, q * TAPS * LANES
                transform_line_of_sums(points, line, LANES, lines, to, LANES)
            for tap in range(TAPS):
                to = (c * TAPS * TAPS + tap) * LANES
                row = TAPS * LANES
                transform_column_of_sums(lines, tap * LANES, row, workspace, to, row)
        scatter_lanes(workspace, step, out, k * step, step, min(LANES, filters - k))
