"""Runs the fused Winograd kernels: sizes, workspaces, threads, and when the route pays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_filters import (
    filters_to_tiles,
    tiles_to_filter_gradient,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, POSITIONS, SHIFT, TILE
from tinysmooth.kernels.convolution.winograd_tiles import (
    SLICE_GAP,
    filter_gradient_tiles,
    forward_tiles,
)
from tinysmooth.kernels.microkernel import PANEL, ROWS_STEP
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES

FEWEST_CHANNELS = 8
"""Below, the transforms cost more than the products they save."""

TRANSFORM_COST = 1.35
"""Time of a tile's products and transforms, in units of its products."""

FILTERS_AS_TILES = 25
"""Writing the transformed filters takes as long as the products of this many tiles."""

FILTERS_AS_PIXELS = 10
"""Packing filters for the other route takes as long as the products of this many pixels."""

TRANSFORMED_PER_NANOSECOND = 8
"""Floats of transformed filters that one core writes in a nanosecond, roughly."""


class Depth(NamedTuple):
    """How the channels of the shifted images lie behind one another in V and U."""

    shifts_down: int
    shifts_across: int
    step: int  # floats from one shifted image to the next
    row: int  # floats from one tile to the next
    used: int  # floats of a row that the product runs over

    @property
    def shifts(self) -> int:
        """Number of shifted images."""
        return self.shifts_down * self.shifts_across


def _depth(channels: int, kernel: Pair) -> Depth:
    down, across = (-(-side // SHIFT) for side in kernel)
    step = round_up(channels, LANES)
    row = down * across * step
    return Depth(down, across, step, row, round_up(channels, 4) if row == step else row)


def pays(
    batch: int, size: Pair, channels: int, filters: int, kernel: Pair, stride: Pair, parts: int
) -> bool:
    """Tell whether this route is faster than packed windows.

    Compares products a channel and filter; `parts` is 1 for a convolution, and the number of
    threads for the gradient of filters, where each has sums of its own.
    """
    if stride != (1, 1) or min(channels, filters) < FEWEST_CHANNELS:
        return False
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    shifts = _depth(channels, kernel).shifts
    ours = POSITIONS * shifts * (TRANSFORM_COST * tiles + parts * FILTERS_AS_TILES)
    return ours < kernel[0] * kernel[1] * (batch * size[0] * size[1] + FILTERS_AS_PIXELS)


def _gathered(shape: Shape) -> int:
    """Return the floats that one thread needs to turn filters into tiles, and back."""
    return LANES * (POSITIONS + LANES * shape[2] * shape[3])


def _tile_block(tiles: int, parts: int, most: int) -> int:
    """Return how many tiles to take at a time: blocks of one size, of at most about `most`."""
    share = -(-tiles // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), 12)


def _tables(depth: Depth, block: int) -> np.ndarray:
    """Return the offsets of the tiles of a slice of V, and then those of a tile's channels."""
    out = np.arange(block + depth.used)
    out[:block] *= depth.row
    out[block:] -= block
    return out


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair, backward: bool
) -> np.ndarray:
    """Return the convolution (N, *size, K); `backward` turns the filters and exchanges C and K."""
    batch, height, width, channels = x.shape
    filters = weight.shape[1] if backward else weight.shape[0]
    depth, padded = _depth(channels, (weight.shape[2], weight.shape[3])), round_up(filters, LANES)
    out = memory.empty((batch, *size, filters), np.float32)

    u = memory.empty((POSITIONS * depth.used * padded,), np.float32)
    parts = plan_parts(u.size / TRANSFORMED_PER_NANOSECOND, limit=padded // LANES)
    taps = memory.empty((parts, _gathered(weight.shape)), np.float32)
    sizes = (*weight.shape, int(backward), *depth[:2], depth.used, depth.step)
    run_parallel(filters_to_tiles, weight.reshape(-1), u, taps, sizes, parts=parts)

    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    parts = plan_parts(tiles * u.size / PRODUCTS_PER_NANOSECOND, limit=tiles)
    # Few tiles keep V in the L2 cache; where U is large, more tiles share each load of it.
    most = 48 if depth.row < 128 else 96 if depth.row < 256 else 144
    block = _tile_block(tiles, parts, most)
    floats = POSITIONS * (block * (depth.row + PANEL) + 2 * SLICE_GAP)
    floats += PATCH * PATCH * round_up(channels, LANES)
    workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
    sizes = (*x.shape, *size, filters, *padding, *depth[:2], depth.used, depth.row, block)
    arrays = (x.reshape(-1), u, out.reshape(-1), workspace, _tables(depth, block))
    run_parallel(forward_tiles, *arrays, sizes, parts=parts)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    batch, rows, columns, filters = grad.shape
    channels = x.shape[3]
    depth, padded = _depth(channels, (weight_shape[2], weight_shape[3])), round_up(filters, LANES)
    out = memory.empty(weight_shape, np.float32)

    products = POSITIONS * depth.used * padded
    tiles = batch * -(-rows // TILE) * -(-columns // TILE)
    parts = plan_parts(tiles * products / PRODUCTS_PER_NANOSECOND, limit=tiles)
    # The sums are read and written once for each block: where they are large, blocks are too.
    block = _tile_block(tiles, parts, 48 if depth.row * padded < 2**15 else 144)
    floats = POSITIONS * (block * (depth.row + padded) + 2 * SLICE_GAP)
    floats += PATCH * PATCH * max(round_up(channels, LANES), padded)
    workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
    sums = memory.empty((parts, products), np.float32)
    sizes = (*x.shape, rows, columns, filters, *padding, *depth[:2], depth.used, depth.row, block)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace, _tables(depth, block))
    run_parallel(filter_gradient_tiles, *arrays, sizes, parts=parts)

    parts = plan_parts(sums.size / TRANSFORMED_PER_NANOSECOND, limit=-(-channels // LANES))
    tile = memory.empty((parts, _gathered(weight_shape)), np.float32)
    sizes = (*weight_shape, 0, *depth[:2], depth.used, depth.step)
    run_parallel(tiles_to_filter_gradient, sums, out.reshape(-1), tile, sizes, parts=parts)
    return out
