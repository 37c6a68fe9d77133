"""Runs the packed-windows kernels: grids, workspaces, threads."""

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
from tinysmooth.kernels.convolution.packing import Grid, pack_filters
from tinysmooth.kernels.convolution.windows import (
    convolve_windows,
    filter_gradient_windows,
    sum_filter_gradients,
)
from tinysmooth.kernels.microkernel import PANEL, ROWS_STEP
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES

BLOCK_FLOATS = 2**17
"""Floats in a block of windows: half a megabyte, which leaves room beside it in an L2 cache."""

MOST_WINDOWS = 384
"""In a block; more would not be faster."""


def _window_block(windows: int, parts: int, depth: int) -> int:
    most = BLOCK_FLOATS // depth // ROWS_STEP * ROWS_STEP
    most = max(ROWS_STEP, min(MOST_WINDOWS, most))
    share = -(-windows // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), ROWS_STEP)


def _run_windows(
    source: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    grid: Grid,
    taps: tuple[int, int, int, int],
    backward: bool,
) -> None:
    """Pack the filters, convolve; `taps` are first tap and step in both directions."""
    depth = round_up(grid.taps_down * grid.taps_across * grid.source_channels, 4)
    padded = round_up(grid.out_channels, LANES)
    windows = grid.batch * grid.windows_down * grid.windows_across
    b = memory.empty((depth * padded,), np.float32)
    sizes = (*weight.shape, grid.taps_down, grid.taps_across, *taps, int(backward))
    run_parallel(pack_filters, weight.reshape(-1), b, sizes, depth, work=depth * padded)
    work = windows * depth * padded / PRODUCTS_PER_NANOSECOND
    parts = plan_parts(work, limit=windows)
    block = _window_block(windows, parts, depth)
    workspace = memory.empty((parts, block * (depth + PANEL)), np.float32)
    arrays = (source.reshape(-1), b, out.reshape(-1), workspace)
    run_parallel(convolve_windows, *arrays, grid, depth, block, parts=parts)


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the convolution (N, *size, K)."""
    filters, _, *kernel = weight.shape
    out = memory.empty((x.shape[0], *size, filters), np.float32)
    start = (-padding[0], -padding[1])
    grid = Grid._make((*x.shape, *size, *kernel, *stride, *start, *size, filters, 1, 1, 0, 0))
    _run_windows(x, weight, out, grid, (0, 0, 1, 1), backward=False)
    return out


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


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    batch, height, width, channels = input_shape
    out = memory.empty(input_shape, np.float32)
    down = phases(height, weight.shape[2], stride[0], padding[0])
    across = phases(width, weight.shape[3], stride[1], padding[1])
    if any(phase.taps == 0 for phase in down + across):
        out[...] = 0  # pixels that no window covers
    for a in down:
        for b in across:
            if a.taps and b.taps:
                windows, taps, start = (a.windows, b.windows), (a.taps, b.taps), (a.start, b.start)
                place = (height, width, channels, *stride, a.first, b.first)
                grid = Grid._make((*grad.shape, *windows, *taps, 1, 1, *start, *place))
                order = (a.largest_tap, b.largest_tap, -stride[0], -stride[1])
                _run_windows(grad, weight, out, grid, order, backward=True)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    filters, channels, *kernel = weight_shape
    size = grad.shape[1:3]
    start = (-padding[0], -padding[1])
    grid = Grid._make((*x.shape, *size, *kernel, *stride, *start, *size, filters, 1, 1, 0, 0))
    out = memory.empty(weight_shape, np.float32)
    depth, padded = round_up(kernel[0] * kernel[1] * channels, 4), round_up(filters, LANES)
    windows = grad.shape[0] * size[0] * size[1]
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=windows)
    block = _window_block(windows, parts, depth)
    workspace = memory.empty((parts, block * (depth + PANEL)), np.float32)
    sums = memory.empty((parts, depth * padded), np.float32)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace)
    run_parallel(filter_gradient_windows, *arrays, grid, depth, block, parts=parts)
    sizes = (filters, channels, kernel[0] * kernel[1])
    run_parallel(sum_filter_gradients, sums, out.reshape(-1), *sizes, work=depth * padded)
    return out
