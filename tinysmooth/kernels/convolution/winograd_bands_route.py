"""Runs the kernels of `winograd_bands`: what they cost, their plan, calls and workspaces.

Costs are in multiply-adds of vectors, as those of the other routes; the constants were found by
timing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution.band_inputs import GROUP, TAPS, lanes_of_tile, place_in_u
from tinysmooth.kernels.convolution.band_products import PASSES
from tinysmooth.kernels.convolution.band_tiles import LINES, POINTS
from tinysmooth.kernels.convolution.band_transforms import FEW
from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Shape,
    Work,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_bands import (
    HALF_OFF,
    MORE_TILES,
    PIXELS,
    bands_to_filter_gradient,
    filter_gradient_bands,
)
from tinysmooth.kernels.convolution.winograd_patches import TILE
from tinysmooth.kernels.prepared import INT, PAGE, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, WIDE

MOST_CHANNELS = 8
"""With twelve, `winograd_tiles` is quicker."""

CHUNK_TILES = 16
"""Tiles of a line or of several that make a product. What x is transformed to, 6 KB, and the pixels
of sixteen or 32 filters stay in L1 caches while all points go over them; with twice as many the
gradient of a first layer took 1.1 of the time on an Intel processor; with half as many, gradients
of lines of 32 pixels took 1.0 to 1.2."""

VALUES = 56
"""What reading a tile for all points and making its values takes, for up to four channels."""

CALL = 110
"""What the sums of a product take on their way from and to memory, for each tile of them."""

CHUNK = 460
"""What a product takes besides: where its tiles lie, and the edges of the lines of x."""

COPIED, COPIED_PIXELS = 170, 75
"""What copying a tile takes that cannot be read where it lies, and its values of 16 filters."""

TILE_OF_X = 13
"""What transforming the pixels of a tile of x takes, for up to four channels."""


class Cut(NamedTuple):
    """How images are cut."""

    tiles: int  # in a line
    groups: int  # of tiles in a line
    chunk: int  # bands of the gradient in a product, whose lines of x are transformed at a time
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
    bands, tiles = -(-rows // LINES), -(-columns // TILE)
    groups = -(-tiles // (LANES // lanes_of_tile.function(channels)))
    products = batch * bands * tiles * POINTS * channels * padded
    parts = plan_parts(products / PRODUCTS_PER_NANOSECOND, limit=threads)
    share = -(-bands // -(-parts // batch))  # of an image that several threads share
    chunk = max(1, min(share, CHUNK_TILES // tiles))
    chunk = -(-bands // -(-bands // chunk))
    return Cut(tiles, groups, chunk, min(parts, batch * -(-bands // chunk)))


def plan_gradient(
    x_shape: Shape, weight_shape: Shape, size: Pair, padding: Pair, threads: int | None = None
) -> Plan:
    """Plan the gradient of filters for so many threads; None is for all."""
    batch, channels, filters = x_shape[0], x_shape[3], weight_shape[0]
    padded = round_up(filters, LANES)
    tiles, groups, chunk, parts = _cut(batch, size, channels, padded, threads)
    lines, whole = LINES * chunk + TAPS - 1, size[1] // TILE
    lanes = lanes_of_tile.function(channels)
    u = -(-channels // FEW) * chunk * groups * GROUP
    planes = -(-channels // FEW) * lines * TILE * (groups * LANES + lanes)
    copied = chunk * (tiles - whole) + (whole if size[0] % LINES else 0) + MORE_TILES
    strip = copied * PIXELS * padded
    return Plan(
        parts=parts,
        workspace=round_up(u + planes + HALF_OFF + strip, LANES) + PAGE,
        tables=2 * copied,
        whole_tiles=_whole_tiles(chunk, size[1], filters, channels, groups),
        sums=(parts, POINTS * channels * padded + PAGE),
        back=(channels * TAPS * TAPS + 2 * POINTS) * LANES,
        sizes=(*x_shape, *size, filters, *padding, chunk, groups, copied),
    )


def _whole_tiles(chunk: int, columns: int, filters: int, channels: int, groups: int) -> np.ndarray:
    """Return the offsets of the whole tiles of some bands, in the gradient and then in u."""
    band, tile = np.indices((chunk, columns // TILE))
    pixels = (band * LINES * columns + tile * TILE) * filters
    places = place_in_u.function(band, tile, groups, channels)
    return np.concatenate([pixels.ravel(), places.ravel()]).astype(np.int64)


@remembered
def _prepare(x: Shape, grad: Shape, weight: Shape, padding: Pair, num_threads: int) -> Calls:
    plan = plan_gradient(x, weight, (grad[1], grad[2]), padding)
    sums = Piece(0, plan.sums)
    workspace = Piece(sums.stop, (plan.parts, plan.workspace))
    back = Piece(workspace.stop, (plan.back,))
    tables = Piece(back.stop, (plan.parts, plan.tables), INT)
    arrays = (flat(x), flat(grad), sums, workspace, tables, plan.whole_tiles)
    steps = (
        Prepared(filter_gradient_bands, plan.parts, *arrays, plan.sizes, 0, flat(grad)),
        Prepared(bands_to_filter_gradient, 1, sums, flat(weight), weight[:2], back),
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
    cut, (rows, columns) = _cut(batch, size, channels, padded, None), size
    bands, vectors = batch * -(-rows // LINES), padded // LANES
    tiles, widths = bands * cut.tiles, [min(FEW, channels - c) for c in range(0, channels, FEW)]
    chunks = batch * -(-rows // (LINES * cut.chunk))
    calls = chunks * vectors * sum(PASSES[width] for width in widths)
    copied = batch * ((rows + 1) // LINES * (cut.tiles - columns // TILE))
    copied += batch * (rows % LINES) * (columns // TILE)
    return (
        tiles * vectors * (POINTS * channels + VALUES * len(widths))
        + calls * CALL * (2 if copied else 1)
        + chunks * CHUNK
        + copied * (COPIED + COPIED_PIXELS * vectors)
        + tiles * TILE_OF_X * len(widths)
    )
