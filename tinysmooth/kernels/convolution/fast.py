"""The rung that ``use_kernels("compiled")`` runs: chooses the route, lays out memory, runs threads.

- float64, or compilation disabled: im2col (`reference`), exact.
- 3x3 filters with stride 1, enough channels, and no switch against it: fused Winograd.
- everything else: packed windows.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import im2col
from tinysmooth.kernels.convolution.geometry import Pair, Shape, output_size, round_up
from tinysmooth.kernels.convolution.windows import (
    Grid,
    convolve_windows,
    filter_gradient_windows,
    pack_filters,
    sum_filter_gradients,
)
from tinysmooth.kernels.convolution.winograd_filters import (
    filters_to_tiles,
    tiles_to_filter_gradient,
)
from tinysmooth.kernels.convolution.winograd_tiles import (
    PATCH,
    POSITIONS,
    SLICE_GAP,
    TILE,
    filter_gradient_tiles,
    forward_tiles,
)
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.microkernel import PANEL, ROWS_STEP
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import LANES

__all__ = ["conv2d_backward_data", "conv2d_backward_weight", "conv2d_forward"]

PRODUCTS_PER_NANOSECOND = 50
"""Multiply-adds of one core, for `plan_parts`."""

winograd_enabled = True


def _use_winograd(kernel: Pair, stride: Pair, rows: int, columns: int, channels: int, filters: int) -> bool:
    if kernel != (3, 3) or stride != (1, 1) or not winograd_enabled:
        return False
    if channels < 8 or filters < 8:
        return False
    tiles = round_up(rows, TILE) * round_up(columns, TILE)
    return tiles <= 2 * rows * columns


def _tile_block(tiles: int, parts: int, channels: int) -> int:
    most = 48 if channels < 128 else 96 if channels < 256 else 144
    share = -(-tiles // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), ROWS_STEP)


def _winograd(
    x: np.ndarray, weight: np.ndarray, rows: int, columns: int, padding: Pair, backward: bool
) -> np.ndarray:
    batch, height, width, channels = x.shape
    filters = weight.shape[1] if backward else weight.shape[0]
    out = memory.empty((batch, rows, columns, filters), np.float32)
    if out.size == 0:
        return out
    depth, padded = round_up(channels, 4), round_up(filters, LANES)
    u = memory.empty((POSITIONS * depth * padded,), np.float32)
    parts = plan_parts(POSITIONS * depth * padded / 2, limit=padded // LANES)
    taps = memory.empty((parts, POSITIONS * LANES), np.float32)
    run_parallel(
        filters_to_tiles,
        weight.reshape(-1),
        u,
        taps,
        weight.shape[0],
        weight.shape[1],
        backward,
        parts=parts,
    )
    tiles = batch * -(-rows // TILE) * -(-columns // TILE)
    work = tiles * POSITIONS * depth * padded / PRODUCTS_PER_NANOSECOND
    parts = plan_parts(work, limit=tiles)
    block = _tile_block(tiles, parts, channels)
    v_row = round_up(channels, LANES)
    size = POSITIONS * (block * (v_row + PANEL) + 2 * SLICE_GAP) + PATCH * PATCH * max(v_row, LANES)
    workspace = memory.empty((parts, round_up(size, LANES)), np.float32)
    sizes = (batch, height, width, channels, rows, columns, filters, *padding, block)
    run_parallel(
        forward_tiles, x.reshape(-1), u, out.reshape(-1), workspace, sizes, parts=parts
    )
    return out


def _winograd_filter_gradient(x: np.ndarray, grad: np.ndarray, padding: Pair) -> np.ndarray:
    batch, height, width, channels = x.shape
    _, rows, columns, filters = grad.shape
    out = memory.empty((filters, channels, 3, 3), np.float32)
    depth, padded = round_up(channels, 4), round_up(filters, LANES)
    tiles = batch * -(-rows // TILE) * -(-columns // TILE)
    work = tiles * POSITIONS * depth * padded / PRODUCTS_PER_NANOSECOND
    parts = plan_parts(work, limit=tiles)
    block = _tile_block(tiles, parts, 64 if channels * filters < 2**15 else 256)
    v_row = round_up(channels, LANES)
    size = POSITIONS * (block * (v_row + padded) + 2 * SLICE_GAP) + PATCH * PATCH * max(v_row, padded)
    workspace = memory.empty((parts, round_up(size, LANES)), np.float32)
    sums = memory.empty((parts, POSITIONS * depth * padded), np.float32)
    sizes = (batch, height, width, channels, rows, columns, filters, *padding, block)
    run_parallel(
        filter_gradient_tiles, x.reshape(-1), grad.reshape(-1), sums, workspace, sizes, parts=parts
    )
    parts = plan_parts(POSITIONS * depth * padded / 2, limit=channels)
    tile = memory.empty((parts, POSITIONS * LANES), np.float32)
    run_parallel(
        tiles_to_filter_gradient, sums, out.reshape(-1), tile, filters, channels, parts=parts
    )
    return out


def _window_block(windows: int, parts: int, depth: int) -> int:
    most = max(ROWS_STEP, min(384, 2**17 // depth // ROWS_STEP * ROWS_STEP))
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
    depth = round_up(grid.taps_down * grid.taps_across * grid.source_channels, 4)
    padded = round_up(grid.out_channels, LANES)
    windows = grid.batch * grid.windows_down * grid.windows_across
    b = memory.empty((depth * padded,), np.float32)
    sizes = (*weight.shape, grid.taps_down, grid.taps_across, *taps, int(backward))
    run_parallel(pack_filters, weight.reshape(-1), b, sizes, depth, work=depth * padded)
    work = windows * depth * padded / PRODUCTS_PER_NANOSECOND
    parts = plan_parts(work, limit=windows)
    block = _window_block(windows, parts, depth)
    workspace = memory.empty((parts, block * (depth + PANEL) + 2 * LANES), np.float32)
    run_parallel(
        convolve_windows,
        source.reshape(-1),
        b,
        out.reshape(-1),
        workspace,
        grid,
        depth,
        block,
        parts=parts,
    )


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_forward(x, weight, stride, padding)
    batch, height, width, channels = x.shape
    filters, _, taps_down, taps_across = weight.shape
    kernel = (taps_down, taps_across)
    rows, columns = output_size(height, width, kernel, stride, padding)
    if _use_winograd(kernel, stride, rows, columns, channels, filters):
        return _winograd(x, weight, rows, columns, padding, backward=False)
    out = memory.empty((batch, rows, columns, filters), np.float32)
    start = (-padding[0], -padding[1])
    grid = Grid(
        *x.shape, rows, columns, *kernel, *stride, *start, rows, columns, filters, 1, 1, 0, 0
    )
    _run_windows(x, weight, out, grid, (0, 0, 1, 1), backward=False)
    return out


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    if grad.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_data(grad, weight, input_shape, stride, padding)
    batch, height, width, channels = input_shape
    filters, _, taps_down, taps_across = weight.shape
    if _use_winograd((taps_down, taps_across), stride, height, width, filters, channels):
        turned = (2 - padding[0], 2 - padding[1])
        return _winograd(grad, weight, height, width, turned, backward=True)
    out = memory.empty(input_shape, np.float32)
    down = [_phase(height, grad.shape[1], taps_down, stride[0], padding[0], y) for y in range(stride[0])]
    across = [_phase(width, grad.shape[2], taps_across, stride[1], padding[1], x) for x in range(stride[1])]
    if any(phase.taps == 0 for phase in down + across):
        out[...] = 0
    for y, a in enumerate(down):
        for x, b in enumerate(across):
            if a.taps and b.taps and a.windows and b.windows:
                grid = Grid(
                    *grad.shape,
                    a.windows,
                    b.windows,
                    a.taps,
                    b.taps,
                    1,
                    1,
                    a.start,
                    b.start,
                    height,
                    width,
                    channels,
                    *stride,
                    y,
                    x,
                )
                taps = (a.first_tap, b.first_tap, -stride[0], -stride[1])
                _run_windows(grad, weight, out, grid, taps, backward=True)
    return out


from typing import NamedTuple


class _Phase(NamedTuple):
    windows: int
    taps: int
    start: int
    first_tap: int


def _phase(size: int, out_size: int, taps: int, stride: int, padding: int, phase: int) -> _Phase:
    """Describe the pixels phase, phase + stride, ... of one direction."""
    smallest = (phase + padding) % stride
    count = len(range(smallest, taps, stride))
    last = smallest + (count - 1) * stride
    # Pixel `phase` meets output (phase + padding - tap) / stride; the largest tap comes first.
    return _Phase(len(range(phase, size, stride)), count, (phase + padding - last) // stride, last)


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_weight(x, grad, weight_shape, stride, padding)
    filters, channels, taps_down, taps_across = weight_shape
    kernel = (taps_down, taps_across)
    _, rows, columns, _ = grad.shape
    if _use_winograd(kernel, stride, rows, columns, channels, filters):
        return _winograd_filter_gradient(x, grad, padding)
    start = (-padding[0], -padding[1])
    grid = Grid(
        *x.shape, rows, columns, *kernel, *stride, *start, rows, columns, filters, 1, 1, 0, 0
    )
    out = memory.empty(weight_shape, np.float32)
    depth = round_up(taps_down * taps_across * channels, 4)
    padded = round_up(filters, LANES)
    windows = grid.batch * rows * columns
    parts = plan_parts(windows * depth * padded / PRODUCTS_PER_NANOSECOND, limit=max(1, windows))
    block = _window_block(windows, parts, depth)
    workspace = memory.empty((parts, block * (depth + PANEL) + 3 * LANES), np.float32)
    sums = memory.empty((parts, depth * padded), np.float32)
    run_parallel(
        filter_gradient_windows,
        x.reshape(-1),
        grad.reshape(-1),
        sums,
        workspace,
        grid,
        depth,
        block,
        parts=parts,
    )
    run_parallel(
        sum_filter_gradients,
        sums,
        out.reshape(-1),
        filters,
        channels,
        taps_down * taps_across,
        work=depth * padded,
    )
    return out
