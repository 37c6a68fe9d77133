"""Sixteen rows of floats become sixteen columns, in registers.

PyTorch stores a filter after the other; the microkernel reads the same number of 16 filters side by
side. To fetch them one by one takes a load and a store for each float. A 16 x 16 block needs 16
vector loads, 64 shuffles and 16 stores for its 256 floats. A block with fewer rows or columns takes
as much: missing rows are zeros, missing columns are not stored. Numbers are fetched one by one only
where a block would read beyond the array or write beside its lanes.

How the shuffles do it. Number the rows by four bits and the columns by four. Interleaving row i
with row i + 8 makes two new rows::

    row i      a0 a1 a2 ... a15          row 2i        a0 b0 a1 b1 ... a7 b7
    row i + 8  b0 b1 b2 ... b15    -->   row 2i + 1    a8 b8 ...       a15 b15

In bits: row (r3 r2 r1 r0) column (c3 c2 c1 c0) moves to row (r2 r1 r0 c3) column (c2 c1 c0 r3), the
eight bits in a ring by one place. Four such rounds exchange rows and columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    LANES,
    VECTOR,
    as_vector,
    element,
    load_tail,
    store,
)

_HALF = LANES // 2
_LANE_NUMBERS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = [
    ir.Constant(_LANE_NUMBERS, [i // 2 + half + i % 2 * LANES for i in range(LANES)])
    for half in (0, _HALF)
]


def _generate_block(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    source, at, step, rows, columns, out, to, out_step = args
    read = element(context, builder, sig.args[0], source, at)
    write = element(context, builder, sig.args[5], out, to)
    zeros = ir.Constant(VECTOR, [0.0] * LANES)

    def place(base: Any, i: Any, stride: Any) -> Any:
        return as_vector(builder, builder.gep(base, [builder.mul(stride, i)]))

    def row(i: Any) -> Any:
        is_there = builder.icmp_signed("<", i, rows)
        near = builder.select(is_there, i, INDEX(0))
        return builder.select(
            is_there, builder.load(place(read, near, step), align=ALIGNMENT), zeros
        )

    block = [row(INDEX(i)) for i in range(LANES)]
    for _ in range(4):
        block = [
            builder.shuffle_vector(block[i], block[i + _HALF], half)
            for i in range(_HALF)
            for half in _HALVES
        ]
    done = builder.append_basic_block("done")
    for j, value in enumerate(block):
        builder.store(value, place(write, INDEX(j), out_step), align=ALIGNMENT)
        following = builder.append_basic_block("column") if j < LANES - 1 else done
        builder.cbranch(builder.icmp_signed(">", columns, INDEX(j + 1)), following, done)
        builder.position_at_end(following)
    return context.get_dummy_value()


# fmt: off
@intrinsic
def _transpose_block(context: Any, source: Any, at: Any, step: Any, rows: Any, columns: Any,
                     out: Any, to: Any, out_step: Any) -> Any:
    """Transpose `rows` rows of 16 floats, of which at least one column is wanted."""
    i = types.intp
    return types.void(source, i, i, i, i, out, i, i), _generate_block
# fmt: on


@jit
def transpose(
    source: np.ndarray,
    at: int,
    step: int,
    rows: int,
    columns: int,
    out: np.ndarray,
    to: int,
    out_step: int,
    lanes: int,
) -> None:
    """Write ``out[to + j out_step + i] = source[at + i step + j]`` for j < columns, i < lanes.

    `rows` and `lanes` are at most 16, and at least 1; where `lanes` is larger than `rows`, zeros
    fill up. Nothing else is written, and nothing beyond the array is read.
    """
    if step == 1 and columns == 1 and lanes == LANES:
        store(out, to, load_tail(source, at, rows))  # one column is already a vector
        return
    j = 0
    while lanes == LANES and j < columns and at + (rows - 1) * step + j + LANES <= source.size:
        some = min(LANES, columns - j)
        _transpose_block(source, at + j, step, rows, some, out, to + j * out_step, out_step)
        j += some
    while j < columns:
        for i in range(lanes):
            out[to + j * out_step + i] = source[at + i * step + j] if i < rows else 0.0
        j += 1
