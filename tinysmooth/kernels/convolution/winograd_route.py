"""Runs the fused Winograd kernels: plans, calls prepared once for each shape, workspaces."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import statistics
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_costs import (
    Depth,
    are_few,
    depth_of,
    parts_for,
    used_in_last_row,
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
    TOGETHER,
    filter_gradient_tiles,
    forward_tiles,
)
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import PANEL
from tinysmooth.kernels.prepared import INT, PAGE, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE

TRANSFORMED_PER_NANOSECOND = 2
"""Floats of transformed filters that one core writes in a nanosecond, roughly: 4 where they stay in
its caches, but in a network other kernels have been there since, and then it is 0.5 to 2."""

FEWEST_AT_ONCE, MOST_AT_ONCE = 32, 64
"""Channels whose filters are transformed at a time."""


def _channels_at_once(tiles: int, channels: int, gradient: bool) -> int:
    """Return for how many channels filters are transformed and used, or the sums of gradients made.

    About as many as there are tiles, so that filters are still in the cache when they are used. For
    the gradient, and where a panel is a single vector, as many as possible: the sums of 64 channels
    take 0.7 to 1.0 of the time of those of 16.
    """
    most = min(MOST_AT_ONCE, round_up(channels, LANES))
    if gradient or not WIDE:
        return most
    return min(most, max(FEWEST_AT_ONCE, round_up(tiles, LANES)))


def gathered_floats(shape: Shape) -> int:
    """Return the floats that one thread needs to turn filters into tiles, and back."""
    return LANES * (POSITIONS + LANES * shape[2] * shape[3])


def _tile_block(tiles: int, parts: int, most: int) -> int:
    """Return how many tiles to take at a time: blocks of one size, of at most about `most`."""
    share = -(-tiles // parts)
    blocks = -(-share // most)
    return round_up(-(-share // blocks), 12)


def most_tiles(sums: int) -> int:
    """Return the tiles to take at a time for the gradient, whose sums are so many a position.

    The sums are read and written once for each block: where they are large, blocks are too; and
    where they are those of a single tile of the microkernel, to begin and to end that takes its
    time.
    """
    if sums >= 2**16 or (WIDE and sums <= LANES**2):
        return 144
    if sums >= 2**12:
        return 72
    return 48 if WIDE else 24


def _table(depth: Depth, block: int) -> np.ndarray:
    """Return the offsets of the tiles of a slice of V, and then those of a tile's channels.

    The last channel is repeated up to a whole number of tiles of the microkernel.
    """
    out = np.empty(block + round_up(depth.used, ROWS_STEP), np.int64)
    out[:block] = np.arange(0, block * depth.row, depth.row)
    shifted = out[block : block + depth.used].reshape(depth.shifts, depth.channels)
    shifted[:] = np.arange(0, depth.row, depth.step)[:, None] + np.arange(depth.channels)
    out[block + depth.used :] = out[block + depth.used - 1]
    return out


class Plan(NamedTuple):
    """What a convolution of these shapes, or its gradient of filters, needs; made once for each.

    With few tiles `table` is only as long as that of each part, which fills in its own.
    """

    few: bool
    sizes: tuple[int, ...]  # as the kernels take them
    table: np.ndarray
    parts: int
    workspace: int  # floats of each part
    transforming: int  # parts that transform filters, or sums back
    taps: int  # floats of each of them
    whole: int  # floats of U, or of the sums of one part

    @property
    def shifts(self) -> Pair:
        """Number of shifted images, down and across."""
        return self.sizes[9], self.sizes[10]


def _plan_few(
    numbers: tuple[int, ...], depth: Depth, tiles: int, weight_shape: Shape, gradient: bool
) -> Plan:
    filters = numbers[6]
    block, at_once = round_up(tiles, ROWS_STEP), _channels_at_once(tiles, depth.channels, gradient)
    used = depth.shifts * at_once
    parts = min(parts_for(tiles, depth, filters), -(-filters // LANES))
    floats = block * (depth.row + PANEL) + 2 * SLICE_GAP
    if not gradient:  # U of some channels; the sums take its place in an array of their own
        floats += used * PANEL + SLICE_GAP
    table = np.empty(block + used, np.int64)
    workspace = round_up(POSITIONS * floats + _patch(depth), LANES)
    sums = POSITIONS * (used * PANEL + SLICE_GAP) if gradient else 0
    sizes = (*numbers, depth.row, block, at_once)
    return Plan(True, sizes, table, parts, workspace, parts, gathered_floats(weight_shape), sums)


def _plan_blocks(
    numbers: tuple[int, ...],
    depth: Depth,
    block: int,
    floats: int,
    weight_shape: Shape,
    whole: int,
    parts: Pair,
) -> Plan:
    """Plan blocks of so many tiles; `parts` are those of the tiles and of the filters."""
    last = used_in_last_row(depth, weight_shape[2])
    return Plan(
        few=False,
        sizes=(*numbers, depth.used, last, depth.row, block),
        table=_table(depth, block),
        parts=parts[0],
        workspace=round_up(floats, LANES),
        transforming=parts[1],
        taps=gathered_floats(weight_shape),
        whole=whole,
    )


def _patch(depth: Depth) -> int:
    """Return the floats of a patch of pixels, or of those of a panel of their gradient.

    A vector more, because the last pixel is read in whole vectors, too.
    """
    pixels = math.prod(PATCH + SHIFT * (n - 1) for n in (depth.shifts_down, depth.shifts_across))
    return max(pixels * depth.channels, TILE * TILE * PANEL) + LANES


def _plan_convolution(
    x_shape: Shape, weight_shape: Shape, size: Pair, padding: Pair, backward: bool
) -> Plan:
    batch, _, _, channels = x_shape
    filters = weight_shape[1] if backward else weight_shape[0]
    depth, padded = depth_of(channels, (weight_shape[2], weight_shape[3])), round_up(filters, LANES)
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    numbers = (*x_shape, *size, filters, *padding, *depth[:2])
    if are_few(tiles, depth, filters, gradient=False):
        return _plan_few(numbers, depth, tiles, weight_shape, gradient=False)

    whole = POSITIONS * depth.used * padded
    parts = plan_parts(tiles * whole / PRODUCTS_PER_NANOSECOND, limit=tiles)
    # Few tiles keep V in the L2 cache; where U is large, more tiles share each load of it.
    most = 48 if depth.row < 128 else 36 if depth.shifts > 1 else 72
    block = _tile_block(tiles, parts, most)
    m_row = min(padded, TOGETHER)
    floats = POSITIONS * (block * (depth.row + m_row) + 2 * SLICE_GAP) + _patch(depth)
    transforming = plan_parts(whole / TRANSFORMED_PER_NANOSECOND, limit=padded // LANES)
    parts_of_both = (parts, transforming)
    return _plan_blocks(numbers, depth, block, floats, weight_shape, whole, parts_of_both)


def _plan_gradient(x_shape: Shape, weight_shape: Shape, size: Pair, padding: Pair) -> Plan:
    batch, _, _, channels = x_shape
    filters = weight_shape[0]
    depth = depth_of(channels, (weight_shape[2], weight_shape[3]), gradient=True)
    padded = round_up(filters, LANES)
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    numbers = (*x_shape, *size, filters, *padding, *depth[:2])
    if are_few(tiles, depth, filters, gradient=True):
        return _plan_few(numbers, depth, tiles, weight_shape, gradient=True)

    whole = POSITIONS * round_up(depth.used, ROWS_STEP) * padded
    parts = plan_parts(tiles * whole / PRODUCTS_PER_NANOSECOND, limit=tiles)
    block = _tile_block(tiles, parts, most_tiles(depth.row * padded))
    floats = POSITIONS * (block * (depth.row + padded) + 2 * SLICE_GAP) + _patch(depth)
    written = parts * whole / TRANSFORMED_PER_NANOSECOND
    parts_of_both = (parts, plan_parts(written, limit=-(-channels // LANES)))
    return _plan_blocks(numbers, depth, block, floats, weight_shape, whole, parts_of_both)


class _Pieces(NamedTuple):
    """What the workspace holds; `whole` is U, or the sums of all parts."""

    workspace: Piece
    taps: Piece
    whole: Piece
    tables: Piece


def _pieces(plan: Plan, whole: tuple[int, ...]) -> _Pieces:
    workspace = Piece(0, (plan.parts, plan.workspace + PAGE))
    taps = Piece(workspace.stop, (plan.transforming, plan.taps))
    last = Piece(taps.stop, whole)
    tables = (plan.parts, plan.table.size if plan.few else 0)
    return _Pieces(workspace, taps, last, Piece(last.stop, tables, INT))


@remembered
def _prepare_convolution(
    x: Shape,
    weight: Shape,
    size: Pair,
    padding: Pair,
    backward: bool,
    wanted: bool,
    num_threads: int,
) -> Calls:
    plan = _plan_convolution(x, weight, size, padding, backward)
    out = flat((x[0], *size, weight[1] if backward else weight[0]))
    workspace, taps, u, tables = _pieces(plan, (plan.whole,))
    sums: tuple[object, ...] = statistics.NONE
    if wanted:
        sums = statistics.given(plan.parts, round_up(weight[0], LANES))
    if plan.few:
        arrays = (flat(x), flat(weight), out, *sums, workspace, taps, tables)
        call = Prepared(forward_few_tiles, plan.parts, *arrays, plan.sizes, weight, int(backward))
        return Calls((call,), tables.stop, plan.parts)
    bank = (weight, plan.shifts, int(backward), PATCH)
    blocks = (workspace, plan.table, plan.sizes)
    steps = (
        Prepared(filters_to_tiles, plan.transforming, flat(weight), u, taps, *bank),
        Prepared(forward_tiles, plan.parts, flat(x), u, out, *sums, *blocks),
    )
    return Calls(steps, tables.stop, plan.parts)


@remembered
def _prepare_gradient(
    x: Shape, grad: Shape, weight: Shape, padding: Pair, num_threads: int
) -> Calls:
    plan = _plan_gradient(x, weight, (grad[1], grad[2]), padding)
    shape = (plan.parts, 1, plan.whole) if plan.few else (plan.parts, plan.whole)
    workspace, taps, sums, tables = _pieces(plan, shape)
    if plan.few:
        arrays = (flat(x), flat(grad), flat(weight), workspace, taps, sums, tables)
        call = Prepared(filter_gradient_few_tiles, plan.parts, *arrays, plan.sizes, weight)
        return Calls((call,), tables.stop, plan.parts)
    blocks, bank = (workspace, plan.table, plan.sizes), (weight, plan.shifts, PATCH)
    steps = (
        Prepared(filter_gradient_tiles, plan.parts, flat(x), flat(grad), sums, *blocks),
        Prepared(tiles_to_filter_gradient, plan.transforming, sums, flat(weight), taps, *bank),
    )
    return Calls(steps, tables.stop, plan.parts)


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
    calls = _prepare_convolution(*shapes, padding, backward, wanted, get_num_threads())
    return run_convolution(calls, x, weight, size, backward, wanted)


def run_convolution(
    calls: Calls, x: np.ndarray, weight: np.ndarray, size: Pair, backward: bool, wanted: bool
) -> tuple[np.ndarray, statistics.Sums]:
    """Convolve by prepared calls, with the sums for the statistics if they are wanted."""
    shape = weight.shape
    out = memory.empty((x.shape[0], *size, shape[1] if backward else shape[0]), np.float32)
    floats, sums = memory.workspace(calls.floats), statistics.NONE
    given: tuple[np.ndarray, ...] = ()
    if wanted:
        given = sums = statistics.sums_for(calls.parts, round_up(shape[0], LANES))
    if len(calls.steps) == 1:
        calls.steps[0].run(floats, x, weight, out, *given)
    else:
        transform, convolution = calls.steps
        transform.run(floats, weight)
        convolution.run(floats, x, out, *given)
    return out, sums


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    shapes = (x.shape, grad.shape, tuple(weight_shape))
    calls = _prepare_gradient(*shapes, padding, get_num_threads())
    return run_gradient(calls, x, grad, weight_shape)


def run_gradient(calls: Calls, x: np.ndarray, grad: np.ndarray, weight_shape: Shape) -> np.ndarray:
    """Make the gradient of the filters by prepared calls."""
    out, floats = memory.empty(weight_shape, np.float32), memory.workspace(calls.floats)
    if len(calls.steps) == 1:
        calls.steps[0].run(floats, x, grad, out)
    else:
        products, transform = calls.steps
        products.run(floats, x, grad)
        transform.run(floats, out)
    return out
