"""Python's operators and the methods of Tensor, bound to operations in one visible table."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth.graph import Array
from tinysmooth.ops.arithmetic import add, divide, multiply, negative, power, subtract
from tinysmooth.ops.elementwise import abs, exp, log, relu, sqrt
from tinysmooth.ops.products import matmul
from tinysmooth.ops.reductions import max, mean, min, sum
from tinysmooth.ops.shaping import getitem, reshape, transpose
from tinysmooth.tensor import Tensor

__all__ = ["bind_operators"]

OPERATORS = {
    "__add__": add,
    "__sub__": subtract,
    "__mul__": multiply,
    "__truediv__": divide,
    "__pow__": power,
    "__matmul__": matmul,
}
METHODS = {
    "__neg__": negative,
    "__abs__": abs,
    "sum": sum,
    "mean": mean,
    "max": max,
    "min": min,
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "abs": abs,
    "relu": relu,
}
COMPARISONS = {
    "__eq__": np.equal,
    "__ne__": np.not_equal,
    "__lt__": np.less,
    "__le__": np.less_equal,
    "__gt__": np.greater,
    "__ge__": np.greater_equal,
}


def bind_operators() -> None:
    """Give Tensor its arithmetic; comparisons return plain boolean arrays (nothing to learn)."""
    for name, operation in OPERATORS.items():
        setattr(Tensor, name, _binary(name, operation, swapped=False))
        setattr(Tensor, f"__r{name[2:]}", _binary(name, operation, swapped=True))
    for name, operation in METHODS.items():
        setattr(Tensor, name, _method(name, operation))
    for name, comparison in COMPARISONS.items():
        setattr(Tensor, name, _comparison(name, comparison))
    others = {
        "__hash__": object.__hash__,  # comparing elementwise must not cost tensors their identity
        "__getitem__": _getitem,
        "reshape": _reshape,
        "transpose": _transpose,
        "T": property(transpose, doc="The axes in reverse order."),
    }
    for name, attribute in others.items():
        setattr(Tensor, name, attribute)


def _binary(name: str, operation: Any, swapped: bool) -> Any:
    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor | np.ndarray | np.generic | int | float | list | tuple):
            return NotImplemented
        return operation(other, self) if swapped else operation(self, other)

    operator.__name__, operator.__doc__ = name, operation.__doc__
    return operator


def _method(name: str, operation: Any) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        for given in ("dtype", "out"):  # np.sum(x) calls x.sum(axis=None, dtype=None, out=None)
            if given in kwargs and kwargs.pop(given) is not None:
                raise TypeError(
                    f"{name}: {given} is not taken; expected None. Use x.{name}() alone"
                )
        result: Tensor = operation(self, *args, **kwargs)
        return result

    method.__name__, method.__doc__ = name, operation.__doc__
    return method


def _comparison(name: str, comparison: np.ufunc) -> Any:
    def compare(self: Tensor, other: Any) -> Array:
        result: Array = comparison(self._data, other._data if isinstance(other, Tensor) else other)
        return result

    compare.__name__ = name
    compare.__doc__ = f"Compare elementwise (numpy.{comparison.__name__}); a boolean array."
    return compare


def _getitem(self: Tensor, key: Any) -> Tensor:
    """Index as NumPy does (see ``tinysmooth.ops.getitem``)."""
    if isinstance(key, Tensor):
        key = key._data
    elif isinstance(key, tuple):
        key = tuple(part._data if isinstance(part, Tensor) else part for part in key)
    return getitem(self, key)


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    """Give another shape: ``x.reshape(2, 3)`` or ``x.reshape((2, 3))``."""
    return reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """Reorder the axes: ``x.transpose(1, 0)``, ``x.transpose((1, 0))``, or reverse them."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
        return transpose(self, axes[0])
    return transpose(self, axes or None)
