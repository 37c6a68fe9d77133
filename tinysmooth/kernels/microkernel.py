"""The inner loop of every fast convolution: a tile of a matrix product held in registers.

A product ``C = A @ B`` does two operations for each pair of numbers, and a CPU multiplies faster
than it loads. The way out is to load a number once and use it often. Hold a tile of C in registers,
walk along the shared dimension, and at each step k add one column of A times one row of B::

                    B   k | b0   b1   b2   b3 |          4 loads, 16 floats each
                          +-------------------+
        A[:, k]     a0    | c00  c01  c02  c03 |
                    a1    | c10  c11  c12  c13 |         c_ij += a_i * b_j :
                    ...   |        ...         |         24 multiply-adds on 24 registers
                    a5    | c50  c51  c52  c53 |
                6 loads, each spread over all lanes

Why 6 x 4. A multiply-add has a latency of 4 cycles and a core starts one or two in each, so at
least 8 independent sums must be under way. AVX-512 has 32 registers: 24 sums, 4 for the row of B
and 1 for the spread a_i make 29. With 7 x 4 the registers overflow into memory. B of 48 columns
takes tiles of 8 x 3, of 32 columns 8 x 2; for 16 columns, `tinysmooth.kernels.narrow` has tiles of
its own. AVX2 has 16 registers of half the size, a vector takes two: 6 x 1 makes 12 sums, 2 for B
and 1 for a_i, 15.

Where A lies. Each number of A is loaded alone, so A need not be a matrix in memory. It is given by
two tables of offsets::

    A[i, k]  =  a[a_offset + rows[i] + columns[k]]

    a stored matrix          rows[i] = i stride           columns[k] = k
    its transpose            rows[i] = i                  columns[k] = k stride
    the windows of an image  rows[i] = first pixel of window i,  columns[k] = way to tap k

The last line is a convolution without any copy of its windows, and with the tables exchanged the
gradient of its filters. The price is one more load in each step, of columns[k]. Rows of C may lie
anywhere as well: at ``c_offset + c_rows[i]``, which is where the pixel of window i is.

How a generator writes it. In LLVM's language a value is assigned once (static single assignment),
so a loop variable is written as a *phi node* at the head of the loop: "0 if we come from the entry,
k + 2 if we come from the end of the body". Each of the 24 sums is such a phi node of type <16 x
float>, and nothing ever stores them to memory before the loop ends, so LLVM keeps them in
registers. Numba's own loops cannot say this: an array of sums would be loaded and stored at each
step.

Two steps a turn. To count and to jump back takes three instructions, so a turn of the loop does two
steps, in 3 percent less time. LLVM would unroll the loop further, and would put the loads of all
steps first, for which there are not registers enough: sums went through memory, and a tile of 8 x 2
took a third longer. So the loop says that it is to stay as it is, and a fence between the two
steps, which is no instruction, keeps the loads of the second behind it.

Asking ahead. While a tile multiplies, for hundreds of cycles, the way to memory is idle; then the
next tile, or the next block of B, is wanted at once and the multiplying waits. So a tile can ask,
in each turn, for one cache line of what comes next, wherever its caller says that is: a wish that
needs no register for an answer, and that nothing waits for. On an Intel processor 1x1 convolutions
took 0.88 to 0.96 of the time, the gradients of their filters, and of a first layer's by a direct
sum, 0.8 to 0.9, and
Winograd's convolution of 128 channels and more, whose filters do not fit the L2 cache, 0.87 to
1.0. It takes a pointer more: a tile of 8 x 2 or 8 x 3 has no register for it, would fetch its
pointers from memory in each step, and take up to twice as long. So three channels under 3x3
filters, whose rows lie side by side in runs of nine, have a tile of 9 x 2 with a single pointer,
wherever the gradient of their filters is a direct sum.

Loop-carried values::

    entry --> loop:  k    = phi [0, entry], [k + 2, loop]
                     cij  = phi [0, entry], [cij'', loop]
                     cij' = cij + ai[k] bj[k]      fence      cij'' = cij' + ai[k + 1] bj[k + 1]
                     branch loop if k + 2 < depth, rounded down to an even number
              rest:  one step more for an odd depth
              end:   store all cij, or add them to C
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    L2,
    LANES,
    VECTOR,
    as_vector,
    ask_for,
    broadcast,
    element,
    keep_rolled,
    multiply_add,
)

ROWS_STEP = 4
"""Rows of the lowest tile: rows of A and C are made so many at a time."""

ASKED = LANES // 2
"""Floats that a tile asks for in each step: a line of 64 bytes in two steps."""


def write_tile(
    builder: Any,
    depth: Any,
    add: Any,
    step: Callable[[Any, Sequence[Any]], Sequence[Any]],
    size: int,
    places: Callable[[], Sequence[Any]],
    ahead: Callable[[Any], Sequence[Any]] | None = None,
) -> None:
    """Write the code of a tile: its sums over the depth, and their way to memory.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    depth, add : llvmlite.ir.Value
        Steps, at least 1; and whether the sums are added to what is there.
    step : callable
        Writes step k, given the sums before it; returns those behind it.
    size : int
        Number of sums.
    places : callable
        Pointers to where they go. Called once the sums are there: pointers found before would take
        registers from them.
    ahead : callable, optional
        For an even step k, pointers into cache lines that will be wanted soon.
    """

    def sums_from(*before: tuple[Any, Any]) -> list[Any]:
        """Return what each sum is here, by the block that we come from."""
        phis = [builder.phi(VECTOR) for _ in range(size)]
        for block, values in before:
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)
        return phis

    entry = builder.block
    loop, rest, last, end = map(builder.append_basic_block, ("depth", "rest", "last", "end"))
    zeros = [ir.Constant(VECTOR, [0.0] * LANES) for _ in range(size)]
    odd = builder.and_(depth, INDEX(1))
    even = builder.sub(depth, odd)
    builder.cbranch(builder.icmp_signed("<", INDEX(0), even), loop, rest)

    builder.position_at_end(loop)
    k = builder.phi(INDEX)
    sums = sums_from((entry, zeros))
    totals = step(k, sums)
    if ahead is not None:
        for line in ahead(k):
            ask_for(builder, line, L2)
    builder.fence("seq_cst", "singlethread")  # no instruction: LLVM moves no load across it
    totals = step(builder.add(k, INDEX(1)), totals)
    following = builder.add(k, INDEX(2))
    k.add_incoming(INDEX(0), entry)
    k.add_incoming(following, loop)
    for phi, value in zip(sums, totals, strict=True):
        phi.add_incoming(value, loop)
    again = builder.cbranch(builder.icmp_signed("<", following, even), loop, rest)
    keep_rolled(builder, again)

    builder.position_at_end(rest)
    sums = sums_from((entry, zeros), (loop, totals))
    builder.cbranch(builder.icmp_signed("!=", odd, INDEX(0)), last, end)
    builder.position_at_end(last)
    totals = step(even, sums)
    builder.branch(end)

    builder.position_at_end(end)
    write_sums(builder, add, sums_from((rest, sums), (last, totals)), places())


def write_sums(builder: Any, add: Any, totals: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Write the code that stores the sums of a tile or, where `add` is not 0, adds them.

    Sums of short pieces, added up: their rounding errors do not pass through one long sum.
    """
    adding, writing, done = map(builder.append_basic_block, ("adding", "writing", "done"))
    builder.cbranch(builder.icmp_signed("!=", add, INDEX(0)), adding, writing)
    builder.position_at_end(adding)
    before = [builder.load(output, align=ALIGNMENT) for output in outputs]
    for output, old, value in zip(outputs, before, totals, strict=True):
        builder.store(builder.fadd(old, value), output, align=ALIGNMENT)
    builder.branch(done)
    builder.position_at_end(writing)
    for output, value in zip(outputs, totals, strict=True):
        builder.store(value, output, align=ALIGNMENT)
    builder.branch(done)
    builder.position_at_end(done)


def rows_of_c(
    context: Any, builder: Any, kind: Any, c_rows: Any, c_step: Any, numbers: Sequence[Any]
) -> list[Any]:
    """Return the offsets of rows of C: row i at i * c_step or, where that is 0, at c_rows[i].

    Rows that are evenly spaced are not looked up: to load an offset for each took Winograd's
    convolutions 1 to 3 percent more time.
    """
    spaced, listed, found = map(builder.append_basic_block, ("spaced", "listed", "found"))
    builder.cbranch(builder.icmp_signed("!=", c_step, INDEX(0)), spaced, listed)
    builder.position_at_end(spaced)
    products = [builder.mul(number, c_step) for number in numbers]
    builder.branch(found)
    builder.position_at_end(listed)
    entries = [builder.load(element(context, builder, kind, c_rows, i)) for i in numbers]
    builder.branch(found)
    builder.position_at_end(found)
    offsets = []
    for product, entry in zip(products, entries, strict=True):
        offset = builder.phi(INDEX)
        offset.add_incoming(product, spaced)
        offset.add_incoming(entry, listed)
        offsets.append(offset)
    return offsets


def make_microkernel(
    height: int, vectors: int, neighbours: bool = False, asks: bool = False
) -> Any:
    """Generate the product of a tile: C = A @ B, or C += A @ B.

    C has `height` rows of as many vectors; A is (height, depth), B is (depth, vectors).

    Parameters
    ----------
    height, vectors : int
        Shape of the tile.
    neighbours : bool
        Whether the rows of A lie one float apart: one pointer serves them all, so that the tile may
        be taller than there are registers for pointers. Only the first entry of `rows` is read.
    asks : bool
        Whether the tile asks for lines ahead; then it takes two arguments more.

    Returns
    -------
    intrinsic
        ``kernel(a, a_offset, rows, first_row, columns, depth, b, b_offset, b_stride, c, c_offset,
        c_rows, c_step, add[, ahead, ahead_offset])``, to be called inside kernels. Arrays are flat,
        float32 and, for the tables `rows`, `columns` and `c_rows`, int64; the tile is that of
        ``rows[first_row:]`` and ``c_rows[first_row:]``; offsets and strides count elements; `depth`
        is positive; where `add` is not 0, the product is added to C. Where `c_step` is not 0,
        `c_rows` is not read, and row i is at ``i * c_step``.
        Equal rows of A may share a row of C, which then is that of one of them.
        From ``ahead[ahead_offset]`` on, inside the array or not, a line is asked for in each turn.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int, offset: Any) -> Any:
            return element(context, builder, sig.args[array], args[array], offset)

        def after(base: Any, offset: Any) -> Any:
            return builder.gep(base, [offset])

        depth, b_stride, add = args[5], args[8], args[13]
        a, b, c = (pointer(array, args[array + 1]) for array in (0, 6, 9))
        rows, columns = pointer(2, args[3]), pointer(4, INDEX(0))
        if neighbours:
            first = after(a, builder.load(rows))
            starts = [after(first, INDEX(i)) for i in range(height)]
        else:
            starts = [after(a, builder.load(after(rows, INDEX(i)))) for i in range(height)]

        def line(base: Any) -> list[Any]:
            return [as_vector(builder, after(base, INDEX(LANES * j))) for j in range(vectors)]

        def step(k: Any, sums: Sequence[Any]) -> list[Any]:
            """Add column k of A times row k of B, row by row of the tile: so few loads wait."""
            before, totals = iter(sums), []
            row_of_b = line(after(b, builder.mul(b_stride, k)))
            row_of_b = [builder.load(place, align=ALIGNMENT) for place in row_of_b]
            column = builder.load(after(columns, k))
            for start in starts:
                spread = broadcast(builder, builder.load(after(start, column)))
                totals += [multiply_add(builder, spread, value, next(before)) for value in row_of_b]
            return totals

        def places() -> list[Any]:
            numbers = [builder.add(args[3], INDEX(i)) for i in range(height)]
            offsets = rows_of_c(context, builder, sig.args[11], args[11], args[12], numbers)
            return [place for offset in offsets for place in line(after(c, offset))]

        def line_ahead(k: Any) -> list[Any]:
            return [after(pointer(14, args[15]), builder.mul(k, INDEX(ASKED)))]

        size, ahead = height * vectors, line_ahead if asks else None
        write_tile(builder, depth, add, step, size, places, ahead)
        return context.get_dummy_value()

    i = types.intp

    # Numba matches the arguments of an intrinsic by name, hence spelt-out lists.
    # fmt: off
    @intrinsic
    def kernel(context: Any, a: Any, a_offset: Any, rows: Any, first_row: Any,
               columns: Any, depth: Any, b: Any, b_offset: Any, b_stride: Any,
               c: Any, c_offset: Any, c_rows: Any, c_step: Any, add: Any) -> Any:
        return types.void(a, i, rows, i, columns, i, b, i, i, c, i, c_rows, i, i), generate

    @intrinsic
    def asking(context: Any, a: Any, a_offset: Any, rows: Any, first_row: Any,
               columns: Any, depth: Any, b: Any, b_offset: Any, b_stride: Any,
               c: Any, c_offset: Any, c_rows: Any, c_step: Any, add: Any,
               ahead: Any, ahead_offset: Any) -> Any:
        own = (a, i, rows, i, columns, i, b, i, i, c, i, c_rows, i, i)
        return types.void(*own, ahead, i), generate
    # fmt: on

    return asking if asks else kernel
