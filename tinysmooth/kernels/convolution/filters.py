"""Filters as vectors: sixteen of them side by side, and their gradient back in PyTorch's order.

Both fast routes read filters in vectors whose lanes are 16 outputs of the product: 16 filters, or,
for the gradient of x, which exchanges the roles, 16 channels::

    weight (K, C, R, S)  --transpose 16 outputs-->  taps [input][tap][16]

Lanes lie C R S floats apart in the first case and R S in the second; either way the tile of 16 rows
goes through `tinysmooth.kernels.transposition`. From `taps` the windows route writes

    B [panel][depth][64]          a panel of 64 outputs; row (tap, input) of the depth

once, or for each phase of a stride (`Order`, in `tinysmooth.kernels.convolution.grids`).
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.panels import panel_width
from tinysmooth.kernels.transposition import transpose
from tinysmooth.kernels.vectors import LANES, load, prefetch, store


@jit
def gather_filters(
    weight: np.ndarray,
    shape: tuple[int, int, int],
    backward: int,
    output: int,
    count: int,
    first: int,
    inputs: int,
    taps: np.ndarray,
) -> None:
    """Write ``taps[input][tap][16]`` for `count` outputs and `inputs` inputs; zeros fill the lanes.

    `shape` is (filters, channels, taps); the inputs are channels, or filters if `backward`. The
    caches are told that the next inputs will follow: they lie too far apart for a processor to
    guess.
    """
    _, channels, area = shape
    step = channels * area
    if backward:
        for i in range(inputs):
            at = ((first + i) * channels + output) * area
            transpose(weight, at, area, count, area, taps, i * area * LANES, LANES, LANES)
            for line in range(0, LANES * area, LANES):
                prefetch(weight, at + LANES * step + line)
    else:
        at = (output * channels + first) * area
        transpose(weight, at, step, count, inputs * area, taps, 0, LANES, LANES)
        for i in range(count):
            for line in range(0, LANES * area, LANES):
                prefetch(weight, at + i * step + LANES * area + line)


@jit
def panel_of(column: int, columns: int) -> tuple[int, int]:
    """Return first column and width of the panel that holds a column."""
    first = 0
    width = panel_width(first, columns)
    while first + width <= column:
        first += width
        width = panel_width(first, columns)
    return first, width


@jit
def pack_filters(
    part: int,
    parts: int,
    weight: np.ndarray,
    shape: tuple[int, int, int],
    backward: int,
    orders: np.ndarray,
    b: np.ndarray,
    workspace: np.ndarray,
) -> None:
    """Pack one part of the blocks of 16 outputs and 16 inputs, once for each of the `orders`."""
    filters, channels, area = shape
    outputs, inputs = (channels, filters) if backward else (filters, channels)
    padded = (outputs + LANES - 1) // LANES * LANES
    across_inputs = (inputs + LANES - 1) // LANES
    blocks = padded // LANES * across_inputs
    taps = workspace[part]
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        k, first = block // across_inputs * LANES, block % across_inputs * LANES
        panel, width = panel_of(k, padded)
        some = min(LANES, inputs - first)
        gather_filters(weight, shape, backward, k, min(LANES, outputs - k), first, some, taps)
        for number in range(orders.shape[0]):
            at, down, across, first_tap, step_down, step_across = orders[number]
            to = at + panel * down * across * inputs + k - panel
            row = first
            for t in range(down):
                for u in range(across):
                    tap = first_tap + t * step_down + u * step_across
                    for i in range(some):
                        value = load(taps, (i * area + tap) * LANES)
                        store(b, to + (row + i) * width, value)
                    row += inputs


@jit
def scatter_lanes(
    source: np.ndarray, rows: int, out: np.ndarray, to: int, step: int, lanes: int
) -> None:
    """Write lane i of each of the vectors ``source[rows][16]`` to ``out[to + i step + row]``."""
    for row in range(0, rows, LANES):
        some = min(LANES, rows - row)
        transpose(source, row * LANES, LANES, some, lanes, out, to + row, step, some)


@jit
def sum_filter_gradients(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    shape: tuple[int, int, int],
    workspace: np.ndarray,
) -> None:
    """Add up the sums (parts, depth, K), and write (K, C, R S).

    A part is a share of the blocks of 16 filters and 16 channels.
    """
    filters, channels, area = shape
    padded = (filters + LANES - 1) // LANES * LANES
    across_channels = (channels + LANES - 1) // LANES
    blocks = padded // LANES * across_channels
    rows = workspace[part]
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        k, first = block // across_channels * LANES, block % across_channels * LANES
        some = min(LANES, channels - first)
        for c in range(some):
            for tap in range(area):
                at = (tap * channels + first + c) * padded + k
                total = load(sums[0], at)
                for other in range(1, sums.shape[0]):
                    total = total + load(sums[other], at)
                store(rows, (c * area + tap) * LANES, total)
        to = (k * channels + first) * area
        lanes = min(LANES, filters - k)
        scatter_lanes(rows, some * area, out, to, channels * area, lanes)
