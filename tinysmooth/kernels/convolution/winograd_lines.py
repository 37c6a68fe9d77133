"""Gradient of 3x3 filters on few channels: Winograd along the lines, a direct sum down the columns.

A first layer has three channels. Transformed in both directions, as in `winograd_tiles`, the
gradient of out becomes 36 / 16 of its size, is written, and read back to meet hardly a number of x:
that takes longer than the products it saves. Along the lines alone, four of its pixels become six
values, which are made in registers where they are used and go nowhere else (`line_tiles`)::

    line of x, six pixels a tile    --B^T-->   u [6][line][tile][C]        once for a block of lines
    grad, four pixels a tile        --A-->     six values
    sums[p][r][c]  +=  u[p][i + r][tile][c] * value p of tile (i, tile)    r: line of the filter
    taps of line r, channel c  =  G^T sums[:, r, c]                        once, at the end

That is F(4, 3) of `winograd`, transposed: 6 * 3 C multiply-adds for four pixels of sixteen filters
in place of 12 * 3 C, and nine operations for the values of up to four channels. x is transformed
with a channel in each of four lanes or, where there is but one, with a tile in each of eight. What
the lanes behind the last one hold is overwritten by the next tile.

Tables tell where the tiles of a product lie, line by line. The last pixels of a line that fill no
tile are copied, with zeros behind them, and make another product. So are the last tiles of all,
whose vectors would end behind the array; elsewhere lanes behind the last filter meet the next
pixel, for sums that nobody reads.

Only for AVX-512, which has registers for all sums of a pair of points.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.filters import scatter_lanes
from tinysmooth.kernels.convolution.line_tiles import GROUPS, TAPS, lines_asked, make_line_tile
from tinysmooth.kernels.convolution.packing import copy_filled, copy_rows, zero_rows
from tinysmooth.kernels.convolution.transforms import (
    FEW,
    GREY,
    transform_few_inputs,
    transform_grey_inputs,
    transform_line_of_sums,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, store
from tinysmooth.kernels.views import behind

(_all_1,) = (make_line_tile(1, points) for points in GROUPS[1])
_low_2, _high_2 = (make_line_tile(2, points) for points in GROUPS[2])
_ends_3, _ones_3, _twos_3 = (make_line_tile(3, points) for points in GROUPS[3])
_ends_4, _ones_4, _twos_4 = (make_line_tile(4, points) for points in GROUPS[4])

PASSES = (0, *(len(groups) for groups in GROUPS.values()))
"""How many tiles make all points, by the channels at a time."""

MORE_TILES = LANES // TILE
"""Tiles of which a vector may reach over the end of the array: those of the last 15 floats."""

HALF_OFF = LANES + LANES // 2
"""Where the strip of copied tiles begins, behind the last whole cache line: in the middle of one.
From the beginning of a line on, it took 1.1 to 1.25 of the time in two threads on Zen 4."""


@jit
def copy_padded(
    x: np.ndarray,
    at: int,
    top: int,
    lines: int,
    height: int,
    width: int,
    left: int,
    seen: int,
    pixels: np.ndarray,
) -> None:
    """Copy lines `top` and following of an image, which begins at `at`, between zeros.

    Here `width`, `left` and `seen` count floats: of a line, of the zeros before it, and of both
    with the zeros behind it.
    """
    for i in range(lines):
        to, y = i * seen, top + i
        if 0 <= y < height:
            zero_rows(pixels, to, 0, 1, left)
            copy_rows(x, at + y * width, 0, pixels, to + left, 0, 1, width)
            zero_rows(pixels, to + left + width, 0, 1, seen - left - width)
        else:
            zero_rows(pixels, to, 0, 1, seen)


@jit
def transform_lines(
    pixels: np.ndarray, lines: int, tiles: int, channels: int, u: np.ndarray, u_slice: int
) -> None:
    """Transform the tiles of all lines, which have two pixels more than their tiles.

    Lanes that are no channel, or no tile, read what is behind and go nowhere.
    """
    seen = (tiles * TILE + TAPS - 1) * channels
    for i in range(lines):
        if channels == 1:
            for tile in range(0, tiles, GREY):
                transform_grey_inputs(pixels, i * seen + tile * TILE, u, i * tiles + tile, u_slice)
        else:
            for tile in range(tiles):
                at, to = i * seen + tile * TILE * channels, (i * tiles + tile) * channels
                for c in range(0, channels, FEW):
                    transform_few_inputs(pixels, at + c, channels, u, to + c, u_slice)


@jit
def copy_tile(
    grad: np.ndarray, at: int, count: int, filters: int, out: np.ndarray, to: int, padded: int
) -> None:
    """Copy `count` pixels to a tile of whole vectors, filled up with zeros."""
    for j in range(count):
        copy_filled(grad, at + j * filters, out, to + j * padded, filters)
    zero_rows(out, to + count * padded, 0, 1, (TILE - count) * padded)


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
    channels, columns, filters, chunk = sizes[3], sizes[5], sizes[6], sizes[10]
    padded, whole = (filters + LANES - 1) // LANES * LANES, columns // TILE
    rest, copies, count = columns - whole * TILE, 0, lines * whole
    if rest:
        for i in range(lines):
            pixels = at + (i * columns + whole * TILE) * filters
            u_tiles[i], strip_tiles[i] = (i * (whole + 1) + whole) * channels, i * TILE * padded
            copy_tile(grad, pixels, rest, filters, strip, strip_tiles[i], padded)
        copies = lines
    beyond = at + (TILE - 1) * filters + padded - grad.size
    while count and whole_tiles[count - 1] + beyond > 0:  # its last vector ends behind the array
        count -= 1
        u_tiles[copies] = whole_tiles[chunk * whole + count]
        strip_tiles[copies] = copies * TILE * padded
        copy_tile(grad, at + whole_tiles[count], TILE, filters, strip, strip_tiles[copies], padded)
        copies += 1
    return count, copies


@jit
def filter_gradient_lines(
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
    """Add up ``sums[part][position][line][channel][K]`` over a part of the blocks of lines.

    To what is there, if `add` is not 0. What is asked for ahead is in `ahead` where the gradient of
    the next product is in `grad`: that, or what else will have to come from memory. `whole_tiles`
    has the offsets of the whole tiles of `chunk` lines, in the gradient and then in u; `tables` has
    room for those of the tiles that a part copies.
    """
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, block, chunk = sizes[7:]
    padded, tiles = (filters + LANES - 1) // LANES * LANES, (columns + TILE - 1) // TILE
    u_line = tiles * channels
    u_slice = (block + TAPS - 1) * u_line + GREY
    u, total = workspace[part], sums[part]
    line, seen = width * channels, (tiles * TILE + TAPS - 1) * channels
    pixels = behind(u, PATCH * u_slice)
    before = PATCH * u_slice + (block + TAPS - 1) * seen
    strip = behind(u, before // LANES * LANES + HALF_OFF)
    u_tiles, strip_tiles = tables[part], behind(tables[part], chunk + MORE_TILES)
    u_whole_tiles = behind(whole_tiles, chunk * (columns // TILE))
    blocks = (rows + block - 1) // block
    for number in range(batch * blocks * part // parts, batch * blocks * (part + 1) // parts):
        image, first = number // blocks, number % blocks * block
        last = min(rows, first + block)
        lines_of_x, left = last - first + TAPS - 1, pad_left * channels
        begin = image * height * line
        copy_padded(x, begin, first - pad_top, lines_of_x, height, line, left, seen, pixels)
        transform_lines(pixels, lines_of_x, tiles, channels, u, u_slice)
        for i in range(first, last, chunk):
            lines, here = min(chunk, last - i), (i - first) * u_line
            at = (image * rows + i) * columns * filters
            following = at + lines * columns * filters
            left_over = (strip, u_tiles, strip_tiles)
            count, copies = copy_left_over(grad, at, lines, sizes, whole_tiles, *left_over)
            for k in range(0, padded, LANES):
                asked = following + count * TILE * k
                for copied in range(count == 0, 1 + (copies > 0)):
                    source, start, pixel, some = grad, at + k, filters, count
                    u_places, places = u_whole_tiles, whole_tiles
                    if copied:
                        source, start, pixel, some = strip, k, padded, copies
                        u_places, places = u_tiles, strip_tiles
                    add_products(
                        u, here, u_places, u_slice, u_line, channels,
                        source, start, places, pixel, some,
                        total, k, padded, add + copied * count, ahead, asked,
                    )  # fmt: skip
            add = 1


@jit
def add_products(
    u: np.ndarray,
    u_offset: int,
    u_tiles: np.ndarray,
    u_slice: int,
    u_line: int,
    channels: int,
    grad: np.ndarray,
    grad_offset: int,
    grad_tiles: np.ndarray,
    pixel: int,
    tiles: int,
    sums: np.ndarray,
    to: int,
    row: int,
    add: int,
    ahead: np.ndarray,
    ahead_offset: int,
) -> None:
    """Add up the products of sixteen filters with all channels, up to four at a time."""
    for c in range(0, channels, FEW):
        here, there = u_offset + c, to + c * row
        width = min(channels - c, FEW)
        asked = tiles * lines_asked(PASSES[width]) * LANES // 2  # the next tile goes on from there
        second, third = ahead_offset + asked, ahead_offset + 2 * asked
        if width == 4:
            _ends_4(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, ahead_offset)  # fmt: skip
            _ones_4(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, second)  # fmt: skip
            _twos_4(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, third)  # fmt: skip
        elif width == 3:
            _ends_3(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, ahead_offset)  # fmt: skip
            _ones_3(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, second)  # fmt: skip
            _twos_3(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, third)  # fmt: skip
        elif width == 2:
            _low_2(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, ahead_offset)  # fmt: skip
            _high_2(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, second)  # fmt: skip
        else:
            _all_1(u, here, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel,
                    tiles, sums, there, channels, row, add, ahead, ahead_offset)  # fmt: skip


@jit
def lines_to_filter_gradient(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    shape: tuple[int, int],
    workspace: np.ndarray,
) -> None:
    """Add up the sums (parts, 6, 3, C, K), transform them back, and write (K, C, 3, 3).

    There is but one part: the sums are few.
    """
    filters, channels = shape
    padded, area = (filters + LANES - 1) // LANES * LANES, TAPS * TAPS
    line = behind(workspace, channels * area * LANES)
    for k in range(0, padded, LANES):
        for c in range(channels):
            for r in range(TAPS):
                for p in range(PATCH):
                    at = ((TAPS * p + r) * channels + c) * padded + k
                    total = load(sums[0], at)
                    for other in range(1, sums.shape[0]):
                        total = total + load(sums[other], at)
                    store(line, p * LANES, total)
                to = (c * area + r * TAPS) * LANES
                transform_line_of_sums(line, 0, LANES, workspace, to, LANES)
        step = channels * area
        scatter_lanes(workspace, step, out, k * step, step, min(LANES, filters - k))
