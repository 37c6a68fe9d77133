"""Runs the packed-windows kernels: plans, workspaces, threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.filters import (
    GATHERED_SLACK,
    pack_filters,
    sum_filter_gradients,
)
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.packing import PLAN_COLUMNS, Grid
from tinysmooth.kernels.convolution.windows import convolve_windows, filter_gradient_windows
from tinysmooth.kernels.microkernel import PANEL, ROWS_STEP
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES

BLOCK_FLOATS = 2**17
"""Floats in a strip: half a megabyte, which leaves room beside it in an L2 cache."""

MOST_WINDOWS = 384
"""In a block; more would not be faster."""

GRADIENT_WINDOWS = 96
"""Windows in a product for the gradient of filters: a panel of 64 columns then fits the L1
cache."""

PACKED_PER_NANOSECOND = 5
"""Floats of filters that one core packs in a nanosecond, roughly."""

Order = tuple[int, int, int, int]
FORWARD: Order = (0, 0, 1, 1)


def _strip_floats(grid: Grid, rows: int) -> int:
    """Return the floats that so many rows of windows see, at most."""
    images = min(rows, (rows - 2) // grid.windows_down + 2)
    lines = rows * grid.step_down + images * max(0, grid.taps_down - grid.step_down)
    across = (grid.windows_across - 1) * grid.step_across + grid.taps_across
    return lines * across * grid.source_channels


def _block(grid: Grid, parts: int) -> int:
    """Return how many rows of windows to take at a time: blocks of one size that fit the cache."""
    share = -(-_rows(grid) // parts)
    most = min(share, max(1, MOST_WINDOWS // max(1, grid.windows_across)))
    while most > 1 and _strip_floats(grid, most) > BLOCK_FLOATS:
        most -= 1
    blocks = -(-share // most)
    return -(-share // blocks)


def _depth(grid: Grid) -> int:
    return grid.taps_down * grid.taps_across * grid.source_channels


def _rows(grid: Grid) -> int:
    return grid.batch * grid.windows_down


def _windows(grid: Grid) -> int:
    return _rows(grid) * grid.windows_across


def _by_filters(windows: int, padded: int, parts: int) -> bool:
    """Tell whether parts share the filters: each then reads all windows, but no filter twice."""
    return parts > 1 and padded >= parts * PANEL and 2 * windows <= padded


class Phase(NamedTuple):
    """The pixels phase, phase + stride, ... of one direction of x, which meet the same taps."""

    first: int
    windows: int
    taps: int
    start: int
    largest_tap: int


def phases(size: int, taps: int, stride: int, padding: int) -> list[Phase]:
    """Describe the phases of one direction; `start` is the output that meets the largest tap.

    Examples
    --------
    Stride 2, three taps, padding 1: even pixels meet tap 1, odd ones taps 2 and 0.

    >>> for phase in phases(5, 3, 2, 1):
    ...     print(phase)
    Phase(first=0, windows=3, taps=1, start=0, largest_tap=1)
    Phase(first=1, windows=2, taps=2, start=0, largest_tap=2)
    """
    out = []
    for first in range(min(stride, size)):
        smallest = (first + padding) % stride
        count = len(range(smallest, taps, stride))
        largest = smallest + (count - 1) * stride
        start = (first + padding - largest) // stride
        out.append(Phase(first, len(range(first, size, stride)), count, start, largest))
    return out


def _grid_of_images(
    x_shape: Shape, filters: int, kernel: Pair, size: Pair, stride: Pair, padding: Pair
) -> Grid:
    start = (-padding[0], -padding[1])
    return Grid._make((*x_shape, *size, *kernel, *stride, *start, *size, filters, 1, 1, 0, 0))


def _run_windows(
    source: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    grids: Sequence[tuple[Grid, Order]],
    backward: bool,
) -> None:
    """Convolve every grid; an order is the filter's tap of the first tap, and the steps."""
    filters, channels, *kernel = weight.shape
    area = kernel[0] * kernel[1]
    padded = round_up(out.shape[3], LANES)
    work = sum(_windows(grid) * _depth(grid) for grid, _ in grids) * padded
    most = max(_windows(grid) for grid, _ in grids)
    limit = max(_rows(grid) for grid, _ in grids)
    parts = plan_parts(work / PRODUCTS_PER_NANOSECOND, limit=limit)
    by_filters = _by_filters(most, padded, parts)
    plan = np.empty((len(grids), PLAN_COLUMNS), np.int64)
    first_float = windows = floats = 0
    for row, (grid, order) in zip(plan, grids, strict=True):
        block = _block(grid, 1 if by_filters else parts)
        taps = (order[0] * kernel[1] + order[1], order[2] * kernel[1], order[3])
        row[:] = (*grid, first_float, block, *taps)
        first_float += _depth(grid) * padded
        windows = max(windows, round_up(block * grid.windows_across, ROWS_STEP))
        floats = max(floats, _strip_floats(grid, block))
    b = memory.empty((first_float,), np.float32)
    packing = plan_parts(b.size / PACKED_PER_NANOSECOND, limit=padded // LANES)
    workspace = memory.empty((packing, LANES * LANES * area + GATHERED_SLACK), np.float32)
    bank = (weight.reshape(-1), (filters, channels, area), int(backward))
    run_parallel(pack_filters, *bank, plan, b, workspace, parts=packing)

    workspace = memory.empty((parts, round_up(windows * PANEL + floats, LANES)), np.float32)
    depth = max(_depth(grid) for grid, _ in grids)
    tables = memory.empty((parts, windows + depth), np.int64)
    arrays = (source.reshape(-1), b, out.reshape(-1), workspace, tables, plan)
    run_parallel(convolve_windows, *arrays, (out.shape[3], windows, int(by_filters)), parts=parts)


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the convolution (N, *size, K)."""
    filters, _, rows, columns = weight.shape
    out = memory.empty((x.shape[0], *size, filters), np.float32)
    grid = _grid_of_images(x.shape, filters, (rows, columns), size, stride, padding)
    _run_windows(x, weight, out, [(grid, FORWARD)], backward=False)
    return out


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    _, height, width, channels = input_shape
    out = memory.empty(input_shape, np.float32)
    grids = []
    for a in phases(height, weight.shape[2], stride[0], padding[0]):
        for b in phases(width, weight.shape[3], stride[1], padding[1]):
            windows, taps, start = (a.windows, b.windows), (a.taps, b.taps), (a.start, b.start)
            place = (height, width, channels, *stride, a.first, b.first)
            grid = Grid._make((*grad.shape, *windows, *taps, 1, 1, *start, *place))
            # Without taps the order does not matter: the pixels become 0.
            order = (a.largest_tap, b.largest_tap, -stride[0], -stride[1])
            grids.append((grid, order))
    _run_windows(grad, weight, out, grids, backward=True)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    filters, channels, rows, columns = weight_shape
    size = (grad.shape[1], grad.shape[2])
    grid = _grid_of_images(x.shape, filters, (rows, columns), size, stride, padding)
    out = memory.empty(weight_shape, np.float32)
    depth, padded = round_up(_depth(grid), ROWS_STEP), round_up(filters, LANES)
    windows = _windows(grid)
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=_rows(grid))
    by_filters = _by_filters(windows, padded, parts)
    block = _block(grid, 1 if by_filters else parts)
    most = block * grid.windows_across
    # The sums are read and written once for each chunk: where they are large, chunks are too.
    chunks = -(-most // (GRADIENT_WINDOWS if depth * padded < BLOCK_FLOATS else MOST_WINDOWS))
    chunk = -(-most // chunks)
    plan = np.array([(*grid, 0, block, *FORWARD[1:])], np.int64)
    floats = round_up(chunk * PANEL + _strip_floats(grid, block), LANES)
    workspace = memory.empty((parts, floats), np.float32)
    tables = memory.empty((parts, most + depth), np.int64)
    sums = memory.empty((1 if by_filters else parts, depth * padded), np.float32)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace, tables, plan)
    sizes = (most, chunk, int(by_filters))
    run_parallel(filter_gradient_windows, *arrays, sizes, parts=parts)

    area = rows * columns
    adding = plan_parts(sums.size / PACKED_PER_NANOSECOND, limit=padded // LANES)
    workspace = memory.empty((adding, LANES * LANES * area), np.float32)
    shape = (filters, channels, area)
    run_parallel(sum_filter_gradients, sums, out.reshape(-1), shape, workspace, parts=adding)
    return out
