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
quicker to compute ``(b.T @ a.T).T``, for which only a and the result are turned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import layout, memory
from tinysmooth.kernels.convolution.geometry import round_up
from tinysmooth.kernels.convolution.windows import DEPTH_BLOCK
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.multiplication import (
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    COPIED,
    IN_PLACE,
    TURNED,
    dot_products,
    multiply,
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

MOST_DOTS, MOST_SCALED = 4, 1
"""Rows of a up to which `dot_products` and `scaled_rows` are quicker than tiles."""

ENOUGH_ROWS = 32
"""Of a, for which rows of b are worth copying."""

PRODUCTS = 0.017
"""Nanoseconds of one core for one product of two numbers."""

PACKING = {IN_PLACE: 0.0, COPIED: 0.15, TURNED: 0.4}
"""Nanoseconds of one core for packing one number of b."""

FETCHED = 0.05
"""Nanoseconds of one core for fetching one number of b that is used once."""

TO_TURN = 1.5
"""Nanoseconds for copying one number of the result in the other order, in one thread."""


class Cut(NamedTuple):
    """How threads share a product, and what it takes."""

    cost: float  # nanoseconds, roughly
    down: int  # parts of the rows
    across: int  # parts of the panels of columns
    packing: int
    packed: int  # columns at a time, at most


def matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, without BLAS where that would take several threads; see the reference."""
    (m, p), q = a.shape, b.shape[1]
    if not a.dtype == b.dtype == np.float32 or _is_small(m, p, q):
        return reference.matmul(a, b)
    by_rows = a.flags.c_contiguous, b.flags.c_contiguous
    if is_swapped(m, p, q, *by_rows, get_num_threads()):
        return layout.contiguous(_multiply(b.T, a.T).T)
    return _multiply(a, b)


def linear(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    """Return ``x @ weight.T + bias``, then ReLU if asked for; see the reference."""
    (m, p), q = x.shape, len(weight)
    given = (x, weight) if bias is None else (x, weight, bias)
    if any(array.dtype != np.float32 for array in given) or _is_small(m, p, q):
        return reference.linear(x, weight, bias, relu)
    by_rows = x.flags.c_contiguous, weight.T.flags.c_contiguous
    plain = bias is None and not relu
    if plain or _are_few_rows(m, *by_rows) or is_swapped(m, p, q, *by_rows, get_num_threads()):
        return reference.finish(matmul(x, weight.T), bias, relu)
    return _multiply(x, weight.T, bias, relu)


def _is_small(m: int, p: int, q: int) -> bool:
    """Tell whether NumPy makes a product in one thread."""
    return p == 1 or m * p * q <= (SMALL_OF_VECTOR if min(m, q) == 1 else SMALL)


@remembered
def is_swapped(m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, threads: int) -> bool:
    """Tell whether ``(b.T @ a.T).T`` is quicker than ``a @ b``.

    Parameters
    ----------
    m, p, q : int
        Rows of a, its columns, columns of b.
    a_by_rows, b_by_rows : bool
        How they lie in memory.
    threads : int

    Returns
    -------
    bool

    Examples
    --------
    >>> is_swapped(512, 256, 128, True, False, 2)  # x @ weight.T, from 256 features to 128
    False
    >>> is_swapped(8, 4096, 512, True, False, 2)  # eight rows only: the weights are not turned
    True
    """
    few = _are_few_rows(m, a_by_rows, b_by_rows)
    if few or _are_few_rows(q, not b_by_rows, not a_by_rows):
        return not few
    swapped = cut_product(q, p, m, not a_by_rows).cost + TO_TURN * m * q
    return swapped < cut_product(m, p, q, b_by_rows).cost


def _are_few_rows(m: int, a_by_rows: bool, b_by_rows: bool) -> bool:
    """Tell whether a product is made of dot products, or of scaled rows."""
    return a_by_rows and m <= (MOST_SCALED if b_by_rows else MOST_DOTS)


def cut_product(m: int, p: int, q: int, b_by_rows: bool) -> Cut:
    """Find how threads share a product best."""
    padded = round_up(q, LANES)
    panels = -(-padded // PANEL)
    threads = plan_parts(PRODUCTS * m * p * padded)

    def cut(across: int) -> Cut:
        down = min(threads // across, -(-m // ROWS_STEP))
        shares = [share_of_columns(i, across, padded) for i in range(across)]
        columns, rows = max(stop - begin for begin, stop in shares), -(-m // down)
        packing = TURNED if not b_by_rows else COPIED if rows >= ENOUGH_ROWS else IN_PLACE
        products = PRODUCTS * round_up(rows, ROWS_STEP) * LANES * columns_cost(columns // LANES)
        packed = PANEL if packing == IN_PLACE else min(columns, BLOCK_COLUMNS)
        return Cut(p * (products + PACKING[packing] * columns), down, across, packing, packed)

    return min(map(cut, range(1, min(threads, panels) + 1)))


@remembered
def _prepare_few_rows(m: int, p: int, q: int, b_by_rows: bool, num_threads: int) -> Prepared:
    parts = plan_parts(FETCHED * p * q, limit=-(-q // LANES))
    arrays = (flat((m, p)), flat((p, q)), flat((m, q)))
    return Prepared(scaled_rows if b_by_rows else dot_products, parts, *arrays, (p, q))


@remembered
def _prepare(
    m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, end: tuple[int, int], threads: int
) -> Calls:
    biases, relu = end
    cut, depth = cut_product(m, p, q, b_by_rows), min(p, DEPTH_BLOCK)
    parts, by_columns = cut.down * cut.across, not a_by_rows
    floats = BLOCK_ROWS * PANEL + by_columns * BLOCK_ROWS * depth + depth * cut.packed
    workspace = Piece(0, (parts, floats))
    tables = Piece(workspace.stop, (parts, 2 * BLOCK_ROWS + depth), INT)
    sizes = (m, p, q, int(by_columns), cut.packing, cut.across, relu)
    arrays = (flat((m, p)), flat((p, q)), flat((biases,)), flat((m, q)), workspace, tables)
    return Calls((Prepared(multiply, parts, *arrays, sizes),), tables.stop, parts)


def _multiply(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``a @ b``, by rows; each is copied if it has gaps.

    A bias or a ReLU may follow where the rows are no few.
    """
    a, b = (each if each.T.flags.c_contiguous else layout.contiguous(each) for each in (a, b))
    by_rows, threads = (a.flags.c_contiguous, b.flags.c_contiguous), get_num_threads()
    (m, p), q = a.shape, b.shape[1]
    out = memory.empty((m, q), np.float32)
    a, b = (each if rows else each.T for each, rows in zip((a, b), by_rows, strict=True))
    if _are_few_rows(m, *by_rows):
        _prepare_few_rows(m, p, q, by_rows[1], threads).run(NO_FLOATS, a, b, out)
        return out
    added = NO_FLOATS if bias is None else bias
    calls = _prepare(m, p, q, *by_rows, (added.size, int(relu)), threads)
    calls.steps[0].run(memory.workspace(calls.floats), a, b, added, out)
    return out
