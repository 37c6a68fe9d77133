"""What the windows route needs for given shapes: its grids, blocks, sizes, and what it costs.

Costs are in multiply-adds of vectors; the constants were found by timing.
"""

from __future__ import annotations

import bisect
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
from tinysmooth.kernels.convolution.windows import APART
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import PANEL, columns_cost
from tinysmooth.kernels.prepared import PAGE, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE, ZEN

BLOCK_FLOATS = 2**17 if WIDE else 2**15
"""Floats in a strip: half a megabyte, which leaves room beside it in an L2 cache. Where panels are
narrow it is read more often, and a quarter of that is better."""

MOST_WINDOWS = 1536 if WIDE else 384
"""In a block, whose first and last lines of the image another block has as well."""

GRADIENT_WINDOWS = (96, 384) if WIDE and not ZEN else (512, 512) if WIDE else (384, 384)
"""Windows in a product for the gradient of filters, where all its sums fit the L2 cache and where
they do not: these are read and written once a product. Of 96 windows a panel of 64 columns fits the
L1 cache, and of 384 one of 16 columns does. Zen with AVX-512 reads panels from the L2 cache as
quickly, where 512 windows take 0.8 to 0.95 of the time."""

PACKED_PER_NANOSECOND = 1.5
"""Floats of filters that one core packs in a nanosecond, roughly."""

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


READ_FOR_ALL = 4
"""What reading a window's gradient takes, in rows of sums."""


def cost(
    windows: float, depth: int, filters: int, kept: float = 1.0, gradient: bool = False
) -> float:
    """Return the time of so many windows of `depth` numbers, if only the share `kept` is left.

    For the `gradient` of filters the depth is made in whole tiles, each window of which is read for
    all of them.
    """
    if gradient:
        depth = round_up(depth, ROWS_STEP) + READ_FOR_ALL
    vectors = -(-filters // LANES)
    return depth * (columns_cost(vectors) * windows * kept + vectors * FILTERS_AS_WINDOWS)


def _depth(grid: Grid) -> int:
    return grid.taps_down * grid.taps_across * grid.source_channels


def _rows(grid: Grid) -> int:
    return grid.batch * grid.windows_down


def _windows(grid: Grid) -> int:
    return _rows(grid) * grid.windows_across


def _strip_floats(grid: Grid, rows: int) -> int:
    """Return the floats that so many rows of windows see, at most."""
    images = min(rows, (rows - 2) // max(1, grid.windows_down) + 2)
    lines = rows * grid.step_down + images * max(0, grid.taps_down - grid.step_down)
    across = (grid.windows_across - 1) * grid.step_across + grid.taps_across
    return lines * across * grid.source_channels


def _in_blocks(grid: Grid, shares: int) -> Grid:
    """Set how many rows of windows to take at a time: blocks of one size that fit the cache."""
    share = -(-_rows(grid) // shares)
    most = min(share, max(1, MOST_WINDOWS // max(1, grid.windows_across)))
    fitting = bisect.bisect_right(
        range(1, most + 1), BLOCK_FLOATS, key=lambda rows: _strip_floats(grid, rows)
    )
    blocks = max(1, -(-share // max(1, fitting)))
    return grid._replace(block=-(-share // blocks))


def _time(
    grid: Grid, vectors: int, shares: int, chunk: int, *, is_zone: bool, inside: bool
) -> float:
    """Return the time that a grid takes, if every share takes as long as the largest one.

    `chunk` is for the gradient of filters: the windows in a product. Windows that are not all
    `inside` need a strip of zeros around their images.
    """
    rows, depth = -(-_rows(grid) // shares), _depth(grid)
    windows = rows * grid.windows_across
    if chunk:
        taken = windows * (depth + COPIED_GRADIENT * is_zone)
        taken += -(-windows // chunk) * depth * PRODUCT
    else:
        is_one_run = grid.taps_across * grid.source_channels == grid.row_of_taps
        runs = 1 if is_one_run else max(1, grid.taps_down)
        taken = round_up(windows, ROWS_STEP) * (depth + PRODUCT * (runs - 1))
    total = float(taken * vectors)
    if not inside or (chunk and grid.source_channels >= APART):
        total += COPIED * _strip_floats(grid, rows) / LANES
    return shares * total


def _pieces(grid: Grid, vectors: int, shares: int, chunk: int) -> tuple[list[Grid], float, float]:
    """Cut the grid in zones, if that is quicker than a strip of zeros around the images.

    Returns the pieces, their time, and the time of the grid in one piece.
    """
    cut = zones(grid)
    inside = cut == [grid]
    uncut = _time(grid, vectors, shares, chunk, is_zone=False, inside=inside)
    if inside:
        return cut, uncut, uncut
    time = sum(_time(zone, vectors, shares, chunk, is_zone=True, inside=True) for zone in cut)
    time += ZONE * shares * (len(cut) - 1)
    return (cut, time, uncut) if time < uncut else ([grid], uncut, uncut)


def _by_filters(windows: int, padded: int, parts: int) -> bool:
    """Tell whether parts share the filters: each then reads all windows, but no filter twice."""
    return parts > 1 and padded >= parts * PANEL and 2 * windows <= padded


def _sizes(grids: Sequence[Grid]) -> tuple[int, int]:
    """Return the most windows of a block, in whole tiles, and the most floats of its strip."""
    windows = max(round_up(grid.block * grid.windows_across, ROWS_STEP) for grid in grids)
    return windows, max(_strip_floats(grid, grid.block) for grid in grids)


class Cut(NamedTuple):
    """How the windows of some grids are shared among threads, and cut."""

    parts: int
    by_filters: bool
    grids: tuple[Grid, ...]
    kept: float  # share of the time of the grids as they were


def cut_windows(
    whole: Sequence[Grid], filters: int, chunk: int = 0, threads: int | None = None
) -> Cut:
    """Cut the grids of a convolution where that is quicker; `chunk` as in `_time`.

    `threads` are the most there may be; those of the library if left out.
    """
    return _cut(tuple(whole), filters, chunk, threads or get_num_threads())


@remembered
def _cut(whole: tuple[Grid, ...], filters: int, chunk: int, num_threads: int) -> Cut:
    padded = round_up(filters, LANES)
    products = sum(_windows(grid) * _depth(grid) for grid in whole) * padded
    limit = max((_rows(grid) for grid in whole), default=0)
    parts = plan_parts(products / PRODUCTS_PER_NANOSECOND, limit=min(limit, num_threads))
    windows = max((_windows(grid) for grid in whole), default=0)
    by_filters = _by_filters(windows, padded, parts)
    shares, vectors = parts, padded // LANES
    if by_filters:
        shares, vectors = 1, -(-vectors // parts)
    grids: list[Grid] = []
    time = before = 0.0
    for grid in whole:
        pieces, of_pieces, of_grid = _pieces(grid, vectors, shares, chunk)
        grids += [_in_blocks(piece, shares) for piece in pieces]
        time += of_pieces
        before += of_grid
    return Cut(parts, by_filters, tuple(grids), time / before if before else 1.0)


def chunk_of(grid: Grid, filters: int) -> int:
    """Return the windows in a product for the gradient of filters, at most."""
    sums = round_up(_depth(grid), ROWS_STEP) * round_up(filters, LANES)
    return GRADIENT_WINDOWS[sums >= BLOCK_FLOATS]


class Plan(NamedTuple):
    """What a convolution of these shapes needs; made once for each."""

    grids: np.ndarray
    orders: np.ndarray
    parts: int
    packing: int  # parts of the packing of filters
    packed: int  # floats of the packed filters, a multiple of a vector as padded filters are
    workspace: int  # floats of each part
    tables: int  # numbers in the tables of each part
    sizes: tuple[int, int, int]  # filters, windows of a block, by_filters


def _blocks(filters: int, channels: int) -> int:
    """Return the blocks of sixteen filters and sixteen channels."""
    return -(-filters // LANES) * -(-channels // LANES)


def _plan(whole: Sequence[Grid], orders: Sequence[Order], filters: int) -> Plan:
    """Lay out the convolution of every grid with as many filters."""
    padded = round_up(filters, LANES)
    cut = cut_windows(whole, filters)
    windows, strip = _sizes(cut.grids)
    packed = sum(grid.packed_depth for grid in whole) * padded
    blocks = _blocks(filters, whole[0].source_channels)
    return Plan(
        grids=np.array(cut.grids, np.int64),
        orders=np.array(orders, np.int64),
        parts=cut.parts,
        packing=plan_parts(packed / PACKED_PER_NANOSECOND, limit=blocks),
        packed=packed,
        workspace=round_up(windows * PANEL + strip, LANES) + PAGE,
        tables=2 * windows + max(_depth(grid) for grid in cut.grids),
        sizes=(filters, windows, int(cut.by_filters)),
    )


def plan_forward(
    x_shape: Shape, weight_shape: Shape, size: Pair, stride: Pair, padding: Pair
) -> Plan:
    """Plan the convolution."""
    filters, _, rows, columns = weight_shape
    grid = grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    return _plan([grid], [Order(0, rows, columns, 0, columns, 1)], filters)


def plan_backward(
    grad_shape: Shape,
    weight_shape: Shape,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
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
    sizes: tuple[int, int, int, int]  # filters, windows of a block, of a product, by_filters


def plan_gradient(
    x_shape: Shape,
    weight_shape: Shape,
    size: Pair,
    stride: Pair,
    padding: Pair,
    threads: int | None = None,
) -> GradientPlan:
    """Plan the gradient of filters; `threads` as for `cut_windows`."""
    filters, channels, rows, columns = weight_shape
    blocks = _blocks(filters, channels)
    grid = grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    depth, padded = round_up(_depth(grid), ROWS_STEP), round_up(filters, LANES)
    chunk = chunk_of(grid, filters)
    cut = cut_windows([grid], filters, chunk, threads)
    most, strip = _sizes(cut.grids)
    chunks = -(-most // chunk)
    chunk = -(-most // chunks)
    sums = (1 if cut.by_filters else cut.parts, depth * padded)
    return GradientPlan(
        grids=np.array(cut.grids, np.int64),
        parts=cut.parts,
        adding=plan_parts(math.prod(sums) / PACKED_PER_NANOSECOND, limit=blocks),
        sums=(sums[0], sums[1] + PAGE),
        workspace=round_up(chunk * PANEL + strip, LANES) + PAGE,
        tables=2 * (most + depth),
        sizes=(filters, most, chunk, int(cut.by_filters)),
    )
