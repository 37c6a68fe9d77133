"""Runs the packed-windows kernels: plans, workspaces, threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.filters import pack_filters, sum_filter_gradients
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.packing import PLAN_COLUMNS, Grid
from tinysmooth.kernels.convolution.windows import (
    MOST_WINDOWS,
    convolve_windows,
    filter_gradient_windows,
)
from tinysmooth.kernels.microkernel import PANEL, ROWS_STEP
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES

BLOCK_FLOATS = 2**17
"""Floats in a block of windows: half a megabyte, which leaves room beside it in an L2 cache."""

GRADIENT_WINDOWS = 96
"""In a block of the gradient of filters: a panel of 64 columns then fits the L1 cache."""

PACKED_PER_NANOSECOND = 5
"""Floats of filters that one core packs in a nanosecond, roughly."""

Order = tuple[int, int, int, int]
FORWARD: Order = (0, 0, 1, 1)


def _window_block(windows: int, parts: int, depth: int, most_windows: int) -> int:
    most = BLOCK_FLOATS // max(1, depth) // ROWS_STEP * ROWS_STEP
    most = max(ROWS_STEP, min(most_windows, most))
    share = -(-windows // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), ROWS_STEP)


def _depth(grid: Grid) -> int:
    return round_up(grid.taps_down * grid.taps_across * grid.source_channels, 4)


def _windows(grid: Grid) -> int:
    return grid.batch * grid.windows_down * grid.windows_across


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
    parts = plan_parts(work / PRODUCTS_PER_NANOSECOND, limit=most)
    by_filters = _by_filters(most, padded, parts)
    plan = np.zeros((len(grids), PLAN_COLUMNS), np.int64)
    first_float = floats = 0
    for row, (grid, order) in zip(plan, grids, strict=True):
        depth = _depth(grid)
        block = _window_block(_windows(grid), 1 if by_filters else parts, depth, MOST_WINDOWS)
        taps = (order[0] * kernel[1] + order[1], order[2] * kernel[1], order[3])
        row[:] = (*grid, first_float, block, *taps)
        first_float += depth * padded
        floats = max(floats, block * depth)
    b = memory.empty((first_float,), np.float32)
    packing = plan_parts(b.size / PACKED_PER_NANOSECOND, limit=padded // LANES)
    workspace = memory.empty((packing, LANES * LANES * area), np.float32)
    bank = (weight.reshape(-1), (filters, channels, area), int(backward))
    run_parallel(pack_filters, *bank, plan, b, workspace, parts=packing)

    floats += MOST_WINDOWS * PANEL
    workspace = memory.empty((parts, round_up(floats, LANES)), np.float32)
    arrays = (source.reshape(-1), b, out.reshape(-1), workspace, plan)
    run_parallel(convolve_windows, *arrays, out.shape[3], int(by_filters), parts=parts)


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
    depth, padded, windows = _depth(grid), round_up(filters, LANES), _windows(grid)
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=windows)
    by_filters = _by_filters(windows, padded, parts)
    # The sums are read and written once for each block: where they are large, blocks are too.
    most = GRADIENT_WINDOWS if depth * padded < BLOCK_FLOATS else MOST_WINDOWS
    block = _window_block(windows, 1 if by_filters else parts, depth, most)
    plan = np.array([(*grid, 0, block, *FORWARD[1:])], np.int64)
    floats = round_up(block * (PANEL + depth), LANES)
    workspace = memory.empty((parts, floats), np.float32)
    sums = memory.empty((1 if by_filters else parts, depth * padded), np.float32)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace, plan)
    run_parallel(filter_gradient_windows, *arrays, int(by_filters), parts=parts)

    area = rows * columns
    adding = plan_parts(sums.size / PACKED_PER_NANOSECOND, limit=padded // LANES)
    workspace = memory.empty((adding, LANES * LANES * area), np.float32)
    shape = (filters, channels, area)
    run_parallel(sum_filter_gradients, sums, out.reshape(-1), shape, workspace, parts=adding)
    return out
