"""Gradient of 3x3 filters on few channels: Winograd along the lines, a direct sum down the columns.

A first layer has three channels. Transformed in both directions, as in `winograd_tiles`, the
gradient of out becomes 36 / 16 of its size, is written, and read back to meet hardly a number of x:
that takes longer than the products it saves. Along the lines alone, four of its pixels become six
values, which are made in registers where they are used and go nowhere else (`line_tiles`)::

    line of x, six pixels a tile    --B^T-->   u [6][line][tile][C]        once for a block of lines
    grad, four pixels a tile        --A-->     six values
    sums[p][r][c]  +=  u[p][i + r][tile][c] * value p of tile (i, tile)    r: line of the filter
    taps of line r, channel c  =  G^T sums[:, r, c]                        once, at the end

That is F(3, 4) of `winograd`: 6 * 3 C multiply-adds for four pixels of sixteen filters in place of
12 * 3 C, and eight operations for the values. x is transformed with a channel in each of four
lanes. What the lanes behind the last channel hold is overwritten by the next tile.

Where four pixels are not a whole tile, or filters no whole vector, the gradient is copied to a
strip first, and filled up with zeros.

Only for AVX-512, which has registers for all sums of a pair of points.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.filters import scatter_lanes
from tinysmooth.kernels.convolution.line_tiles import ASKED, PAIRS, TAPS, make_line_tile
from tinysmooth.kernels.convolution.packing import copy_filled, copy_rows, zero_rows
from tinysmooth.kernels.convolution.transforms import (
    FEW,
    transform_few_inputs,
    transform_line_of_sums,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, store
from tinysmooth.kernels.views import behind

_ends_3, _ones_3, _twos_3 = (make_line_tile(3, pair) for pair in PAIRS)
_ends_4, _ones_4, _twos_4 = (make_line_tile(4, pair) for pair in PAIRS)


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
    """Transform the tiles of all lines, which have two pixels more than their tiles."""
    seen = (tiles * TILE + TAPS - 1) * channels
    for i in range(lines):
        for tile in range(tiles):
            at, to = i * seen + tile * TILE * channels, (i * tiles + tile) * channels
            for c in range(0, channels, FEW):
                transform_few_inputs(pixels, at + c, channels, u, to + c, u_slice)


@jit
def copy_lines(
    grad: np.ndarray,
    at: int,
    lines: int,
    columns: int,
    filters: int,
    tiles: int,
    strip: np.ndarray,
    padded: int,
) -> None:
    """Copy lines of the gradient to whole tiles of whole vectors, filled up with zeros."""
    for line in range(lines):
        to = line * tiles * TILE * padded
        if filters == padded:
            copy_rows(grad, at, 0, strip, to, 0, 1, columns * filters)
        else:
            for j in range(columns):
                copy_filled(grad, at + j * filters, strip, to + j * padded, filters)
        at += columns * filters
        zero_rows(strip, to + columns * padded, 0, 1, (tiles * TILE - columns) * padded)


@jit
def filter_gradient_lines(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    sizes: tuple[int, ...],
    add: int,
    ahead: np.ndarray,
) -> None:
    """Add up ``sums[part][position][line][channel][K]`` over a part of the blocks of lines.

    To what is there, if `add` is not 0. What is asked for ahead is in `ahead` where the gradient of
    the next product is in `grad`: that, or what else will have to come from memory.
    """
    batch, height, width, channels, rows, columns, filters = sizes[:7]
    pad_top, pad_left, block, chunk = sizes[7:]
    padded, tiles = (filters + LANES - 1) // LANES * LANES, (columns + TILE - 1) // TILE
    u_line = tiles * channels
    u_slice = (block + TAPS - 1) * u_line + FEW
    u, total = workspace[part], sums[part]
    line, seen = width * channels, (tiles * TILE + TAPS - 1) * channels
    copied = behind(u, PATCH * u_slice)
    strip = behind(copied, (block + TAPS - 1) * seen + FEW)
    in_place = columns == tiles * TILE and filters == padded
    blocks = (rows + block - 1) // block
    for number in range(batch * blocks * part // parts, batch * blocks * (part + 1) // parts):
        image, first = number // blocks, number % blocks * block
        last = min(rows, first + block)
        at, lines = image * height * line, last - first + TAPS - 1
        left = pad_left * channels
        copy_padded(x, at, first - pad_top, lines, height, line, left, seen, copied)
        transform_lines(copied, lines, tiles, channels, u, u_slice)
        for i in range(first, last, chunk):
            lines = min(chunk, last - i)
            at = (image * rows + i) * columns * filters
            following = at + lines * columns * filters
            pixels, start = grad, at
            if not in_place:
                copy_lines(grad, at, lines, columns, filters, tiles, strip, padded)
                pixels, start = strip, 0
            for k in range(0, padded, LANES):
                add_products(
                    u, (i - first) * u_line, u_slice, u_line, channels, lines * tiles,
                    pixels, start + k, padded, total, k, add, ahead, following,
                )  # fmt: skip
                following += lines * tiles * TILE * LANES
            add = 1


@jit
def add_products(
    u: np.ndarray,
    u_offset: int,
    u_slice: int,
    u_line: int,
    channels: int,
    tiles: int,
    grad: np.ndarray,
    grad_offset: int,
    pixel: int,
    sums: np.ndarray,
    to: int,
    add: int,
    ahead: np.ndarray,
    ahead_offset: int,
) -> None:
    """Add up the products of sixteen filters with all channels, four or three at a time."""
    asked = tiles * ASKED // 2
    c = 0
    while c < channels:
        here, there = u_offset + c, to + c * pixel
        second, third = ahead_offset + asked, ahead_offset + 2 * asked
        if (channels - c) % 4 == 0:
            _ends_4(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, ahead_offset)  # fmt: skip
            _ones_4(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, second)  # fmt: skip
            _twos_4(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, third)  # fmt: skip
            c += 4
        else:
            _ends_3(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, ahead_offset)  # fmt: skip
            _ones_3(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, second)  # fmt: skip
            _twos_3(u, here, u_slice, u_line, channels, tiles, grad, grad_offset, pixel,
                    sums, there, add, ahead, third)  # fmt: skip
            c += 3


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
