"""From one order in memory to another, compiled: images to channels last and back, matrices turned.

A batch that comes from elsewhere often has the channels first, and so has what a linear layer wants
of images; the kernels have them last. Seen from memory both are stacks of matrices, (channels,
pixels) and (pixels, channels), and each matrix is to be turned. NumPy fetches number by number;
here a block of 16 x 16 is turned in registers (`tinysmooth.kernels.transposition`), all of it in a
fifteenth of the time for 64 channels, and a third for three.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.prepared import NO_FLOATS, REMEMBERED, Prepared, flat, remembered
from tinysmooth.kernels.reference import layout as reference
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.transposition import transpose
from tinysmooth.kernels.vectors import LANES

__all__ = ["contiguous"]

Array = NDArray[Any]
Stack = tuple[int, int, int]

SMALL = 2**15
"""Numbers up to which NumPy takes no longer."""

NANOSECONDS_PER_FLOAT = 0.5
"""Rough cost, one core, from main memory."""


@jit
def turn_parts(
    part: int, parts: int, source: Array, stack: tuple[int, int, int], out: Array
) -> None:
    """Write matrices (rows, columns) as (columns, rows), sixteen columns at a time.

    Blocks of fewer than sixteen rows write zeros behind them, where other rows of the result begin.
    So they come first, and what belongs there is written after them. The last blocks of a part
    write only their own lanes: what follows belongs to another part or lies outside.
    """
    count, rows, columns = stack
    blocks = (columns + LANES - 1) // LANES
    units = count * blocks
    last = units * (part + 1) // parts
    end = (last // blocks * columns + last % blocks * LANES) * rows
    for unit in range(units * part // parts, last):
        matrix, column = unit // blocks * rows * columns, unit % blocks * LANES
        wide = min(LANES, columns - column)
        whole = rows // LANES * LANES
        if whole < rows:
            to = matrix + column * rows + whole
            lanes = LANES if to + (wide - 1) * rows + LANES <= end else rows - whole
            at = matrix + whole * columns + column
            transpose(source, at, columns, rows - whole, wide, out, to, rows, lanes)
        for row in range(0, whole, LANES):
            at, to = matrix + row * columns + column, matrix + column * rows + row
            transpose(source, at, columns, LANES, wide, out, to, rows, LANES)


@functools.lru_cache(maxsize=REMEMBERED)
def as_stack(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Stack | None:
    """Return the matrices that an array has turned: how many, their rows and columns in memory.

    Parameters
    ----------
    shape, strides : tuple of int
        Of the array.
    itemsize : int

    Returns
    -------
    tuple of int, or None if the array is no such stack

    Examples
    --------
    >>> images = np.zeros((5, 8, 9, 3), np.float32).transpose(0, 3, 1, 2)  # channels last
    >>> as_stack(images.shape, images.strides, 4)
    (5, 72, 3)
    >>> as_stack((7, 2), (4, 28), 4)  # a matrix by columns
    (1, 2, 7)
    """
    axes: list[tuple[int, int]] = []
    for length, stride in zip(shape, strides, strict=True):
        if length == 1:
            continue
        if axes and axes[-1][1] == length * stride:
            axes[-1] = (axes[-1][0] * length, stride)
        else:
            axes.append((length, stride))
    if len(axes) == 2:
        axes.insert(0, (1, axes[0][0] * axes[1][0] * itemsize))
    if len(axes) != 3:
        return None
    (count, apart), (columns, across), (rows, down) = axes
    is_stack = (apart, across, down) == (rows * columns * itemsize, itemsize, columns * itemsize)
    return (count, rows, columns) if is_stack else None


@remembered
def _prepare(stack: Stack, threads: int) -> Prepared:
    size = math.prod(stack)
    parts = plan_parts(size * NANOSECONDS_PER_FLOAT)
    return Prepared(turn_parts, parts, flat((size,)), stack, flat((size,)))


def contiguous(array: Array) -> Array:
    """Return the array C-contiguous: as it is, or a copy; see the reference."""
    if array.dtype != np.float32 or array.size <= SMALL or array.flags.c_contiguous:
        return reference.contiguous(array)
    stack = as_stack(array.shape, array.strides, array.itemsize)
    if stack is None:
        return reference.contiguous(array)
    out = memory.empty(array.shape, array.dtype)
    in_memory = array.transpose(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    _prepare(stack, get_num_threads()).run(NO_FLOATS, in_memory, out)
    return out
