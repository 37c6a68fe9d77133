"""What the bands of `winograd_bands` see of x: lines, copied apart and transformed, group by group.

Of two bands, one below the other, each sees four lines, and two of them are the same; their planes
are kept. What is transformed lies in the order in which the products of a tile want it::

    line of x  --copied apart-->  planes [line][4][tile]    four lanes a tile, or one of one channel
    planes     --B^T both ways->  u [band][group][q][p][16 lanes]

Here, too, memory is asked for what comes next: the lines of the next bands and, since it would be
idle meanwhile, some of the gradient.
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
def copy_pixels(
    x: np.ndarray,
    at: int,
    channels: int,
    first: int,
    end: int,
    planes: np.ndarray,
    to: int,
    plane: int,
    lanes: int,
) -> None:
    """Copy pixels to the places `first` to `end` of a line, the first of which is at `at`."""
    for place in range(first, end):
        tile = place // TILE
        there = to + (place - tile * TILE) * plane + tile * lanes
        if lanes == 1:
            planes[there] = x[at]
        elif at + FEW <= x.size:
            copy_pixel(x, at, channels, planes, there, plane)
        else:  # the last pixel of all, which has no lanes behind it
            for lane in range(x.size - at):
                planes[there + lane] = x[at + lane]
        at += channels


@jit
def copy_apart(
    x: np.ndarray,
    at: int,
    size: tuple[int, int, int],
    planes: np.ndarray,
    to: int,
    plane: int,
    lanes: int,
) -> None:
    """Copy a line of x, and up to four channels of it, to its four planes, between zeros.

    The line begins at `at`; `size` has its pixels, the channels of each, and the zeros before it,
    which are there already.
    """
    width, channels, left = size
    begin, across, stop = at - left * channels, TILE * channels, left + width
    first, end = (left + TILE - 1) // TILE, stop // TILE  # tiles full of pixels
    if lanes == FEW:
        end -= begin + end * across - channels + FEW > x.size
        for tile in range(first, end):
            copy_four_pixels(x, begin + tile * across, channels, planes, to + tile * FEW, plane)
    elif end - first < FEW_TILES:
        end = first
    else:
        for tile in range(first, end, FEW_TILES):
            some = min(tile, end - FEW_TILES)  # the last ones once more, rather than behind the end
            copy_grey(x, begin + some * across, planes, to + some, plane)
    copy_pixels(x, at, channels, left, min(stop, first * TILE), planes, to, plane, lanes)
    rest = max(left, max(first, end) * TILE)
    copy_pixels(x, begin + rest * channels, channels, rest, stop, planes, to, plane, lanes)


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
    After each group so many lines `asked` are asked for, and before all the next lines of x.
    """
    height, width, channels = sizes[1:4]
    left, chunk, groups = sizes[8:11]
    lanes = lanes_of_tile(channels)
    plane = groups * LANES + lanes
    line, pixels = TILE * plane, width * channels
    seen = bands * LINES + TAPS - 1
    for i in range(0, bands * LINES * pixels, LANES):
        prefetch_far(x, at + (top + seen) * pixels + i)
    for c in range(0, channels, FEW):
        here = c // FEW * (chunk * LINES + TAPS - 1) * line
        copy_rows(planes, here + chunk * LINES * line, 0, planes, here, 0, 1, known * line)
        for i in range(known, seen):
            y, to = top + i, here + i * line
            if 0 <= y < height:
                begin, size = at + y * pixels + c, (width, channels, left)
                copy_apart(x, begin, size, planes, to, plane, lanes)
            else:
                zero_rows(planes, to, 0, 1, line)
        group = c // FEW * chunk * groups * GROUP
        for begin in range(here, here + bands * LINES * line, LINES * line):
            for i in range(groups):
                transform_group(planes, begin + i * LANES, line, plane, lanes, u, group)
                group += GROUP
                for _ in range(asked):
                    prefetch_far(ahead, ahead_offset)
                    ahead_offset += LANES
