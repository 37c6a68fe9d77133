"""A vector from one of its numbers on, without the care that a slice takes.

A kernel lays several things behind one another in one workspace or table. ``array[start:]`` tells
them apart, but Numba writes 160 instructions for a slice, which clip its ends, and count from the
back where they are negative. LLVM then finds out that hardly any of it is needed. Slices were a
tenth of all that LLVM got to compile for a training step; `behind` takes seven instructions.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

__all__ = ["behind"]


@intrinsic
def behind(context: Any, array: Any, start: Any) -> Any:
    """Return ``array[start:]`` of a vector, where 0 <= start <= array.size: nothing checks it."""
    is_vector = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    if not is_vector or not isinstance(start, types.Integer):
        return None  # Numba says that there is no such function

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        view, start = args
        fields = context.data_model_manager[sig.args[0]]
        data, count, shape = map(fields.get_field_position, ("data", "nitems", "shape"))
        first = builder.gep(builder.extract_value(view, data), [start])
        left = builder.sub(builder.extract_value(view, count), start)
        view = builder.insert_value(view, first, data)
        view = builder.insert_value(view, left, count)
        view = builder.insert_value(view, left, [shape, 0])
        return impl_ret_borrowed(context, builder, sig.return_type, view)

    return array(array, types.intp), generate
