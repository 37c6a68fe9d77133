"""What the Winograd route costs, and in which order its loops run best.

Costs are in multiply-adds of vectors, as those of the other routes; the constants were found by
timing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tinysmooth.kernels.convolution.geometry import (
    PRODUCTS_PER_NANOSECOND,
    Pair,
    Work,
    round_up,
)
from tinysmooth.kernels.convolution.winograd_patches import POSITIONS, SHIFT, TILE
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.panels import columns_cost
from tinysmooth.kernels.thread_count import plan_parts
from tinysmooth.kernels.vectors import HALVED, LANES, WIDE

FEWEST_CHANNELS = 4
"""Below, the transforms cost more than the products they save."""

INPUT_TILE = 550
"""What transforming sixteen channels of an input tile takes, in multiply-adds of vectors."""

OUTPUT_TILE = 400
"""The same for sixteen filters of an output tile."""

FEW_INPUT_TILE, FEW_OUTPUT_TILE = (700, 350) if HALVED else (1000, 500)
"""The same where all of V is made at once: it leaves the L2 cache, and comes back from there. Zen 4
needs less, in multiply-adds: 0.5 of that on a quiet machine, 0.9 on a busy one."""

FILTERS_AS_TILES = 85 if WIDE else 40
"""Writing the transformed filters, and reading them back, takes as long as the products of so many
tiles: of fewer where the products themselves take longer."""

USED_FILTERS_AS_TILES = 10
"""The same where they are used at once and not kept."""

SUMS_AS_TILES = 85
"""What FILTERS_AS_TILES is for the sums of the gradient of filters, of which each thread has its
own; the same number was measured with narrow vectors."""

SHIFTED, NEAR_ROW = (0.4 if HALVED else 1.0), 640
"""What transforming a tile of a shifted image takes, compared with the first, whose pixels may come
from memory, and up to how many floats of a tile, at one position, V is near enough for that; both
measured on Zen 4."""

MOST_SHIFTS, MANY_SHIFTS = 4, 1.06
"""The products of more than four shifted images take 1.06 times as long as those of fewer: neither
their filters nor their pixels stay in the L2 cache."""

FEW_PRODUCTS = 1.0 if WIDE else 1.25
"""How many times as long everything but the transforms of tiles takes where all of V is made at
once: narrow panels read it many times, and from further away than the V of a block. The gradient of
the filters did not take longer for it."""

NEAR_FLOATS, FAR_PRODUCTS = 2**15, 1.3
"""The same once more where a slice of V has more floats than that. Each thread has more than 4.7 MB
of V then, and whether the last cache still holds them depends on who else uses it: 256 tiles of 256
channels took 0.9 times as long as in blocks on a quiet machine, 1.5 times on a busy one."""

FEW_FLOATS = 2**16
"""Floats of a slice of V up to which V is made at once; all 36 slices are less than 10 MB then."""

ALIASED = 128
"""Channels from which on the tiles of V are put a vector further apart for the gradient of filters.
It reads V down the tiles: 512 bytes or a multiple of that apart, they would compete for an eighth
of the L1 cache or less."""


class Depth(NamedTuple):
    """How the channels of the shifted images lie behind one another in V."""

    shifts_down: int
    shifts_across: int
    channels: int
    step: int  # floats from one shifted image to the next; see ALIASED
    row: int  # floats from one tile to the next

    @property
    def shifts(self) -> int:
        """Number of shifted images."""
        return self.shifts_down * self.shifts_across

    @property
    def used(self) -> int:
        """Floats of a row that the product runs over; see also `used_in_last_row`."""
        return self.shifts * self.channels


def used_in_last_row(depth: Depth, rows: int) -> int:
    """Return the floats of a row that the products of the last six positions run over.

    The lowest shifted images, which are the last of a row, are left out where the lowest 3x3 part
    of a filter of so many rows has no third row: U is zero there. With one row of images nothing is
    left out, because a product needs a step.
    """
    if depth.shifts_down == 1 or rows % SHIFT == 0:
        return depth.used
    return depth.used - depth.shifts_across * depth.channels


def depth_of(channels: int, kernel: Pair, gradient: bool = False) -> Depth:
    """Lay out the channels of all shifted images that filters of this size need."""
    down, across = (-(-side // SHIFT) for side in kernel)
    step = round_up(channels, LANES)
    gap = LANES if gradient and step % ALIASED == 0 else 0
    return Depth(down, across, channels, step + gap, down * across * (step + gap))


def parts_for(tiles: int, depth: Depth, filters: int) -> int:
    """Return the number of parts that so many tiles are worth."""
    products = tiles * POSITIONS * depth.used * round_up(filters, LANES)
    return plan_parts(products / PRODUCTS_PER_NANOSECOND)


def _costs(tiles: int, depth: Depth, filters: int, gradient: bool) -> tuple[float, float]:
    """Return the times of the two orders of loops, in multiply-adds of vectors.

    The first is that of `winograd_tiles`, the second that of `winograd_few`: there each thread has
    whole vectors of filters, the busiest one more than others, and makes all of V for itself.
    """
    product = POSITIONS * depth.used * (MANY_SHIFTS if depth.shifts > MOST_SHIFTS else 1)
    images = 1 + (depth.shifts - 1) * (SHIFTED if depth.row <= NEAR_ROW else 1.0)
    inputs, outputs = images * -(-depth.channels // LANES), -(-filters // LANES)
    transforms = tiles * (INPUT_TILE * inputs + OUTPUT_TILE * outputs)
    kept = SUMS_AS_TILES if gradient else FILTERS_AS_TILES
    many = product * (columns_cost(outputs) * tiles + outputs * kept) + transforms
    if tiles * depth.row > FEW_FLOATS:
        return many, math.inf
    parts = parts_for(tiles, depth, filters)
    most = -(-outputs // min(parts, outputs))
    transforms = tiles * (FEW_INPUT_TILE * inputs + FEW_OUTPUT_TILE * most)
    filled = columns_cost(most) * round_up(tiles, ROWS_STEP) + most * USED_FILTERS_AS_TILES
    if not gradient:
        filled *= FEW_PRODUCTS * (FAR_PRODUCTS if tiles * depth.row > NEAR_FLOATS else 1)
    return many, parts * (product * filled + transforms)


def are_few(tiles: int, depth: Depth, filters: int, gradient: bool) -> bool:
    """Tell whether the tiles are so few that filters are best transformed where they are used."""
    many, few = _costs(tiles, depth, filters, gradient)
    return few < many


def cost(work: Work, gradient: bool) -> float:
    """Return the time this route takes, in multiply-adds of vectors; infinity where it cannot run.

    `gradient` is for that of the filters.
    """
    batch, size, channels, filters, kernel, stride, _ = work
    if stride != (1, 1) or min(channels, filters) < FEWEST_CHANNELS:
        return math.inf
    tiles = batch * -(-size[0] // TILE) * -(-size[1] // TILE)
    return min(_costs(tiles, depth_of(channels, kernel, gradient), filters, gradient))
