"""Runs the kernels of `winograd_lines`: what they cost, their plan, calls and workspaces.

Costs are in multiply-adds of vectors, as those of the other routes; the constants were found by
timing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    Work,
    round_up,
)
from tinysmooth.kernels.convolution.line_tiles import TAPS
from tinysmooth.kernels.convolution.transforms import FEW, GREY
from tinysmooth.kernels.convolution.winograd_lines import (
    HALF_OFF,
    MORE_TILES,
    PASSES,
    filter_gradient_lines,
    lines_to_filter_gradient,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.prepared import INT, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE

MOST_CHANNELS = 8
"""With twelve, `winograd_tiles` is as quick."""

CHUNK_FLOATS = 2**15
"""Floats of the gradient in a product: 128 KB, which stay in the L2 cache. With a quarter of that,
to fit L1 caches, the sums are read and written more often, and it took 1.02 to 1.1 of the time."""

BLOCK_FLOATS = 2**14
"""Floats of transformed lines that are kept: 64 KB, which stay near beside the gradient."""

VALUES = 12
"""What making the values at all points takes, for up to four channels."""

CALL = 90
"""What the sums of a product take on their way from and to memory, for each tile of them."""

TILE_OF_X, GREY_TILE_OF_X = 20, 5
"""What transforming the pixels of a tile of x takes: of one to four channels, and of one."""


class Cut(NamedTuple):
    """How the lines of images are cut."""

    tiles: int  # in a line
    block: int  # lines of the gradient whose lines of x are transformed at a time
    chunk: int  # lines in a product
    parts: int


class Plan(NamedTuple):
    """What the gradient of filters for given shapes needs."""

    parts: int
    workspace: int  # floats of each part
    tables: int  # entries for the tiles that each part copies
    whole_tiles: np.ndarray
    sums: Shape
    back: int  # floats of workspace to transform the sums back
    sizes: tuple[int, ...]  # as the kernel takes them


def _cut(batch: int, size: Pair, channels: int, padded: int, threads: int | None) -> Cut:
    rows, columns = size
    tiles = -(-columns // TILE)
    products = batch * rows * tiles * PATCH * TAPS * channels * padded
    parts = plan_parts(products / PRODUCTS_PER_NANOSECOND, limit=threads)
    share = -(-rows // -(-parts // batch))  # of an image that several threads share
    block = max(1, min(share, BLOCK_FLOATS // (PATCH * tiles * channels)))
    block = -(-rows // -(-rows // block))
    chunk = max(1, min(block, CHUNK_FLOATS // (tiles * TILE * padded)))
    return Cut(tiles, block, chunk, min(parts, batch * -(-rows // block)))


def plan_gradient(
    x_shape: Shape, weight_shape: Shape, size: Pair, padding: Pair, threads: int | None = None
) -> Plan:
    """Plan the gradient of filters for so many threads; None is for all."""
    batch, channels, filters = x_shape[0], x_shape[3], weight_shape[0]
    padded = round_up(filters, LANES)
    tiles, block, chunk, parts = _cut(batch, size, channels, padded, threads)
    lines = block + TAPS - 1
    u = PATCH * (lines * tiles * channels + GREY)
    pixels = lines * (tiles * TILE + TAPS - 1) * channels
    strip = (chunk + MORE_TILES) * TILE * padded
    return Plan(
        parts=parts,
        workspace=round_up(u + pixels + HALF_OFF + strip, LANES),
        tables=2 * (chunk + MORE_TILES),
        whole_tiles=_whole_tiles(chunk, size[1], filters, channels),
        sums=(parts, PATCH * TAPS * channels * padded),
        back=(channels * TAPS * TAPS + PATCH) * LANES,
        sizes=(*x_shape, *size, filters, *padding, block, chunk),
    )


def _whole_tiles(chunk: int, columns: int, filters: int, channels: int) -> np.ndarray:
    """Return the offsets of the whole tiles of some lines, in the gradient and then in u."""
    line, tile = np.indices((chunk, columns // TILE))
    pixels, tiles = line * columns + tile * TILE, line * -(-columns // TILE) + tile
    return np.concatenate([(pixels * filters).ravel(), (tiles * channels).ravel()]).astype(np.int64)


@remembered
def _prepare(x: Shape, grad: Shape, weight: Shape, padding: Pair, num_threads: int) -> Calls:
    plan = plan_gradient(x, weight, (grad[1], grad[2]), padding)
    sums = Piece(0, plan.sums)
    workspace = Piece(sums.stop, (plan.parts, plan.workspace))
    back = Piece(workspace.stop, (plan.back,))
    tables = Piece(back.stop, (plan.parts, plan.tables), INT)
    arrays = (flat(x), flat(grad), sums, workspace, tables, plan.whole_tiles)
    steps = (
        Prepared(filter_gradient_lines, plan.parts, *arrays, plan.sizes, 0, flat(grad)),
        Prepared(lines_to_filter_gradient, 1, sums, flat(weight), weight[:2], back),
    )
    return Calls(steps, tables.stop, plan.parts)


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, 3, 3) for a stride of 1."""
    shapes = (x.shape, grad.shape, tuple(weight_shape))
    calls = _prepare(*shapes, padding, get_num_threads())
    out = memory.empty(weight_shape, np.float32)
    floats, (products, back) = memory.workspace(calls.floats), calls.steps
    products.run(floats, x, grad, grad)
    back.run(floats, out)
    return out


def cost(work: Work) -> float:
    """Return the time this route takes, in multiply-adds of vectors; infinity where it cannot run.

    It makes nothing but the gradient of filters.
    """
    batch, size, channels, filters, kernel, stride, _ = work
    if not WIDE or channels > MOST_CHANNELS or kernel != (TAPS, TAPS) or stride != (1, 1):
        return math.inf
    padded = round_up(filters, LANES)
    if 0 in (*size, channels, padded):
        return math.inf
    cut = _cut(batch, size, channels, padded, None)
    rows, vectors = batch * size[0], padded // LANES
    tiles, widths = rows * cut.tiles, [min(FEW, channels - c) for c in range(0, channels, FEW)]
    calls = rows / cut.chunk * vectors * sum(PASSES[width] for width in widths)
    products = tiles * vectors * (PATCH * TAPS * channels + VALUES * len(widths))
    a_tile = GREY_TILE_OF_X if channels == 1 else TILE_OF_X * len(widths)
    transforms = tiles * (1 + (TAPS - 1) / cut.block) * a_tile
    return products + calls * CALL * (2 if size[1] % TILE else 1) + transforms
