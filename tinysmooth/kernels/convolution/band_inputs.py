"""What the bands of `winograd_bands` see of x: lines, copied apart and transformed, group by group.

Of two bands, one below the other, each sees four lines, and two of them are the same; their planes
are kept. What is transformed lies in the order in which the products of a tile want it::

    line of x  --copied apart-->  planes [line][4][tile]    four lanes a tile, or one of one channel
    planes     --B^T both ways->  u [band][group][q][p][16 lanes]

Memory would be idle meanwhile; so here, too, it is asked for some of the gradient that comes next.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.band_tiles import LINES
from tinysmooth.kernels.convolution.band_transforms import (
    DOWN,
    FEW,
    FEW_TILES,
    copy_four_pixels,
    copy_grey,
    copy_pixel,
    transform_group,
)
from tinysmooth.kernels.convolution.packing import copy_rows, zero_rows
from tinysmooth.kernels.convolution.winograd_patches import PATCH, SHIFT, TILE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, prefetch_far

TAPS = SHIFT
"""Rows and columns of the filters."""

LINE_OF_GROUP = PATCH * LANES
"""Floats of a group at the points of a line."""

GROUP = DOWN * LINE_OF_GROUP
"""Floats of a group at all points."""


@jit
def lanes_of_tile(channels: int) -> int:
    """Return how many lanes of the vectors of a group a tile has."""
    return 1 if channels == 1 else FEW


@jit
def place_in_u(band: int, tile: int, groups: int, channels: int) -> int:
    """Return where the numbers of a tile begin in u, which has so many groups a line."""
    lanes = lanes_of_tile(channels)
    group = band * groups + tile // (LANES // lanes)
    return group * GROUP + tile % (LANES // lanes) * lanes


@jit
def copy_lines(
    x: np.ndarray,
    at: int,
    size: tuple[int, int, int, int],
    first_line: int,
    lines: int,
    planes: np.ndarray,
    to: int,
    plane: int,
) -> None:
    """Copy lines of an image, and up to four channels of them, to four planes each, between zeros.

    `size` has the lines of the image, their pixels, the channels of each, and the zeros before
    them, which are there already; lines above and below the image are zeros. All in one call, and
    the pixels at both ends in one loop: with a call for each line, and for each end, the whole
    gradient took 1.02 of the time.
    """
    height, width, channels, left = size
    lanes, across, stop = lanes_of_tile(channels), TILE * channels, left + width
    first = (left + TILE - 1) // TILE
    for y in range(first_line, first_line + lines):
        if y < 0 or y >= height:
            zero_rows(planes, to, 0, 1, TILE * plane)
        else:
            begin, end = at + (y * width - left) * channels, stop // TILE  # tiles full of pixels
            if lanes == FEW:
                end -= begin + end * across - channels + FEW > x.size
                for tile in range(first, end):
                    place = to + tile * FEW
                    copy_four_pixels(x, begin + tile * across, channels, planes, place, plane)
            elif end - first < FEW_TILES:
                end = first
            else:
                for tile in range(first, end, FEW_TILES):
                    some = min(tile, end - FEW_TILES)  # the last ones again, and none behind them
                    copy_grey(x, begin + some * across, planes, to + some, plane)
            before, rest = min(stop, first * TILE), max(left, max(first, end) * TILE)
            for number in range(before - left + max(0, stop - rest)):
                pixel = left + number
                if pixel >= before:
                    pixel += rest - before
                tile, source = pixel // TILE, begin + pixel * channels
                place = to + (pixel - tile * TILE) * plane + tile * lanes
                if lanes == 1:
                    planes[place] = x[source]
                elif source + FEW <= x.size:
                    copy_pixel(x, source, channels, planes, place, plane)
                else:  # the last pixel of all, which has no lanes behind it
                    for lane in range(x.size - source):
                        planes[place + lane] = x[source + lane]
        to += TILE * plane


@jit
def transform_bands(
    x: np.ndarray,
    at: int,
    sizes: tuple[int, ...],
    top: int,
    bands: int,
    known: int,
    planes: np.ndarray,
    u: np.ndarray,
    ahead: np.ndarray,
    ahead_offset: int,
    asked: int,
) -> None:
    """Transform what some bands see of an image that begins at `at`: from its line `top` on.

    The first `known` lines are the last ones of the bands before, whose planes are still there.
    After each group so many lines `asked` are asked for.
    """
    height, width, channels = sizes[1:4]
    left, chunk, groups = sizes[8:11]
    lanes = lanes_of_tile(channels)
    plane = groups * LANES + lanes
    line = TILE * plane
    seen = bands * LINES + TAPS - 1
    for c in range(0, channels, FEW):
        here = c // FEW * (chunk * LINES + TAPS - 1) * line
        copy_rows(planes, here + chunk * LINES * line, 0, planes, here, 0, 1, known * line)
        size, there = (height, width, channels, left), here + known * line
        copy_lines(x, at + c, size, top + known, seen - known, planes, there, plane)
        group = c // FEW * chunk * groups * GROUP
        for begin in range(here, here + bands * LINES * line, LINES * line):
            for i in range(groups):
                transform_group(planes, begin + i * LANES, line, plane, lanes, u, group)
                group += GROUP
                for _ in range(asked):
                    prefetch_far(ahead, ahead_offset)
                    ahead_offset += LANES
