"""Runs the kernels of `winograd_shared`: what they cost, their plans, calls and workspaces.

Costs are in multiply-adds of vectors, as those of the other routes; the constants were found by
timing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels.convolution import statistics
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    Work,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_costs import (
    FEWEST_CHANNELS,
    FILTERS_AS_TILES,
    SUMS_AS_TILES,
    Depth,
    depth_of,
    used_in_last_row,
)
from tinysmooth.kernels.convolution.winograd_filters import (
    filters_to_tiles,
    tiles_to_filter_gradient,
)
from tinysmooth.kernels.convolution.winograd_route import (
    TRANSFORMED_PER_NANOSECOND,
    gathered_floats,
    most_tiles,
    run_convolution,
    run_gradient,
)
from tinysmooth.kernels.convolution.winograd_shared import (
    POSITIONS,
    SIDE,
    TILE,
    filter_gradient_shared,
    forward_shared,
)
from tinysmooth.kernels.convolution.winograd_tiles import SLICE_GAP, TOGETHER
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import PANEL, columns_cost
from tinysmooth.kernels.prepared import PAGE, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE

INPUT_PATCH = 380
"""What transforming sixteen channels of a patch takes, in multiply-adds of vectors."""

OUTPUT_PIXELS = 280
"""The same for sixteen filters of a tile of out, or of its gradient."""

BLOCK_FLOATS = 2**18 if WIDE else 2**17
"""Floats of V and M, or of V and D, of the strips that are taken at a time: a megabyte or, where L2
caches are smaller, half of one."""

ALIASED_SLICE = 1024
"""Floats in 4 KB: slices a multiple of that apart compete for the same places of the L1 cache."""

FEWEST_TILES = 48
"""Tiles that are taken at a time even if they have more floats than that: each time, all of U is
read."""

LARGEST_SUMS = 2**23
"""Floats of the sums of the gradient of filters, in each thread, up to which this route is one to
take: with 6.5 million it took 0.7 to 1.0 of the time of `winograd_route`, with 15 million 0.95, and
they want twice 60 megabytes."""


class Strips(NamedTuple):
    """How the tiles of images are cut in strips."""

    lines: int  # of tiles, in a strip
    number: int  # strips of an image
    grid: int  # patches of a strip
    tiles: int  # tiles of out of a strip


def _least_tiles(depth: Depth, padded: int, gradient: bool) -> int:
    """Return the tiles to take at a time, however many floats they have."""
    return most_tiles(depth.row * padded) if gradient else FEWEST_TILES


def _strips(batch: int, size: Pair, depth: Depth, padded: int, gradient: bool) -> Strips:
    """Cut images in strips that fit BLOCK_FLOATS and are at least as many as the threads."""
    row = _row(padded, gradient)
    down, across = (-(-side // TILE) for side in size)
    beside = across + depth.shifts_across - 1
    more = depth.shifts_down - 1
    a_line = POSITIONS * (beside * depth.step + across * row)
    room = BLOCK_FLOATS - POSITIONS * more * beside * depth.step
    least = -(-_least_tiles(depth, padded, gradient) // across)
    lines = max(1, min(down, max(least, room // a_line), down * batch // get_num_threads()))
    number = -(-down // lines)
    lines = -(-down // number)
    return Strips(lines, number, (lines + more) * beside, lines * across)


def _row(padded: int, gradient: bool) -> int:
    """Return the floats of a tile of D, or of M."""
    return padded if gradient else min(padded, TOGETHER)


class Plan(NamedTuple):
    """What a convolution of these shapes, or its gradient of filters, needs; made once for each."""

    sizes: tuple[int, ...]  # as the kernels take them
    table: np.ndarray
    shifts: Pair
    parts: int
    workspace: int  # floats of each part
    transforming: int  # parts that transform filters, or sums back
    whole: int  # floats of U, or of the sums of one part


def _table(strips: Strips, across: int, depth: Depth, block: int, tiles: int) -> np.ndarray:
    """Return the offsets of the tiles of a slice of V, and then those of a tile's channels.

    Both go on with the last one up to whole tiles of the microkernel.
    """
    beside = across + depth.shifts_across - 1
    number, i, j = np.indices((block, strips.lines, across))
    places = (number * strips.grid + i * beside + j) * depth.step
    a, b, c = np.indices((depth.shifts_down, depth.shifts_across, depth.channels))
    channels = (a * beside + b) * depth.step + c
    parts = ((places, tiles), (channels, round_up(depth.used, ROWS_STEP)))
    rows = [np.pad(each.ravel(), (0, room - each.size), "edge") for each, room in parts]
    return np.concatenate(rows).astype(np.int64)


def _plan(x_shape: Shape, bank: Shape, size: Pair, padding: Pair, gradient: bool) -> Plan:
    """Plan a convolution with the filters of `bank`, (outputs, inputs, rows, columns)."""
    batch, _, _, channels = x_shape
    filters, _, *kernel = bank
    depth = depth_of(channels, (kernel[0], kernel[1]), gradient)
    padded = round_up(filters, LANES)
    row = _row(padded, gradient)
    strips = _strips(batch, size, depth, padded, gradient)
    depth_of_sums = round_up(depth.used, ROWS_STEP) if gradient else depth.used
    whole = POSITIONS * depth_of_sums * padded
    units = batch * strips.number
    parts = plan_parts(units * strips.tiles * whole / PRODUCTS_PER_NANOSECOND, limit=units)

    most, share = 1, -(-units // parts)
    if strips.number == 1:
        floats = POSITIONS * (strips.grid * depth.step + strips.tiles * row)
        least = _least_tiles(depth, padded, gradient)
        most = max(1, min(share, max(BLOCK_FLOATS // floats, least // strips.tiles)))
    block = -(-share // -(-share // most))
    tiles = round_up(block * strips.tiles, ROWS_STEP)
    v_slice = block * strips.grid * depth.step + SLICE_GAP
    if v_slice % ALIASED_SLICE == 0:
        v_slice += LANES
    patch = max(SIDE * SIDE * channels, TILE * TILE * PANEL) + LANES
    last = used_in_last_row(depth, kernel[0])
    cut = (*strips[:2], depth.step, v_slice, block, tiles, depth.used, last)
    written = (parts if gradient else 1) * whole / TRANSFORMED_PER_NANOSECOND
    groups = -(-channels // LANES) if gradient else padded // LANES
    return Plan(
        sizes=(*x_shape, *size, filters, *padding, *depth[:2], *cut),
        table=_table(strips, -(-size[1] // TILE), depth, block, tiles),
        shifts=(depth.shifts_down, depth.shifts_across),
        parts=parts,
        workspace=round_up(POSITIONS * (v_slice + tiles * row + SLICE_GAP) + patch, LANES),
        transforming=plan_parts(written, limit=groups),
        whole=whole,
    )


@remembered
def _prepare(
    x: Shape,
    weight: Shape,
    size: Pair,
    padding: Pair,
    backward: bool,
    wanted: bool,
    num_threads: int,
) -> Calls:
    filters, channels, *kernel = weight
    bank = (channels, filters, *kernel) if backward else weight
    plan = _plan(x, bank, size, padding, gradient=False)
    workspace = Piece(0, (plan.parts, plan.workspace + PAGE))
    taps = Piece(workspace.stop, (plan.transforming, gathered_floats(weight)))
    u = Piece(taps.stop, (plan.whole,))
    how = (weight, plan.shifts, int(backward), SIDE)
    sums: tuple[object, ...] = statistics.NONE
    if wanted:
        sums = statistics.given(plan.parts, round_up(bank[0], LANES))
    arrays = (flat(x), u, flat((x[0], *size, bank[0])), *sums)
    steps = (
        Prepared(filters_to_tiles, plan.transforming, flat(weight), u, taps, *how),
        Prepared(forward_shared, plan.parts, *arrays, workspace, plan.table, plan.sizes),
    )
    return Calls(steps, u.stop, plan.parts)


@remembered
def _prepare_gradient(
    x: Shape, grad: Shape, weight: Shape, padding: Pair, num_threads: int
) -> Calls:
    plan = _plan(x, weight, (grad[1], grad[2]), padding, gradient=True)
    workspace = Piece(0, (plan.parts, plan.workspace + PAGE))
    taps = Piece(workspace.stop, (plan.transforming, gathered_floats(weight)))
    sums = Piece(taps.stop, (plan.parts, plan.whole))
    arrays = (flat(x), flat(grad), sums, workspace, plan.table, plan.sizes)
    how = (weight, plan.shifts, SIDE)
    steps = (
        Prepared(filter_gradient_shared, plan.parts, *arrays),
        Prepared(tiles_to_filter_gradient, plan.transforming, sums, flat(weight), taps, *how),
    )
    return Calls(steps, sums.stop, plan.parts)


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair, backward: bool
) -> np.ndarray:
    """Return the convolution (N, *size, K); `backward` turns the filters and exchanges C and K."""
    return _convolve(x, weight, size, padding, backward, wanted=False)[0]


def convolve_with_statistics(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the convolution, and mean and variance of its channels, or None if not finite."""
    out, sums = _convolve(x, weight, size, padding, backward=False, wanted=True)
    return out, statistics.mean_and_variance(sums, weight.shape[0])


def _convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, padding: Pair, backward: bool, wanted: bool
) -> tuple[np.ndarray, statistics.Sums]:
    shapes = (x.shape, weight.shape, size)
    calls = _prepare(*shapes, padding, backward, wanted, get_num_threads())
    return run_convolution(calls, x, weight, size, backward, wanted)


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    shapes = (x.shape, grad.shape, tuple(weight_shape))
    calls = _prepare_gradient(*shapes, padding, get_num_threads())
    return run_gradient(calls, x, grad, weight_shape)


def cost(work: Work, gradient: bool) -> float:
    """Return the time this route takes, in multiply-adds of vectors; infinity where it cannot run.

    `gradient` is for that of the filters.
    """
    batch, size, channels, filters, kernel, stride, _ = work
    if stride != (1, 1) or 0 in size or min(channels, filters) < FEWEST_CHANNELS:
        return math.inf
    depth = depth_of(channels, kernel, gradient)
    padded = round_up(filters, LANES)
    if gradient and POSITIONS * depth.used * padded > LARGEST_SUMS:
        return math.inf
    strips = _strips(batch, size, depth, padded, gradient)
    units = batch * strips.number
    inputs, outputs = -(-channels // LANES), padded // LANES
    used_last = used_in_last_row(depth, kernel[0])
    product = SIDE * ((SIDE - 1) * depth.used + used_last)
    kept = SUMS_AS_TILES if gradient else FILTERS_AS_TILES
    products = product * (columns_cost(outputs) * units * strips.tiles + outputs * kept)
    transforms = strips.grid * INPUT_PATCH * inputs + strips.tiles * OUTPUT_PIXELS * outputs
    return products + units * transforms
