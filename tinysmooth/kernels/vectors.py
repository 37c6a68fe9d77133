"""Sixteen floats at a time: the type ``<16 x float>`` inside Numba kernels.

LLVM vectorises plain loops by itself, but only with 256-bit registers, and it keeps no tile of sums
in registers. Here a kernel says itself what a vector is::

    for i in range(0, size, LANES):
        store(out, i, load(x, i) * splat(scale) + load(shift, i))

`LANES` is 16 on every machine, one AVX-512 register. LLVM splits the value in two registers with
AVX2 and in four with NEON, so the same kernel runs everywhere; `WIDE` tells the kernels that must
count registers which case it is.

Arrays are addressed by one flat offset, counted in elements. Nothing checks it. ``load_tail`` and
``store_tail`` touch only the first ``count`` lanes, for channels that are no multiple of 16.

The names in ``__all__``, and the operators ``+ - * /``, are called inside kernels. Below them stand
the building blocks of functions that write LLVM code; `tinysmooth.kernels.generators` gives those
operators. With ``NUMBA_DISABLE_JIT=1`` (`tinysmooth.kernels.jit.ENABLED` is False) nothing runs.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from tinysmooth.kernels.cache import cpu_description

__all__ = [
    "HALVED",
    "LANES",
    "WIDE",
    "ZEN",
    "fma",
    "load",
    "load_bytes",
    "load_tail",
    "maximum",
    "prefetch",
    "prefetch_far",
    "select_equal",
    "select_greater",
    "splat",
    "store",
    "store_bytes",
    "store_tail",
]

LANES = 16  # floats in a vector

WIDE: bool = "+avx512f" in cpu_description()[1].split(",")
"""True where one register holds a whole vector and there are 32 of them (AVX-512)."""

ZEN: bool = cpu_description()[0].startswith("znver")
"""True on AMD's processors, some of whose sizes differ from Intel's."""

HALVED: bool = WIDE and cpu_description()[0] == "znver4"
"""True where a multiply-add of a whole vector runs in two halves, and takes a cycle, not half of
one: whatever else there is to do counts for less beside it."""

FLOAT = ir.FloatType()
INDEX = ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_LANE_NUMBERS = ir.VectorType(ir.IntType(32), LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
ALIGNMENT = 4  # all a float32 array promises; at aligned addresses such loads are as fast


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of sixteen floats."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)


# ------------------------------------------------------------------ LLVM building blocks


def element(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Return a pointer to the element at a flat offset of a Numba array."""
    place = context.data_model_manager[array_type].get_field_position("data")
    return builder.gep(builder.extract_value(array, place), [offset])


def as_vector(builder: Any, pointer: Any) -> Any:
    """Return the pointer, seen as one to a vector."""
    return builder.bitcast(pointer, VECTOR.as_pointer())


def broadcast(builder: Any, scalar: Any, kind: Any = VECTOR) -> Any:
    """Return a vector of that kind with the scalar in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.VectorType(ir.IntType(32), kind.count)
    return builder.shuffle_vector(one, undefined, ir.Constant(lanes, [0] * kind.count))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c with one rounding."""
    # llvmlite's builder.fma refuses vectors; LLVM's intrinsic does not.
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{a.type.count}f32")
    return builder.call(function, [a, b, c])


L1, L2 = 3, 2  # how LLVM calls the caches that a line may be asked into


def ask_for(builder: Any, pointer: Any, cache: int) -> None:
    """Ask for the line that a pointer is in, wherever that is; it comes into that cache."""
    how = [ir.IntType(32)(value) for value in (0, cache, 1)]  # read, near, data
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in (pointer, *how)])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, *how])


def keep_rolled(builder: Any, branch: Any) -> None:
    """Tell LLVM not to unroll the loop that `branch` goes round."""
    module = builder.module
    hint = module.add_metadata(["llvm.loop.unroll.disable"])
    # LLVM knows the description of a loop by its first entry, which is the description itself.
    description = ir.values.MDValue(module, [], name=str(len(module.metadata)))
    description.operands = (description, hint)
    branch.set_metadata("llvm.loop", description)


def first_lanes(builder: Any, count: Any) -> Any:
    """Return the mask of the lanes below `count`."""
    lanes = ir.Constant(_LANE_NUMBERS, list(range(LANES)))
    count = builder.trunc(count, ir.IntType(32))
    return builder.icmp_signed("<", lanes, broadcast(builder, count, _LANE_NUMBERS))


def masked_load(builder: Any, pointer: Any, mask: Any) -> Any:
    """Return the lanes of the mask, zeros in the others, which are not read."""
    kind = ir.FunctionType(VECTOR, [pointer.type, ir.IntType(32), _MASK, VECTOR])
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    zeros = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.call(function, [pointer, ir.IntType(32)(ALIGNMENT), mask, zeros])


def store_first_lanes(builder: Any, value: Any, pointer: Any, count: Any) -> None:
    """Write the first `count` lanes, of 0 to 16."""
    if WIDE:
        kind = ir.FunctionType(ir.VoidType(), [VECTOR, pointer.type, ir.IntType(32), _MASK])
        name = f"llvm.masked.store.v{LANES}f32.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        mask = first_lanes(builder, count)
        builder.call(function, [value, pointer, ir.IntType(32)(ALIGNMENT), mask])
        return
    # Some processors with AVX2 take dozens of cycles for a masked store, and NEON has none. So 13
    # lanes are written as 8 + 4 + 1, the ones of the binary number.
    pointer = builder.bitcast(pointer, FLOAT.as_pointer())
    size = LANES
    while size:
        before = builder.block
        wanted = builder.icmp_signed("!=", builder.and_(count, INDEX(size)), INDEX(0))
        with builder.if_then(wanted):
            lanes = [min(lane, LANES - 1) for lane in range(size, size + LANES)]
            numbers = ir.VectorType(ir.IntType(32), size)
            first = builder.shuffle_vector(value, value, ir.Constant(numbers, list(range(size))))
            kind = ir.VectorType(FLOAT, size).as_pointer()
            builder.store(first, builder.bitcast(pointer, kind), align=ALIGNMENT)
            rest = builder.shuffle_vector(value, value, ir.Constant(_LANE_NUMBERS, lanes))
            behind = builder.gep(pointer, [INDEX(size)])
            inside = builder.block
        joined = []
        for old, new in ((value, rest), (pointer, behind)):
            phi = builder.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, inside)
            joined.append(phi)
        value, pointer = joined
        size //= 2


# ------------------------------------------------------------------ intrinsics


def _is_float32_array(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.dtype == types.float32


def _is_int8_array(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.dtype == types.int8


@intrinsic
def load(context: Any, array: Any, offset: Any) -> Any:
    """Read sixteen floats: ``load(array, offset)``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.load(as_vector(builder, pointer), align=ALIGNMENT)

    return (vector(array, types.intp), generate) if _is_float32_array(array) else None


@intrinsic
def store(context: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write sixteen floats: ``store(array, offset, value)``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], as_vector(builder, pointer), align=ALIGNMENT)
        return context.get_dummy_value()

    return (types.void(array, types.intp, vector), generate) if _is_float32_array(array) else None


def _make_prefetch(cache: int) -> Any:
    """Generate ``kernel(array, offset)``: ask for the line of an element, which may lie outside."""

    @intrinsic
    def asking(context: Any, array: Any, offset: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            ask_for(builder, element(context, builder, sig.args[0], args[0], args[1]), cache)
            return context.get_dummy_value()

        return (types.void(array, types.intp), generate) if _is_float32_array(array) else None

    return asking


prefetch, prefetch_far = _make_prefetch(L1), _make_prefetch(L2)


@intrinsic
def load_tail(context: Any, array: Any, offset: Any, count: Any) -> Any:
    """Read the first `count` lanes, zeros in the others: ``load_tail(array, offset, count)``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = as_vector(builder, element(context, builder, sig.args[0], args[0], args[1]))
        return masked_load(builder, pointer, first_lanes(builder, args[2]))

    sig = vector(array, types.intp, types.intp)
    return (sig, generate) if _is_float32_array(array) else None


@intrinsic
def store_tail(context: Any, array: Any, offset: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes: ``store_tail(array, offset, value, count)``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = as_vector(builder, element(context, builder, sig.args[0], args[0], args[1]))
        store_first_lanes(builder, args[2], pointer, args[3])
        return context.get_dummy_value()

    sig = types.void(array, types.intp, vector, types.intp)
    return (sig, generate) if _is_float32_array(array) else None


@intrinsic
def load_bytes(context: Any, array: Any, offset: Any) -> Any:
    """Read sixteen small integers, as floats: ``load_bytes(array, offset)``, array of int8."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        value = builder.load(builder.bitcast(pointer, _BYTES.as_pointer()), align=1)
        return builder.sitofp(builder.sext(value, _LANE_NUMBERS), VECTOR)

    return (vector(array, types.intp), generate) if _is_int8_array(array) else None


@intrinsic
def store_bytes(context: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write sixteen floats that are small integers: ``store_bytes(array, offset, value)``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        value = builder.trunc(builder.fptosi(args[2], _LANE_NUMBERS), _BYTES)
        builder.store(value, builder.bitcast(pointer, _BYTES.as_pointer()), align=1)
        return context.get_dummy_value()

    return (types.void(array, types.intp, vector), generate) if _is_int8_array(array) else None


@intrinsic
def splat(context: Any, scalar: Any) -> Any:
    """Return a vector with the number in every lane; a float64 is rounded to float32."""
    return vector(types.float32), lambda context, builder, sig, args: broadcast(builder, args[0])


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c with one rounding."""
    sig = vector(vector, vector, vector)
    return sig, lambda context, builder, sig, args: multiply_add(builder, *args)


@intrinsic
def maximum(context: Any, a: Any, b: Any) -> Any:
    """Return a where a > b, else b: a NaN in `b` passes, a NaN in `a` gives `b`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return vector(vector, vector), generate


@intrinsic
def select_greater(context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Return, lane by lane, `yes` where a > b and `no` elsewhere (also where a or b is NaN)."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), generate


@intrinsic
def select_equal(context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Return, lane by lane, `yes` where a == b and `no` elsewhere."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("==", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), generate


def _bind_operator(function: Any, instruction: str) -> None:
    @infer_global(function)
    class _Operator(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(vector, vector, vector)]

    @lower_builtin(function, vector, vector)
    def _generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(args[0], args[1])


_bind_operator(operator.add, "fadd")
_bind_operator(operator.sub, "fsub")
_bind_operator(operator.mul, "fmul")
_bind_operator(operator.truediv, "fdiv")
