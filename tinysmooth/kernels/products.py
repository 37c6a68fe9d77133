"""Matrix products without BLAS, which would fight the kernels over the CPUs.

NumPy's product is as fast as any. But it is most often OpenBLAS that computes it, whose threads
watch for the next product for a tenth of a second after each, on the CPUs that a network's other
kernels want by then: LeNet's training step, whose linear layers do a seventh of its
multiplications, takes 1.4 to 1.9 times as long. OpenBLAS takes a second thread only where a product
is large. So small products of two matrices are left to NumPy (and those of stacks), and large ones
are convolutions here: **a linear layer is a 1x1 convolution** whose pixels are the rows of x and
whose channels are the features. Which of a convolution's three products it is depends on the way
that the matrices lie in memory::

                   a            b            a @ b is                         what it costs beside
    CONVOLUTION    by rows      by columns   out of images a, filters b.T     b is packed
    DATA           by rows      by rows      the gradient of images, from     b is packed
                                             gradient a and filters b
    FILTERS        by columns   by rows      the gradient of filters, from    (M, Q) is added up
                                             images b and gradient a.T        over the threads

So the three products of a linear layer, ``x @ weight.T``, ``grad @ weight`` and ``grad.T @ x``, are
the three of a convolution, and none needs a copy. But to pack a large matrix for the product with a
few rows takes longer than the product; then it is quicker to copy the small one in the other order,
or to compute ``(b.T @ a.T).T``, where both have changed places. The way that costs least is taken.
"""

from __future__ import annotations

import enum
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import layout
from tinysmooth.kernels.convolution import windows_route
from tinysmooth.kernels.convolution.geometry import round_up
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.prepared import remembered
from tinysmooth.kernels.reference import products as reference
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.kernels.vectors import LANES

__all__ = ["matmul"]

Array = NDArray[Any]

SMALL = 2**18
"""Multiplications up to which OpenBLAS makes a product of matrices in one thread: 65,536 times its
``GEMM_MULTITHREAD_THRESHOLD`` of 4. NumPy takes 1 to 8 microseconds for so few, a convolution 12 or
more."""

SMALL_OF_VECTOR = 9215
"""The same for the product with a vector: less than 2304 times 4."""

PRODUCTS = 0.017
"""Nanoseconds of one core for one product of two numbers."""

PACKED = 0.66
"""Nanoseconds of one core for packing one number of b."""

ADDED = 0.2
"""Nanoseconds for adding up one number over the threads, each of which adds a share of them."""

WIDEST = 2**14
"""Channels or filters, at most: of so many a block of pixels has eight, and for each block all
filters are read again. With 20,000 NumPy's product takes half the time of the slowest way."""

MOST_ADDED = 2**24
"""Numbers in the sums of all threads: 64 MiB."""

HOPELESS = 1e15
"""Nanoseconds that no product takes."""

TURNED = 1.5
"""Nanoseconds for copying one number of a matrix in the other order, in one thread."""

STRIDE, PADDING = (1, 1), (0, 0)


class Way(enum.Enum):
    """Which product of a convolution it is; the values: whether a and b have to lie by rows."""

    CONVOLUTION = (True, False)
    DATA = (True, True)
    FILTERS = (False, True)


class Choice(NamedTuple):
    """How to multiply two matrices; `swapped` stands for ``(b.T @ a.T).T``."""

    way: Way
    swapped: bool


def matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``, without BLAS where that would take several threads; see the reference."""
    (m, p), q = a.shape, b.shape[1]
    if not a.dtype == b.dtype == np.float32 or _is_small(m, p, q):
        return reference.matmul(a, b)
    choice = choose(m, p, q, _by_rows(a), _by_rows(b), get_num_threads())
    if choice is None:
        return reference.matmul(a, b)
    way, swapped = choice
    return _laid(_multiply(way, b.T, a.T).T, True) if swapped else _multiply(way, a, b)


def _is_small(m: int, p: int, q: int) -> bool:
    """Tell whether NumPy makes a product in one thread."""
    return m * p * q <= (SMALL_OF_VECTOR if min(m, q) == 1 else SMALL)


def _by_rows(matrix: Array) -> bool:
    """Tell whether a matrix is by rows; if not, it is by columns or, rarely, has gaps."""
    return bool(matrix.flags.c_contiguous)


@remembered
def choose(m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, threads: int) -> Choice | None:
    """Return the quickest way to multiply (m, p) by (p, q); None if that is NumPy's.

    Parameters
    ----------
    m, p, q : int
        Rows of a, its columns, columns of b.
    a_by_rows, b_by_rows : bool
        How they lie in memory.
    threads : int

    Returns
    -------
    Choice or None

    Examples
    --------
    >>> choose(512, 256, 128, True, False, 2)  # x @ weight.T, from 256 features to 128
    Choice(way=<Way.CONVOLUTION: (True, False)>, swapped=False)
    >>> choose(4, 4096, 512, True, False, 2)  # four rows only: the weights are not packed
    Choice(way=<Way.CONVOLUTION: (True, False)>, swapped=True)
    """

    def cost(choice: Choice) -> float:
        if choice.swapped:
            return _turning(m, q) + _cost(
                choice.way, q, p, m, not b_by_rows, not a_by_rows, threads
            )
        return _cost(choice.way, m, p, q, a_by_rows, b_by_rows, threads)

    best = min(itertools.starmap(Choice, itertools.product(Way, (False, True))), key=cost)
    return best if cost(best) < HOPELESS else None


def _cost(
    way: Way, m: int, p: int, q: int, a_by_rows: bool, b_by_rows: bool, threads: int
) -> float:
    """Return the nanoseconds that a way takes, roughly; `HOPELESS` if it is not to be taken."""
    a_rows, b_rows = way.value
    if max(q, m if way is Way.FILTERS else p) > WIDEST:
        return HOPELESS
    turning = _turning(m, p) * (a_rows != a_by_rows) + _turning(p, q) * (b_rows != b_by_rows)
    if way is Way.FILTERS:
        products = round_up(q, ROWS_STEP) * round_up(m, LANES)
        beside = ADDED * m * q if threads * m * q <= MOST_ADDED else HOPELESS
    else:
        products = round_up(m, ROWS_STEP) * round_up(q, LANES)
        beside = PACKED * p * q / threads
    return PRODUCTS * p * products / threads + beside + turning


def _turning(rows: int, columns: int) -> float:
    """Return the nanoseconds that it takes to copy a matrix in the other order."""
    return TURNED * rows * columns if max(rows, columns) <= WIDEST else HOPELESS


def _multiply(way: Way, a: Array, b: Array) -> Array:
    """Return ``a @ b``; each is copied if it does not lie as the way wants it."""
    m, q = a.shape[0], b.shape[1]
    a, b = (_laid(matrix, rows) for matrix, rows in zip((a, b), way.value, strict=True))
    if way is Way.CONVOLUTION:
        product = windows_route.convolve(_images(a), _filters(b.T), (m, 1), STRIDE, PADDING)
    elif way is Way.DATA:
        shape = (1, m, 1, q)
        product = windows_route.convolve_backward(_images(a), _filters(b), shape, STRIDE, PADDING)
    else:
        shape = (m, q, 1, 1)
        product = windows_route.filter_gradient(_images(b), _images(a.T), shape, STRIDE, PADDING)
    return product.reshape(m, q)


def _laid(matrix: Array, by_rows: bool) -> Array:
    """Return a matrix that lies by rows, or by columns; a copy only if it does not."""
    return layout.contiguous(matrix) if by_rows else layout.contiguous(matrix.T).T


def _images(matrix: Array) -> Array:
    """See the rows of a matrix as the pixels of an image of one column."""
    return matrix[None, :, None, :]


def _filters(matrix: Array) -> Array:
    """See the rows of a matrix as 1x1 filters."""
    return matrix[:, :, None, None]
