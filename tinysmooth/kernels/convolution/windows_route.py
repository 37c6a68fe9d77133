"""Runs the kernels of `windows`: plans, workspaces, threads."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import statistics
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
from tinysmooth.kernels.panels import PANEL, ROWS_STEP, columns_cost
from tinysmooth.kernels.threads import get_num_threads, plan_parts, run_parallel
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

Order = tuple[int, int, int, int]
FORWARD: Order = (0, 0, 1, 1)


def cost(windows: float, depth: int, filters: int) -> float:
    """Return the time of so many windows of `depth` numbers, in multiply-adds of vectors."""
    vectors = -(-filters // LANES)
    return depth * (columns_cost(vectors) * windows + vectors * FILTERS_AS_WINDOWS)


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


class Plan(NamedTuple):
    """What a convolution of these shapes needs; made once for each."""

    table: np.ndarray
    parts: int
    packing: int  # parts of the packing of filters
    packed: int  # floats of the packed filters, a multiple of a vector as padded filters are
    strip: int  # floats of the strip and of what is scattered, for each part
    windows: int
    depth: int
    by_filters: bool


def _plan(grids: Sequence[tuple[Grid, Order]], kernel: Pair, filters: int) -> Plan:
    """Lay out the convolution of every grid with as many filters."""
    padded = round_up(filters, LANES)
    work = sum(_windows(grid) * _depth(grid) for grid, _ in grids) * padded
    limit = max(_rows(grid) for grid, _ in grids)
    parts = plan_parts(work / PRODUCTS_PER_NANOSECOND, limit=limit)
    by_filters = _by_filters(max(_windows(grid) for grid, _ in grids), padded, parts)
    table = np.empty((len(grids), PLAN_COLUMNS), np.int64)
    packed = windows = strip = 0
    for row, (grid, order) in zip(table, grids, strict=True):
        block = _block(grid, 1 if by_filters else parts)
        taps = (order[0] * kernel[1] + order[1], order[2] * kernel[1], order[3])
        row[:] = (*grid, packed, block, *taps)
        packed += _depth(grid) * padded
        windows = max(windows, round_up(block * grid.windows_across, ROWS_STEP))
        strip = max(strip, _strip_floats(grid, block))
    packing = plan_parts(packed / PACKED_PER_NANOSECOND, limit=padded // LANES)
    depth = max(_depth(grid) for grid, _ in grids)
    strip = round_up(windows * PANEL + strip, LANES)
    return Plan(table, parts, packing, packed, strip, windows, depth, by_filters)


@functools.lru_cache(maxsize=PLANS)
def _plan_forward(
    x_shape: Shape, weight_shape: Shape, size: Pair, stride: Pair, padding: Pair, num_threads: int
) -> Plan:
    filters, _, rows, columns = weight_shape
    grid = _grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    return _plan([(grid, FORWARD)], (rows, columns), filters)


@functools.lru_cache(maxsize=PLANS)
def _plan_backward(
    grad_shape: Shape,
    weight_shape: Shape,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    num_threads: int,
) -> Plan:
    _, height, width, channels = input_shape
    grids = []
    for a in phases(height, weight_shape[2], stride[0], padding[0]):
        for b in phases(width, weight_shape[3], stride[1], padding[1]):
            windows, taps, start = (a.windows, b.windows), (a.taps, b.taps), (a.start, b.start)
            place = (height, width, channels, *stride, a.first, b.first)
            grid = Grid._make((*grad_shape, *windows, *taps, 1, 1, *start, *place))
            # Without taps the order does not matter: the pixels become 0.
            order = (a.largest_tap, b.largest_tap, -stride[0], -stride[1])
            grids.append((grid, order))
    return _plan(grids, (weight_shape[2], weight_shape[3]), channels)


def _run_windows(
    source: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    plan: Plan,
    backward: bool,
    wanted: bool = False,
) -> statistics.Sums:
    """Pack the filters, convolve every grid of the plan; sums for the statistics if wanted."""
    filters, channels, rows, columns = weight.shape
    area = rows * columns
    taps = LANES * LANES * area + GATHERED_SLACK
    floats = memory.workspace(plan.packed + plan.packing * taps + plan.parts * plan.strip)
    b, rest = floats[: plan.packed], floats[plan.packed :]
    workspace = rest[: plan.packing * taps].reshape(plan.packing, taps)
    bank = (weight.reshape(-1), (filters, channels, area), int(backward))
    run_parallel(pack_filters, *bank, plan.table, b, workspace, parts=plan.packing)

    workspace = rest[plan.packing * taps :].reshape(plan.parts, plan.strip)
    tables = np.empty((plan.parts, plan.windows + plan.depth), np.int64)
    sums = statistics.NONE
    if wanted:
        sums = statistics.sums_for(plan.parts, round_up(out.shape[3], LANES))
    arrays = (source.reshape(-1), b, out.reshape(-1), *sums, workspace, tables, plan.table)
    sizes = (out.shape[3], plan.windows, int(plan.by_filters))
    run_parallel(convolve_windows, *arrays, sizes, parts=plan.parts)
    return sums


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the convolution (N, *size, K)."""
    return _convolve(x, weight, size, stride, padding, wanted=False)[0]


def convolve_with_statistics(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the convolution, and mean and variance of its channels, or None if not finite."""
    out, sums = _convolve(x, weight, size, stride, padding, wanted=True)
    return out, statistics.mean_and_variance(sums, weight.shape[0])


def _convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair, wanted: bool
) -> tuple[np.ndarray, statistics.Sums]:
    out = memory.empty((x.shape[0], *size, weight.shape[0]), np.float32)
    plan = _plan_forward(x.shape, weight.shape, size, stride, padding, get_num_threads())
    return out, _run_windows(x, weight, out, plan, backward=False, wanted=wanted)


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    out = memory.empty(input_shape, np.float32)
    shapes = (grad.shape, weight.shape, tuple(input_shape))
    plan = _plan_backward(*shapes, stride, padding, get_num_threads())
    _run_windows(grad, weight, out, plan, backward=True)
    return out


class GradientPlan(NamedTuple):
    """What the gradient of filters of these shapes needs; made once for each."""

    table: np.ndarray
    parts: int
    adding: int  # parts of the sum over the threads' sums
    sums: tuple[int, int]
    strip: int  # floats of the strip and of a chunk of grad, for each part
    windows: int
    chunk: int
    depth: int
    by_filters: bool


@functools.lru_cache(maxsize=PLANS)
def _plan_gradient(
    x_shape: Shape, weight_shape: Shape, size: Pair, stride: Pair, padding: Pair, num_threads: int
) -> GradientPlan:
    filters, _, rows, columns = weight_shape
    grid = _grid_of_images(x_shape, filters, (rows, columns), size, stride, padding)
    depth, padded = round_up(_depth(grid), ROWS_STEP), round_up(filters, LANES)
    windows = _windows(grid)
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=_rows(grid))
    by_filters = _by_filters(windows, padded, parts)
    block = _block(grid, 1 if by_filters else parts)
    most = block * grid.windows_across
    chunks = -(-most // GRADIENT_WINDOWS[depth * padded >= BLOCK_FLOATS])
    chunk = -(-most // chunks)
    table = np.array([(*grid, 0, block, *FORWARD[1:])], np.int64)
    sums = (1 if by_filters else parts, depth * padded)
    adding = plan_parts(sums[0] * sums[1] / PACKED_PER_NANOSECOND, limit=padded // LANES)
    strip = round_up(chunk * PANEL + _strip_floats(grid, block), LANES)
    return GradientPlan(table, parts, adding, sums, strip, most, chunk, depth, by_filters)


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    filters, channels, rows, columns = weight_shape
    shapes = (x.shape, tuple(weight_shape), (grad.shape[1], grad.shape[2]))
    plan = _plan_gradient(*shapes, stride, padding, get_num_threads())
    out = memory.empty(weight_shape, np.float32)
    shape = (filters, channels, rows * columns)
    taps, strips = LANES * LANES * shape[2], plan.parts * plan.strip
    floats = memory.workspace(strips + math.prod(plan.sums) + plan.adding * taps)
    workspace = floats[:strips].reshape(plan.parts, plan.strip)
    sums, rest = floats[strips : -plan.adding * taps], floats[-plan.adding * taps :]
    sums, gathered = sums.reshape(plan.sums), rest.reshape(plan.adding, taps)
    tables = np.empty((plan.parts, plan.windows + plan.depth), np.int64)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace, tables, plan.table)
    sizes = (plan.windows, plan.chunk, int(plan.by_filters))
    run_parallel(filter_gradient_windows, *arrays, sizes, parts=plan.parts)
    run_parallel(sum_filter_gradients, sums, out.reshape(-1), shape, gathered, parts=plan.adding)
    return out
