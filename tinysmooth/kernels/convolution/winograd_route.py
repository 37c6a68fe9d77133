"""Runs the fused Winograd kernels: sizes, workspaces, threads, and what the route costs."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.filters import GATHERED_SLACK
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    Work,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_few import (
    filter_gradient_few_tiles,
    forward_few_tiles,
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
from tinysmooth.kernels.threads import get_num_threads, plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES, WIDE

FEWEST_CHANNELS = 8
"""Below, the transforms cost more than the products they save."""

INPUT_TILE = 550
"""What transforming sixteen channels of an input tile takes, in multiply-adds of vectors."""

OUTPUT_TILE = 300 if WIDE else 750
"""The same for sixteen filters of an output tile. Narrow panels make the products of small matrices
dearer, which is counted here: each product takes a few more steps to begin and to end."""

FILTERS_AS_TILES = 25
"""Writing the transformed filters takes as long as the products of this many tiles."""

USED_FILTERS_AS_TILES = 10
"""The same where they are used at once and not kept."""

TRANSFORMED_PER_NANOSECOND = 8
"""Floats of transformed filters that one core writes in a nanosecond, roughly."""

FEW_FLOATS = 2**13
"""Floats of a slice of V up to which each thread makes all of V for itself: 36 slices are little
more than a megabyte."""

FEW_FLOATS_OF_MANY_FILTERS = 2**16 if WIDE else 3 * 2**13
"""The same where the filters are many for so many tiles. There, V may leave the L2 cache: the
transformed filters that are then not kept, or one set of sums a thread, would be larger. V is read
once for each panel of filters, so where panels are narrow it must be smaller."""

FILTERS_A_TILE = 1 if WIDE else 4
"""For a convolution in two threads, the filters are many if there are so many for each tile."""

MOST_AT_ONCE = 64
"""Channels whose filters are transformed at a time, at most."""

ALIASED = 128
"""Channels from which on the tiles of V are put a vector further apart for the gradient of filters.
It reads V down the tiles: 512 bytes or a multiple of that apart, they would compete for an eighth
of the L1 cache or less."""

TABLES = 256
"""Tables that are remembered: to make one takes as long as a small convolution."""


class Depth(NamedTuple):
    """How the channels of the shifted images lie behind one another in V."""

    shifts_down: int
    shifts_across: int
    channels: int
    step: int  # floats from one shifted image to the next; see ALIASED
    row: int  # floats from one tile to the next

    @property
    def shifts(self) -> int:
        """Number of shifted images."""
        return self.shifts_down * self.shifts_across

    @property
    def used(self) -> int:
        """Floats of a row that the product runs over."""
        return self.shifts * self.channels


def _depth(channels: int, kernel: Pair, gradient: bool = False) -> Depth:
    down, across = (-(-side // SHIFT) for side in kernel)
    step = round_up(channels, LANES)
    gap = LANES if gradient and step % ALIASED == 0 else 0
    return Depth(down, across, channels, step + gap, down * across * (step + gap))


def _few(tiles: int, depth: Depth, filters: int, gradient: bool, threads: int) -> bool:
    """Tell whether the tiles are so few that filters are best transformed where they are used.

    All of V is made once more for each further thread. For a convolution that counts against what
    the thread's share of the filters saves; of the `gradient` of filters, each thread would keep
    all sums otherwise, and it pays for as many tiles as filters whatever the threads.
    """
    wanted = tiles if gradient else tiles * FILTERS_A_TILE * max(2, threads) // 2
    most = FEW_FLOATS_OF_MANY_FILTERS if wanted <= filters else FEW_FLOATS
    return tiles * round_up(depth.used, LANES) <= most


def _channels_at_once(tiles: int) -> int:
    """Return for how many channels filters are transformed and used: as many as there are tiles.

    With narrow panels, all that are worth it fit into the cache.
    """
    return min(MOST_AT_ONCE, round_up(tiles, LANES)) if WIDE else MOST_AT_ONCE


def cost(work: Work, gradient: bool, threads: int) -> float:
    """Return the time this route takes, in multiply-adds of vectors; infinity where it cannot run.

    For the `gradient` of filters, each of the threads has sums of its own.
    """
    batch, size, channels, filters, kernel, stride = work
    if stride != (1, 1) or min(channels, filters) < FEWEST_CHANNELS:
        return math.inf
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    depth = _depth(channels, kernel, gradient)
    fixed = (threads if gradient else 1) * FILTERS_AS_TILES
    if _few(tiles, depth, filters, gradient, threads):
        tiles, fixed = round_up(tiles, ROWS_STEP), USED_FILTERS_AS_TILES
    inputs, outputs = -(-channels // LANES), -(-filters // LANES)
    transforms = tiles * (INPUT_TILE * depth.shifts * inputs + OUTPUT_TILE * outputs)
    return POSITIONS * depth.used * outputs * (tiles + fixed) + transforms


def _gathered(shape: Shape) -> int:
    """Return the floats that one thread needs to turn filters into tiles, and back."""
    return LANES * (POSITIONS + LANES * shape[2] * shape[3]) + GATHERED_SLACK


def _tile_block(tiles: int, parts: int, most: int) -> int:
    """Return how many tiles to take at a time: blocks of one size, of at most about `most`."""
    share = -(-tiles // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), 12)


@functools.lru_cache(maxsize=TABLES)
def _tables(depth: Depth, block: int) -> np.ndarray:
    """Return the offsets of the tiles of a slice of V, and then those of a tile's channels.

    The last channel is repeated up to a whole number of tiles of the microkernel.
    """
    out = np.empty(block + round_up(depth.used, ROWS_STEP), np.int64)
    out[:block] = np.arange(0, block * depth.row, depth.row)
    shifted = out[block : block + depth.used].reshape(depth.shifts, depth.channels)
    shifted[:] = np.arange(0, depth.row, depth.step)[:, None] + np.arange(depth.channels)
    out[block + depth.used :] = out[block + depth.used - 1]
    return out


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair, backward: bool
) -> np.ndarray:
    """Return the convolution (N, *size, K); `backward` turns the filters and exchanges C and K."""
    batch, _, _, channels = x.shape
    filters = weight.shape[1] if backward else weight.shape[0]
    depth, padded = _depth(channels, (weight.shape[2], weight.shape[3])), round_up(filters, LANES)
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    products = POSITIONS * depth.used * padded
    out = memory.empty((batch, *size, filters), np.float32)
    numbers = (*x.shape, *size, filters, *padding, *depth[:2])
    patch = PATCH * PATCH * round_up(channels, LANES)

    if _few(tiles, depth, filters, False, get_num_threads()):
        block = round_up(tiles, ROWS_STEP)
        parts = plan_parts((tiles + 8) * products / PRODUCTS_PER_NANOSECOND, limit=padded // LANES)
        at_once = _channels_at_once(tiles)
        floats = block * (depth.row + PANEL) + depth.shifts * at_once * PANEL + 3 * SLICE_GAP
        workspace = memory.empty((parts, round_up(POSITIONS * floats + patch, LANES)), np.float32)
        taps = memory.empty((parts, _gathered(weight.shape)), np.float32)
        tables = memory.empty((parts, block + depth.shifts * at_once), np.int64)
        arrays = (x.reshape(-1), weight.reshape(-1), out.reshape(-1), workspace, taps, tables)
        sizes = (*numbers, depth.row, block, at_once)
        run_parallel(forward_few_tiles, *arrays, sizes, weight.shape, int(backward), parts=parts)
        return out

    u = memory.empty((products,), np.float32)
    parts = plan_parts(u.size / TRANSFORMED_PER_NANOSECOND, limit=padded // LANES)
    taps = memory.empty((parts, _gathered(weight.shape)), np.float32)
    bank = (weight.shape, depth[:2], int(backward))
    run_parallel(filters_to_tiles, weight.reshape(-1), u, taps, *bank, parts=parts)

    parts = plan_parts(tiles * products / PRODUCTS_PER_NANOSECOND, limit=tiles)
    # Few tiles keep V in the L2 cache; where U is large, more tiles share each load of it.
    most = 48 if depth.row < 128 else 36 if depth.shifts > 1 else 72
    block = _tile_block(tiles, parts, most)
    floats = POSITIONS * (block * (depth.row + PANEL) + 2 * SLICE_GAP) + patch
    workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
    blocks = (workspace, _tables(depth, block), (*numbers, depth.used, depth.row, block))
    run_parallel(forward_tiles, x.reshape(-1), u, out.reshape(-1), *blocks, parts=parts)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    batch, rows, columns, filters = grad.shape
    channels = x.shape[3]
    depth = _depth(channels, (weight_shape[2], weight_shape[3]), gradient=True)
    padded = round_up(filters, LANES)
    tiles = batch * -(-rows // TILE) * -(-columns // TILE)
    products = POSITIONS * round_up(depth.used, ROWS_STEP) * padded
    out = memory.empty(weight_shape, np.float32)
    numbers = (*x.shape, rows, columns, filters, *padding, *depth[:2])
    patch = PATCH * PATCH * max(round_up(channels, LANES), PANEL)

    if _few(tiles, depth, filters, True, get_num_threads()):
        block = round_up(tiles, ROWS_STEP)
        parts = plan_parts((tiles + 8) * products / PRODUCTS_PER_NANOSECOND, limit=padded // LANES)
        floats = POSITIONS * (block * (depth.row + PANEL) + 2 * SLICE_GAP) + patch
        workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
        taps = memory.empty((parts, _gathered(weight_shape)), np.float32)
        at_once = _channels_at_once(tiles)
        floats = POSITIONS * (depth.shifts * at_once * PANEL + SLICE_GAP)
        sums = memory.empty((parts, 1, floats), np.float32)
        tables = memory.empty((parts, block + depth.shifts * at_once), np.int64)
        arrays = (x.reshape(-1), grad.reshape(-1), out.reshape(-1), workspace, taps, sums, tables)
        sizes = (*numbers, depth.row, block, at_once)
        run_parallel(filter_gradient_few_tiles, *arrays, sizes, weight_shape, parts=parts)
        return out

    parts = plan_parts(tiles * products / PRODUCTS_PER_NANOSECOND, limit=tiles)
    # The sums are read and written once for each block: where they are large, blocks are too.
    most = 24 if depth.row * padded < 2**12 else 72 if depth.row * padded < 2**16 else 144
    block = _tile_block(tiles, parts, most)
    floats = POSITIONS * (block * (depth.row + padded) + 2 * SLICE_GAP) + patch
    workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
    sums = memory.empty((parts, products), np.float32)
    blocks = (workspace, _tables(depth, block), (*numbers, depth.used, depth.row, block))
    run_parallel(filter_gradient_tiles, x.reshape(-1), grad.reshape(-1), sums, *blocks, parts=parts)

    parts = plan_parts(sums.size / TRANSFORMED_PER_NANOSECOND, limit=-(-channels // LANES))
    taps = memory.empty((parts, _gathered(weight_shape)), np.float32)
    bank = (weight_shape, depth[:2])
    run_parallel(tiles_to_filter_gradient, sums, out.reshape(-1), taps, *bank, parts=parts)
    return out
