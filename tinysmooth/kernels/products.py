"""Matrix products without BLAS, which would fight the kernels over the CPUs.

NumPy's product is as fast as any. But it is most often OpenBLAS that computes it, whose threads
watch for the next product for a tenth of a second after each, on the CPUs that a network's other
kernels want by then: LeNet's training step, whose linear layers do a seventh of its
multiplications, takes 1.4 to 1.9 times as long. OpenBLAS takes a second thread only where a product
is large. So small products of two matrices are left to NumPy (and those of stacks), and large ones
are made by `multiplication`, on the microkernel of the convolutions. It reads a in either order and
b by rows; b by columns it has to turn. Of the three products of a linear layer, that is one::

                         a            b
    x @ weight.T         by rows      by columns     b is turned
    grad @ weight        by rows      by rows
    grad.T @ x           by columns   by rows

To turn a large matrix for the product with a few rows takes longer than the product; then it is
quicker to compute ``(b.T @ a.T).T``, for which only a and the result are turned, or dot products.
The way that costs least is taken.
"""

from __future__ import annotations

import enum
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import bias as biases
from tinysmooth.kernels import layout, memory
from tinysmooth.kernels.convolution.geometry import round_up
from tinysmooth.kernels.convolution.windows import DEPTH_BLOCK
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.multiplication import (
    BLOCK_COLUMNS,
    COPIED,
    IN_PLACE,
    SIDE_BY_SIDE,
    TURNED,
    dot_products,
    multiply,
    rows_of_block,
    scaled_rows,
    share_of_columns,
)
from tinysmooth.kernels.panels import PANEL, columns_cost
from tinysmooth.kernels.prepared import INT, NO_FLOATS, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.reference import products as reference
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES

__all__ = ["linear", "matmul"]

Array = NDArray[Any]

SMALL = 2**18
"""Multiplications up to which OpenBLAS makes a product of matrices in one thread: 65,536 times its
``GEMM_MULTITHREAD_THRESHOLD`` of 4. NumPy takes 1 to 8 microseconds for so few, a product here 12
or more."""

SMALL_OF_VECTOR = 9215
"""The same for the product with a vector: less than 2304 times 4."""

SMALL_OUTER = 2**14
"""The same for a product with an inner length of 1, which NumPy makes without BLAS."""

ENOUGH_ROWS, ENOUGH_OF_FAR_ROWS, FAR = 32, 16, 256
"""Of a, for which rows of b are worth copying; fewer are enough where the rows of b are a multiple
of so many floats apart: they share few places in the L1 cache."""

MOST_DOTS, MOST_SCALED = 4, 1
"""Rows of a up to which `dot_products` and `scaled_rows` may be quicker than tiles."""

PRODUCTS = 0.017
"""Nanoseconds of one core for one product of two numbers."""

PACKING = {IN_PLACE: 0.05, COPIED: 0.15, TURNED: 0.4}
"""Nanoseconds of one core for packing one number of b, or for reading it where it lies."""

READ = 0.05
"""Nanoseconds of one core for each number of its rows of a, which have to come from somewhere."""

LAST_COLUMNS = 3.0
"""Nanoseconds of one core for each row whose last columns fill no vector."""

FETCHED, DOTTED, DOT_END = 0.03, 0.03, 3.0
"""Nanoseconds of one core for fetching one number of b, for its product in one row, and for adding
up the lanes of a dot product."""

TO_TURN = 1.5
"""Nanoseconds for copying one number of the result in the other order, in one thread."""


class Way(enum.Enum):
    """Which kernel of `multiplication` makes a product."""

    TILES = enum.auto()
    DOTS = enum.auto()
    SCALED = enum.auto()


class Choice(NamedTuple):
    """How to multiply two matrices; `swapped` stands for ``(b.T @ a.T).T``."""

    way: Way
    swapped: bool


class Cut(NamedTuple):
    """How threads share a product by tiles, and what it takes."""

    cost: float  # nanoseconds, roughly
    down: int  # parts of the rows
    across: int  # parts of the panels of columns
    packing: int
    rows: int  # of the largest share
    columns: int


def matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, without BLAS where that would take several threads; see the reference."""
    (m, p), q = a.shape, b.shape[1]
    if not a.dtype == b.dtype == np.float32:
        return reference.matmul(a, b)
    if _is_small(m, p, q):
        return _small_product(a, b)
    return _product(a, b, None, False)


def linear(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    """Return ``x @ weight.T + bias``, then ReLU if asked for; see the reference."""
    (m, p), q = x.shape, len(weight)
    given = (x, weight) if bias is None else (x, weight, bias)
    if any(array.dtype != np.float32 for array in given):
        return reference.linear(x, weight, bias, relu)
    if _is_small(m, p, q):
        out = _small_product(x, weight.T)
        if bias is not None:
            out += bias
        return np.maximum(out, 0, out=out) if relu else out
    return _product(x, weight.T, bias, relu)


def _is_small(m: int, p: int, q: int) -> bool:
    """Tell whether NumPy makes a product in one thread, and quickly."""
    if p == 1:
        return m * q <= SMALL_OUTER
    return m * p * q <= (SMALL_OF_VECTOR if min(m, q) == 1 else SMALL)


def _small_product(a: Array, b: Array) -> Array:
    """Let NumPy make a product. That of short rows may be large, so its memory is of the pool."""
    out = memory.empty((a.shape[0], b.shape[1]), np.float32)
    return np.multiply(a, b, out=out) if a.shape[1] == 1 else np.matmul(a, b, out=out)


@remembered
def choose(m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, threads: int) -> Choice:
    """Return the quickest way to multiply (m, p) by (p, q).

    Parameters
    ----------
    m, p, q : int
        Rows of a, its columns, columns of b.
    a_by_rows, b_by_rows : bool
        How they lie in memory. A vector lies both ways; as a it is by rows, as b by columns.
    threads : int

    Returns
    -------
    Choice

    Examples
    --------
    >>> choose(512, 256, 128, True, False, 2)  # x @ weight.T, from 256 features to 128
    Choice(way=<Way.TILES: 1>, swapped=False)
    >>> choose(8, 4096, 512, True, False, 2)  # eight rows only: the weights are not turned
    Choice(way=<Way.TILES: 1>, swapped=True)
    >>> choose(1, 4096, 512, True, False, 2)
    Choice(way=<Way.DOTS: 2>, swapped=False)
    """

    def cost(choice: Choice) -> float:
        if choice.swapped:
            turning = TO_TURN * m * q if min(m, q) > 1 else 0.0
            return turning + _cost(choice.way, q, p, m, not b_by_rows, not a_by_rows)
        return _cost(choice.way, m, p, q, a_by_rows, b_by_rows)

    return min(itertools.starmap(Choice, itertools.product(Way, (False, True))), key=cost)


def _cost(way: Way, m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool) -> float:
    """Return the nanoseconds that a way takes, roughly; infinity where it cannot run."""
    if way is Way.TILES:
        return cut_product(m, p, q, b_by_rows).cost
    if not a_by_rows or b_by_rows != (way is Way.SCALED):
        return math.inf
    if m > (MOST_SCALED if way is Way.SCALED else MOST_DOTS):
        return math.inf
    return _work_of_few_rows(m, p, q, way) / _parts_of_few_rows(m, p, q, way)


def _work_of_few_rows(m: int, p: int, q: int, way: Way) -> float:
    columns = round_up(q, SIDE_BY_SIDE) if way is Way.DOTS else q
    return columns * (p * (FETCHED + DOTTED * m) + DOT_END * m * (way is Way.DOTS))


def _parts_of_few_rows(m: int, p: int, q: int, way: Way) -> int:
    return plan_parts(_work_of_few_rows(m, p, q, way), limit=-(-q // LANES))


def cut_product(m: int, p: int, q: int, b_by_rows: bool) -> Cut:
    """Find how threads share a product by tiles best."""
    padded = round_up(q, LANES)
    panels = -(-padded // PANEL)
    threads = plan_parts(PRODUCTS * m * p * padded)
    enough = ENOUGH_OF_FAR_ROWS if q % FAR == 0 else ENOUGH_ROWS

    def cut(across: int) -> Cut:
        down = min(threads // across, -(-m // ROWS_STEP))
        shares = [share_of_columns(i, across, padded) for i in range(across)]
        columns, rows = max(stop - begin for begin, stop in shares), -(-m // down)
        packing = TURNED if not b_by_rows else COPIED if rows >= enough else IN_PLACE
        products = PRODUCTS * round_up(rows, ROWS_STEP) * LANES * columns_cost(columns // LANES)
        cost = p * (products + PACKING[packing] * columns + READ * rows)
        cost += LAST_COLUMNS * rows * (q < padded)
        return Cut(cost, down, across, packing, rows, columns)

    return min(map(cut, range(1, min(threads, panels) + 1)))


@remembered
def _prepare_few_rows(m: int, p: int, q: int, way: Way, threads: int) -> Prepared:
    arrays = (flat((m, p)), flat((p, q)), flat((m, q)))
    kernel = scaled_rows if way is Way.SCALED else dot_products
    return Prepared(kernel, _parts_of_few_rows(m, p, q, way), *arrays, (p, q))


@remembered
def _prepare_tiles(
    m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, end: tuple[int, int], threads: int
) -> Calls:
    cut, depth, (biases, relu) = cut_product(m, p, q, b_by_rows), min(p, DEPTH_BLOCK), end
    parts, by_columns, block = cut.down * cut.across, not a_by_rows, rows_of_block(cut.rows, p, q)
    wide = PANEL if a_by_rows and cut.rows <= block else BLOCK_COLUMNS
    packed = depth * (PANEL if cut.packing == IN_PLACE else min(wide, cut.columns))
    workspace = Piece(0, (parts, block * (PANEL + by_columns * depth) + packed))
    tables = Piece(workspace.stop, (parts, 2 * block + depth), INT)
    sizes = (m, p, q, int(by_columns), cut.packing, cut.across, relu, block, wide)
    arrays = (flat((m, p)), flat((p, q)), flat((biases,)), flat((m, q)), workspace, tables)
    return Calls((Prepared(multiply, parts, *arrays, sizes),), tables.stop, parts)


def _product(a: Array, b: Array, bias: Array | None, relu: bool) -> Array:
    """Return ``a @ b + bias``, by rows, then ReLU if asked for; gaps are copied away first."""
    a, b = (each if each.T.flags.c_contiguous else layout.contiguous(each) for each in (a, b))
    (m, p), q = a.shape, b.shape[1]
    by_rows = a.flags.c_contiguous, not b.T.flags.c_contiguous
    way, swapped = choose(m, p, q, *by_rows, get_num_threads())
    if way is Way.TILES and not swapped:
        return _tiles(a, b, bias, relu)
    if way is Way.TILES:
        product = _tiles(b.T, a.T)
    else:
        product = _few_rows(b.T, a.T, way) if swapped else _few_rows(a, b, way)
    product = layout.contiguous(product.T) if swapped else product
    if bias is not None:
        biases.add_bias(product, bias)
    return np.maximum(product, 0, out=product) if relu else product


def _few_rows(a: Array, b: Array, way: Way) -> Array:
    """Return ``a @ b``, of a by rows, and of b by rows or by columns as the way has it."""
    (m, p), q = a.shape, b.shape[1]
    out = memory.empty((m, q), np.float32)
    call = _prepare_few_rows(m, p, q, way, get_num_threads())
    call.run(NO_FLOATS, a, b if way is Way.SCALED else b.T, out)
    return out


def _tiles(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``a @ b + bias``, of matrices without gaps, then ReLU if asked for."""
    (m, p), q = a.shape, b.shape[1]
    by_rows = a.flags.c_contiguous, not b.T.flags.c_contiguous
    out, added = memory.empty((m, q), np.float32), NO_FLOATS if bias is None else bias
    end = added.size, int(relu)
    calls = _prepare_tiles(m, p, q, *by_rows, end, get_num_threads())
    a, b = (each if rows else each.T for each, rows in zip((a, b), by_rows, strict=True))
    calls.steps[0].run(memory.workspace(calls.floats), a, b, added, out)
    return out
