"""What the windows route needs for given shapes: its grids, blocks, sizes, and what it costs.

Costs are in multiply-adds of vectors; the constants were found by timing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.grids import (
    Order,
    grid_of_images,
    grids_of_gradient,
    zones,
)
from tinysmooth.kernels.convolution.packing import Grid
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import PANEL, columns_cost
from tinysmooth.kernels.threads import plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE, ZEN

BLOCK_FLOATS = 2**17 if WIDE else 2**15
"""Floats in a strip: half a megabyte, which leaves room beside it in an L2 cache. Where panels are
narrow it is read more often, and a quarter of that is better."""

MOST_WINDOWS = 1536 if WIDE else 384
"""In a block, whose first and last lines of the image another block has as well."""

GRADIENT_WINDOWS = (512, 512) if WIDE and ZEN else (96, 384)
"""Windows in a product for the gradient of filters, where all its sums fit the L2 cache and where
they do not: these are read and written once a product. Of 96 windows a panel of 64 columns fits the
L1 cache; Zen reads it from the L2 cache as quickly, where 512 windows take 0.8 to 0.95 of the
time."""

PACKED_PER_NANOSECOND = 1.5
"""Floats of filters that one core packs in a nanosecond, roughly."""

PLANS = 256
"""Shapes whose plans are remembered: to make one takes as long as a small convolution."""

FILTERS_AS_WINDOWS = 25
"""Packing filters takes as long as the products of this many windows."""

COPIED = 4
"""What copying a vector of pixels between zeros takes, in multiply-adds of vectors."""

PRODUCT = 4
"""What adding a vector of a product to what is there takes."""

ZONE = 500
"""What finding the windows of one more zone takes."""

COPIED_GRADIENT = 20
"""What gathering a vector of the gradient of out takes: those of a zone are no matrix in memory."""


def cost(
    windows: float, depth: int, filters: int, inside: float = 1.0, gradient: bool = False
) -> float:
    """Return the time of so many windows of `depth` numbers, of which a share lies `inside`.

    `gradient` is for that of the filters, where it costs more to leave the others out.
    """
    vectors = -(-filters // LANES)
    used = min(depth, depth * inside + COPIED_GRADIENT * gradient)
    return columns_cost(vectors) * windows * used + vectors * FILTERS_AS_WINDOWS * depth


def _depth(grid: Grid) -> int:
    return grid.taps_down * grid.taps_across * grid.source_channels


def _rows(grid: Grid) -> int:
    return grid.batch * grid.windows_down


def _windows(grid: Grid) -> int:
    return _rows(grid) * grid.windows_across


def _strip_floats(grid: Grid, rows: int) -> int:
    """Return the floats that so many rows of windows see, at most."""
    images = min(rows, (rows - 2) // grid.windows_down + 2)
    lines = rows * grid.step_down + images * max(0, grid.taps_down - grid.step_down)
    across = (grid.windows_across - 1) * grid.step_across + grid.taps_across
    return lines * across * grid.source_channels


def _in_blocks(grid: Grid, shares: int) -> Grid:
    """Set how many rows of windows to take at a time: blocks of one size that fit the cache."""
    share = -(-_rows(grid) // shares)
    most = min(share, max(1, MOST_WINDOWS // max(1, grid.windows_across)))
    while most > 1 and _strip_floats(grid, most) > BLOCK_FLOATS:
        most -= 1
    blocks = -(-share // most)
    return grid._replace(block=-(-share // blocks))


def _pieces(grid: Grid, vectors: int, shares: int, chunk: int = 0) -> list[Grid]:
    """Cut the grid in zones, if that is quicker than a strip of zeros around the images.

    `chunk` is for the gradient of filters: the windows in a product.
    """
    cut = zones(grid)
    if len(cut) == 1:
        return cut
    strip = float(_windows(grid) * _depth(grid) * vectors)
    strip += COPIED * _strip_floats(grid, _rows(grid)) / LANES
    total = 0.0
    for zone in cut:
        windows = -(-_windows(zone) // shares)
        if chunk:
            products = -(-windows // chunk) * _depth(zone) * PRODUCT
            taken = windows * (_depth(zone) + COPIED_GRADIENT) + products
        else:
            runs = zone.taps_down if zone.taps_across < grid.taps_across else 1
            taken = round_up(windows, ROWS_STEP) * (_depth(zone) + PRODUCT * (runs - 1))
        total += shares * (taken * vectors + ZONE)
    return cut if total < strip else [grid]


def _by_filters(windows: int, padded: int, parts: int) -> bool:
    """Tell whether parts share the filters: each then reads all windows, but no filter twice."""
    return parts > 1 and padded >= parts * PANEL and 2 * windows <= padded


def _sizes(grids: Sequence[Grid]) -> tuple[int, int]:
    """Return the windows of a block, and the floats of its strip."""
    windows = max(round_up(grid.block * grid.windows_across, ROWS_STEP) for grid in grids)
    return windows, max(_strip_floats(grid, grid.block) for grid in grids)


class Plan(NamedTuple):
    """What a convolution of these shapes needs; made once for each."""

    grids: np.ndarray
    orders: np.ndarray
    parts: int
    packing: int  # parts of the packing of filters
    packed: int  # floats of the packed filters, a multiple of a vector as padded filters are
    workspace: int  # floats of each part
    tables: int  # numbers in the tables of each part
    sizes: tuple[int, int, int]  # as the kernel takes them


def _plan(whole: Sequence[Grid], orders: Sequence[Order], filters: int) -> Plan:
    """Lay out the convolution of every grid with as many filters."""
    padded = round_up(filters, LANES)
    work = sum(_windows(grid) * _depth(grid) for grid in whole) * padded
    limit = max(_rows(grid) for grid in whole)
    parts = plan_parts(work / PRODUCTS_PER_NANOSECOND, limit=limit)
    by_filters = _by_filters(max(_windows(grid) for grid in whole), padded, parts)
    shares = 1 if by_filters else parts
    grids = [
        _in_blocks(piece, shares)
        for grid in whole
        for piece in _pieces(grid, padded // LANES, shares)
    ]
    windows, strip = _sizes(grids)
    packed = sum(grid.packed_depth for grid in whole) * padded
    return Plan(
        grids=np.array(grids, np.int64),
        orders=np.array(orders, np.int64),
        parts=parts,
        packing=plan_parts(packed / PACKED_PER_NANOSECOND, limit=padded // LANES),
        packed=packed,
        workspace=round_up(windows * PANEL + strip, LANES),
        tables=2 * windows + max(_depth(grid) for grid in grids),
        sizes=(filters, windows, int(by_filters)),
    )


@functools.lru_cache(maxsize=PLANS)
def plan_forward(
    x_shape: Shape, weight_shape: Shape, size: Pair, stride: Pair, padding: Pair, num_threads: int
) -> Plan:
    """Plan the convolution."""
    filters, _, rows, columns = weight_shape
    grid = grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    return _plan([grid], [Order(0, rows, columns, 0, columns, 1)], filters)


@functools.lru_cache(maxsize=PLANS)
def plan_backward(
    grad_shape: Shape,
    weight_shape: Shape,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    num_threads: int,
) -> Plan:
    """Plan the gradient of images."""
    kernel = (weight_shape[2], weight_shape[3])
    grids, orders = grids_of_gradient(grad_shape, kernel, input_shape, stride, padding)
    return _plan(grids, orders, input_shape[3])


class GradientPlan(NamedTuple):
    """What the gradient of filters of these shapes needs; made once for each."""

    grids: np.ndarray
    parts: int
    adding: int  # parts of the sum over the threads' sums
    sums: tuple[int, int]
    workspace: int  # floats of each part
    tables: int  # numbers in the tables of each part
    sizes: tuple[int, int, int, int]  # as the kernel takes them


@functools.lru_cache(maxsize=PLANS)
def plan_gradient(
    x_shape: Shape, weight_shape: Shape, size: Pair, stride: Pair, padding: Pair, num_threads: int
) -> GradientPlan:
    """Plan the gradient of filters."""
    filters, _, rows, columns = weight_shape
    grid = grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    depth, padded = round_up(_depth(grid), ROWS_STEP), round_up(filters, LANES)
    windows = _windows(grid)
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=_rows(grid))
    by_filters = _by_filters(windows, padded, parts)
    shares = 1 if by_filters else parts
    chunk = GRADIENT_WINDOWS[depth * padded >= BLOCK_FLOATS]
    pieces = _pieces(grid, padded // LANES, shares, chunk)
    grids = [_in_blocks(piece, shares) for piece in pieces]
    most, strip = _sizes(grids)
    chunks = -(-most // chunk)
    chunk = -(-most // chunks)
    sums = (shares, depth * padded)
    return GradientPlan(
        grids=np.array(grids, np.int64),
        parts=parts,
        adding=plan_parts(math.prod(sums) / PACKED_PER_NANOSECOND, limit=padded // LANES),
        sums=sums,
        workspace=round_up(chunk * PANEL + strip, LANES),
        tables=2 * (most + depth),
        sizes=(filters, most, chunk, int(by_filters)),
    )
