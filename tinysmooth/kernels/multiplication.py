"""The product of two matrices: blocks of rows of a, times panels of b, by the microkernel.

The microkernel takes the numbers of a one by one, wherever its tables say that they are, and rows
of b as vectors, which should be neighbours::

                        columns of a share of b
                      +------+------+------+---+
    a block of   k    |      |      |      |   |     panels of 64 columns, the last one narrower
    the depth         |      |      |      |   |
                      +------+------+------+---+
          +-----+     +------+------+------+---+
    rows  |  a  |     |              out       |     tiles of 6 x 64, each from registers straight
          +-----+     +------------------------+     to its place; later blocks are added to it

So b is packed, a block of the depth at a time: turned in registers if it lies by columns, as in
``x @ weight.T``, and copied if it lies by rows. For a few rows of a that takes longer than it
saves; then b is read where it lies. A matrix a that lies by rows is read where it is; one by
columns is copied, since columns a power of two apart share few places in the L1 cache.

A bias is added, and what is negative is cut off, as soon as a row of a panel is done.

Threads share the result, by rows, by panels or by both: nobody writes where another does, so
nothing has to be added up afterwards, and tiles give a number the same bits whoever makes it.
Columns that fill no vector are made in a strip, and only those that are wanted leave it.

For a few rows times a matrix there is no tile: each number of b is used a few times, and what takes
time is to fetch it. They are made of `dot_products` with the columns of b or, if it lies by rows,
of its `scaled_rows`.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import copy_filled, count_up, fill_up, zero_rows
from tinysmooth.kernels.convolution.windows import DEPTH_BLOCK, store_lanes
from tinysmooth.kernels.exponential import sum_lanes
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.panels import PANEL, TILE_ROWS, panel_product, panel_width
from tinysmooth.kernels.transposition import transpose
from tinysmooth.kernels.vectors import (
    LANES,
    WIDE,
    fma,
    load,
    load_tail,
    maximum,
    splat,
    store,
    store_tail,
)
from tinysmooth.kernels.views import behind

BLOCK_FLOATS, MOST_ROWS, FEWEST_ROWS = 2**16, 1536, 96
"""Floats of a in a block of rows: 256 KB, which stay in the L2 cache while a panel after the other,
which stays in the L1 cache if it is short, meets them all; and limits for the rows."""

BLOCK_COLUMNS = 1024
"""Columns of b that are packed at a time: 3 MB for a block of the depth. Where one block has all
rows of a, a panel at a time is packed, and used while it is near."""

SHALLOW, FAR_RESULTS, RESULT_FLOATS = 96, 4 * PANEL, 3 * 2**15
"""Depth up to which, and columns from which on, a result takes as long to write as to make, where a
vector is one register. So while the panels behind the first multiply, they ask for that of the next
block, and blocks are so small that the results of two stay in the L2 cache. That took 0.96 of the
time on an Intel processor; with blocks as large as others nothing was gained."""

TILES_OF_ROWS = 48
"""Rows that both kinds of tiles divide, and vectors."""

PIECE = 1024
"""Columns of a row, and of those that are added to it: 4 KB of each, which pass through the L1
cache."""

SIDE_BY_SIDE = 4
"""Columns of b whose dot products are added up together."""

IN_PLACE, COPIED, TURNED = range(3)
"""How b is packed: not at all, from rows, from columns."""


@jit
def asks_for_results(p: int, q: int) -> bool:
    """Tell whether the panels behind the first ask for results of the next block of rows."""
    return WIDE and p <= SHALLOW and q >= FAR_RESULTS


def rows_of_block(m: int, p: int, q: int) -> int:
    """Return how many rows of a to take at a time: whole tiles, no more than there are."""
    most = RESULT_FLOATS // q if asks_for_results.function(p, q) else MOST_ROWS
    rows = max(FEWEST_ROWS, min(most, MOST_ROWS, BLOCK_FLOATS // min(p, DEPTH_BLOCK)))
    return -(-min(m, rows) // TILES_OF_ROWS) * TILES_OF_ROWS


@jit
def share_of_columns(part: int, parts: int, padded: int) -> tuple[int, int]:
    """Return first and last column of a share of the panels."""
    panels = (padded + PANEL - 1) // PANEL
    return panels * part // parts * PANEL, min(padded, panels * (part + 1) // parts * PANEL)


@jit
def multiply(
    part: int,
    parts: int,
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    sizes: tuple[int, int, int, int, int, int, int, int, int],
) -> None:
    """Write one part of ``out = a @ b``; `across` parts share the panels, the others the rows.

    A bias that has numbers is added to each row and, if `relu`, what is negative becomes zero.
    """
    m, p, q, by_columns, packing, across, relu, block, wide = sizes
    down, padded = parts // across, (q + LANES - 1) // LANES * LANES
    top, bottom = m * (part // across) // down, m * (part // across + 1) // down
    begin, stop = share_of_columns(part % across, across, padded)
    strip, rows = workspace[part], tables[part]
    columns_of_a = behind(strip, block * PANEL)
    packed = behind(columns_of_a, by_columns * block * min(p, DEPTH_BLOCK))
    outs, columns = behind(rows, block), behind(rows, 2 * block)
    a_row, a_column = (1, block) if by_columns else (p, 1)
    count_up(columns, 0, a_column, min(p, DEPTH_BLOCK))
    for left in range(begin, stop, wide):
        right = min(left + wide, stop)
        for k in range(0, p, DEPTH_BLOCK):
            depth = min(DEPTH_BLOCK, p - k)
            if packing == TURNED:
                turn_panels(b, p, q, left, right, k, depth, packed)
            elif packing == COPIED:
                copy_panels(b, q, left, right, k, depth, packed)
            elif right > q:
                copy_panels(b, q, (right - 1) // PANEL * PANEL, right, k, depth, packed)
            for row in range(top, bottom, block):
                count = min(block, bottom - row)
                count_up(rows, 0, a_row, count)
                fill_up(rows, count)
                count_up(outs, 0, q, count)
                fill_up(outs, count)
                source, start = a, row * p + k
                if by_columns:
                    for i in range(depth):
                        copy_filled(a, (k + i) * m + row, columns_of_a, i * block, count)
                    source, start = columns_of_a, 0
                following = start + rows[min(TILE_ROWS, count - 1)]
                asking, where, further = source, following, TILE_ROWS * a_row
                first = left
                while first < right:
                    width = panel_width(first, padded)
                    panel, at, step = packed, (first - left) * depth, width
                    to, place, gap = out, row * q + first, 0
                    whole = first + width <= q
                    if packing == IN_PLACE:
                        panel, at, step = (b, k * q + first, q) if whole else (packed, 0, width)
                    if not whole:
                        to, place, gap = strip, 0, width
                        if k:
                            load_lanes(strip, width, out, outs, count, row * q + first, q - first)
                    if first > left and asks_for_results(p, q):  # a line in two steps of the depth
                        asked = ((first - left) // PANEL - 1) * depth * LANES // 2
                        asking, where, further = out, (row + block) * q + asked, TILE_ROWS * q
                    panel_product(
                        source, start, rows, 0, count, columns, depth, panel, at, step, width,
                        to, place, outs, gap, k, asking, where, further,
                    )  # fmt: skip
                    if k + depth == p and (relu or bias.size):
                        for i in range(count):
                            there = i * width if gap else place + outs[i]
                            finish_row(to, there, width, bias, first, q - first, relu)
                    if not whole:
                        store_lanes(strip, width, out, outs, count, row * q + first, q - first)
                    first += width


@jit
def finish_row(
    out: np.ndarray, at: int, width: int, bias: np.ndarray, first: int, used: int, relu: int
) -> None:
    """Add the bias from column `first` on to whole vectors of a row, and cut off what is negative.

    Vectors may go beyond the bias, of which `used` numbers are left.
    """
    for i in range(0, width, LANES):
        value = load(out, at + i)
        if bias.size:
            value = value + load_tail(bias, first + i, min(LANES, used - i))
        if relu:
            value = maximum(splat(0.0), value) + splat(0.0)  # which makes +0 of -0, as ReLU does
        store(out, at + i, value)


@jit
def load_lanes(
    c: np.ndarray, width: int, out: np.ndarray, outs: np.ndarray, count: int, first: int, used: int
) -> None:
    """Undo `store_lanes`: copy what it has written back to rows of c."""
    for i in range(count):
        copy_filled(out, outs[i] + first, c, i * width, used)


@jit
def copy_panels(
    b: np.ndarray, q: int, left: int, right: int, k: int, depth: int, packed: np.ndarray
) -> None:
    """Write panels of columns left to right, of a matrix that lies by rows."""
    for first in range(left, right, PANEL):
        width = panel_width(first, right)
        to, used = (first - left) * depth, min(width, q - first)
        for i in range(depth):
            copy_filled(b, (k + i) * q + first, packed, to + i * width, used)


@jit
def turn_panels(
    b: np.ndarray, p: int, q: int, left: int, right: int, k: int, depth: int, packed: np.ndarray
) -> None:
    """Write panels of columns left to right, of a matrix that lies by columns."""
    for column in range(left, right, LANES):
        first = column // PANEL * PANEL
        to, width = (first - left) * depth + column - first, panel_width(first, right)
        transpose(b, column * p + k, p, min(LANES, q - column), depth, packed, to, width, LANES)


@jit
def dot_products(
    part: int, parts: int, a: np.ndarray, b: np.ndarray, out: np.ndarray, sizes: tuple[int, int]
) -> None:
    """Write a share of the columns of ``out = a @ b``, of a by rows and b by columns.

    Each number is summed up in sixteen lanes, four columns of b side by side; the last column may
    be taken several times.
    """
    p, q = sizes
    whole = p // LANES * LANES
    for column in range(q * part // parts, q * (part + 1) // parts, SIDE_BY_SIDE):
        last = q * (part + 1) // parts - 1
        first, second = column * p, min(column + 1, last) * p
        third, fourth = min(column + 2, last) * p, min(column + 3, last) * p
        for row in range(a.size // p):
            one, two, three, four = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            for k in range(0, whole, LANES):
                values = load(a, row * p + k)
                one = fma(load(b, first + k), values, one)
                two = fma(load(b, second + k), values, two)
                three = fma(load(b, third + k), values, three)
                four = fma(load(b, fourth + k), values, four)
            if whole < p:
                some = p - whole
                values = load_tail(a, row * p + whole, some)
                one = fma(load_tail(b, first + whole, some), values, one)
                two = fma(load_tail(b, second + whole, some), values, two)
                three = fma(load_tail(b, third + whole, some), values, three)
                four = fma(load_tail(b, fourth + whole, some), values, four)
            at = row * q
            out[at + min(column + 3, last)] = sum_lanes(four)
            out[at + min(column + 2, last)] = sum_lanes(three)
            out[at + min(column + 1, last)] = sum_lanes(two)
            out[at + column] = sum_lanes(one)


@jit
def scaled_rows(
    part: int, parts: int, a: np.ndarray, b: np.ndarray, out: np.ndarray, sizes: tuple[int, int]
) -> None:
    """Write a share of the columns of ``out = a @ b``, of both by rows.

    Each row of out is the sum of the rows of b times a number each, `PIECE` columns at a time.
    """
    p, q = sizes
    vectors = (q + LANES - 1) // LANES
    begin, stop = vectors * part // parts * LANES, vectors * (part + 1) // parts * LANES
    for left in range(begin, stop, PIECE):
        used = min(PIECE, stop - left, q - left)
        whole = used // LANES * LANES
        for row in range(a.size // p):
            to = row * q + left
            zero_rows(out, to, 0, 1, used)
            for k in range(p):
                at, factor = k * q + left, splat(a[row * p + k])
                for i in range(0, whole, LANES):
                    store(out, to + i, fma(load(b, at + i), factor, load(out, to + i)))
                if whole < used:
                    rest = used - whole
                    before = load_tail(out, to + whole, rest)
                    total = fma(load_tail(b, at + whole, rest), factor, before)
                    store_tail(out, to + whole, total, rest)
