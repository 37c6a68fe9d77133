"""Calling compiled code by its address, with arguments written out as 64-bit numbers.

Numba makes a Python function of every kernel: a *wrapper* in machine code that takes Python objects
apart. Its size rivals that of a small kernel, so it doubles the time to compile; and it needs
Python's global lock, so two threads cannot start a kernel at the same moment. The library calls its
kernels without wrappers. For machine code an array is a handful of numbers, in Numba's order::

    array    0, 0, size, item size, address, shape..., strides...     (the zeros: "owned by nobody")
    integer  itself        float  its bits        tuple  its items

and an `entry` is a few instructions that read such numbers and make the call::

    entry(numbers, address, part, parts)  -->  kernel(part, parts, *numbers)

They are written here for each list of machine types, by LLVM directly and in a millisecond. An
entry needs no lock, so a thread that never touches Python can go through it (see
`tinysmooth.kernels.handover`).
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from tinysmooth.kernels.memory import address_of

__all__ = ["ENTRY_TYPE", "Code", "machine_code", "take_apart"]

_I64, _I32 = ir.IntType(64), ir.IntType(32)
ENTRY_TYPE = ir.FunctionType(_I64, [_I64.as_pointer(), _I64, _I64, _I64])
_DOUBLE, _BITS = struct.Struct("=d"), struct.Struct("=q")
_CALL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)  # releases the global lock


_SCALARS = {
    int: types.int64,
    float: types.float64,
    np.float32: types.float32,
    bool: types.boolean,
}


def take_apart(args: Sequence[Any]) -> tuple[tuple[Any, ...], list[int], list[Any]]:
    """Write arguments out as numbers.

    Parameters
    ----------
    args : sequence
        Arrays, numbers, and tuples of numbers. An array at an odd address is copied: it can only be
        an input.

    Returns
    -------
    key : tuple
        Equal for arguments of equal types; `kinds_of` makes Numba's types of it.
    numbers : list of int
    alive : list
        Whatever must be kept until the call has ended, besides `args` themselves.

    Raises
    ------
    TypeError
        For an argument of another kind.
    """
    if set(map(type, args)) == {int}:  # the sizes that most kernels take
        return (len(args),), list(args), []
    key: list[Any] = []
    numbers: list[int] = []
    alive: list[Any] = []
    for arg in args:
        kind = type(arg)
        if kind is int:
            key.append(int)
            numbers.append(arg)
        elif isinstance(arg, np.ndarray):
            flags = arg.flags
            if not flags.aligned:
                arg = arg.copy(order="K")
                alive.append(arg)
            layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
            key += (arg.dtype, arg.ndim, layout)
            address = address_of(arg)
            numbers += (0, 0, arg.size, arg.itemsize, address, *arg.shape, *arg.strides)
        elif isinstance(arg, tuple):
            inside, items, more = take_apart(arg)
            key.append(inside)
            numbers += items
            alive += more
        elif kind is np.float32:  # stays one: a float64 would carry a whole kernel with it
            key.append(np.float32)
            numbers.append(int(arg.view(np.uint32)))
        elif isinstance(arg, float | np.floating):
            key.append(float)
            numbers += _BITS.unpack(_DOUBLE.pack(arg))
        elif isinstance(arg, bool | np.bool_ | np.integer):
            key.append(int if isinstance(arg, np.integer) else bool)
            numbers.append(int(arg))
        else:
            raise TypeError(f"a kernel cannot take {kind.__name__}; expected an array or a number")
    return tuple(key), numbers, alive


def kinds_of(key: tuple[Any, ...]) -> tuple[types.Type, ...]:
    """Return Numba's types for a key of `take_apart`; every array counts as writable."""
    kinds: list[types.Type] = []
    parts = iter(key)
    for part in parts:
        if isinstance(part, int):
            kinds += [types.int64] * part
        elif isinstance(part, np.dtype):
            kinds.append(types.Array(numba.from_dtype(part), next(parts), next(parts)))
        elif isinstance(part, tuple):
            kinds.append(types.Tuple(kinds_of(part)))
        else:
            kinds.append(_SCALARS[part])
    return tuple(kinds)


class Code(NamedTuple):
    """A function compiled for some types.

    Attributes
    ----------
    address : int
    entry : int
        Address of the entry; it returns 0 if the function came to its end.
    call : callable
        ``call(address of numbers, address, part, parts)``, the entry for Python.
    results : tuple of numba.types.Type
        Of the function; their bits take the place of the first numbers.
    """

    address: int
    entry: int
    call: Callable[[int, int, int, int], int]
    results: tuple[types.Type, ...]

    def result_of(self, numbers: np.ndarray) -> Any:
        """Return the result that a call left in its numbers."""
        floats = numbers.view(np.float64)
        found = [
            float(floats[i]) if isinstance(kind, types.Float) else int(numbers[i])
            for i, kind in enumerate(self.results)
        ]
        return tuple(found) if len(found) > 1 else found[0] if found else None


def machine_code(dispatcher: Any, key: tuple[Any, ...], parallel: bool) -> Code:
    """Compile or load a function.

    Parameters
    ----------
    dispatcher : numba dispatcher
    key : tuple
        Of `take_apart`.
    parallel : bool
        The function takes part and parts before these arguments, and so does the entry; otherwise
        the entry ignores its last two arguments.
    """
    kinds = kinds_of(key)
    if parallel:
        kinds = (types.int64, types.int64, *kinds)
    dispatcher.compile(kinds)
    made = dispatcher.overloads[kinds]
    result = made.signature.return_type
    kind = cpu_target.target_context.call_conv.get_function_type(result, kinds)
    entry = _compiler().compile(kind, 2 if parallel else 0)
    address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    results = () if result == types.none else getattr(result, "types", (result,))
    return Code(address, entry, _CALL(entry), tuple(results))


# ------------------------------------------------------------------ entries


class _Compiler:
    """LLVM's own just-in-time compiler, for code too small for Numba's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[tuple[str, int], int] = {}
        target = binding.Target.from_default_triple()
        self.engine = binding.create_mcjit_compiler(
            binding.parse_assembly(""), target.create_target_machine(opt=1)
        )

    def compile(self, kind: ir.FunctionType, leading: int) -> int:
        """Return the address of the entry for functions of this type."""
        with self.lock:
            found = self.entries.get((str(kind), leading))
            if found is None:
                name = f"entry_{len(self.entries)}"
                module = binding.parse_assembly(str(_write_entry(kind, leading, name)))
                self.engine.add_module(module)
                self.engine.finalize_object()
                found = self.engine.get_function_address(name)
                self.entries[str(kind), leading] = found
            return found


_the_compiler: _Compiler | None = None


def _compiler() -> _Compiler:
    """Return the one compiler of this process: its code would die with it."""
    global _the_compiler
    with global_compiler_lock:
        _the_compiler = _the_compiler or _Compiler()
        return _the_compiler


def _write_entry(kind: ir.FunctionType, leading: int, name: str) -> ir.Module:
    """Write the entry: Numba's functions take (result*, error**, arguments...), return a status."""
    module = ir.Module(name)
    function = ir.Function(module, ENTRY_TYPE, name)
    builder = ir.IRBuilder(function.append_basic_block())
    numbers, address, part, parts = function.args
    result_kind = kind.args[0].pointee
    result = builder.alloca(result_kind)
    values = [result, builder.alloca(kind.args[1].pointee), *(part, parts)[:leading]]
    for i, wanted in enumerate(kind.args[2 + leading :]):
        bits = builder.load(builder.gep(numbers, [_I64(i)]))
        values.append(_from_bits(builder, bits, wanted))
    status = builder.call(builder.inttoptr(address, kind.as_pointer()), values)
    for i, value in enumerate(_results(builder, builder.load(result))):
        builder.store(_to_bits(builder, value), builder.gep(numbers, [_I64(i)]))
    # -2 is "returned None".
    bad = builder.and_(
        builder.icmp_signed("!=", status, _I32(0)), builder.icmp_signed("!=", status, _I32(-2))
    )
    builder.ret(builder.zext(bad, _I64))
    return module


def _from_bits(builder: ir.IRBuilder, bits: ir.Value, wanted: ir.Type) -> ir.Value:
    if isinstance(wanted, ir.PointerType):
        return builder.inttoptr(bits, wanted)
    if isinstance(wanted, ir.DoubleType):
        return builder.bitcast(bits, wanted)
    if isinstance(wanted, ir.FloatType):
        return builder.bitcast(builder.trunc(bits, _I32), wanted)
    return bits if wanted.width == 64 else builder.trunc(bits, wanted)


def _results(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    """Return the items of a result: none, one, or those of a tuple."""
    if isinstance(value.type, ir.PointerType):  # how Numba says None
        return []
    if isinstance(value.type, ir.LiteralStructType | ir.ArrayType):
        return [builder.extract_value(value, i) for i in range(len(value.type))]
    return [value]


def _to_bits(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    if isinstance(value.type, ir.FloatType):
        value = builder.fpext(value, ir.DoubleType())
    if isinstance(value.type, ir.DoubleType):
        return builder.bitcast(value, _I64)
    return value if value.type.width == 64 else builder.zext(value, _I64)
