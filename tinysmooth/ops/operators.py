"""Python's operators, the methods of Tensor and NumPy's functions, bound in visible tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth.ops.arithmetic import add, divide, multiply, negative, power, subtract
from tinysmooth.ops.elementwise import (
    abs,
    exp,
    log,
    maximum,
    minimum,
    relu,
    sqrt,
    tanh,
    where,
)
from tinysmooth.ops.products import matmul
from tinysmooth.ops.reductions import max, mean, min, sum
from tinysmooth.ops.shaping import concatenate, getitem, reshape, stack, transpose
from tinysmooth.primitive import is_grad_enabled
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
_OPERANDS = (Tensor, np.ndarray, np.generic, int, float, list, tuple)
"""What may stand beside a Tensor; anything else may know itself what to do."""

COMPARISONS = {
    "__eq__": np.equal,
    "__ne__": np.not_equal,
    "__lt__": np.less,
    "__le__": np.less_equal,
    "__gt__": np.greater,
    "__ge__": np.greater_equal,
}
NUMPY_FUNCTIONS = {
    np.absolute: abs,
    np.add: add,
    np.amax: max,
    np.amin: min,
    np.concatenate: concatenate,
    np.divide: divide,
    np.exp: exp,
    np.log: log,
    np.matmul: matmul,
    np.max: max,
    np.maximum: maximum,
    np.mean: mean,
    np.min: min,
    np.minimum: minimum,
    np.multiply: multiply,
    np.negative: negative,
    np.power: power,
    np.reshape: reshape,
    np.sqrt: sqrt,
    np.stack: stack,
    np.subtract: subtract,
    np.sum: sum,
    np.tanh: tanh,
    np.transpose: transpose,
    np.where: where,
}
"""What NumPy's functions become when a Tensor is among their arguments."""
_NOTHING_TO_LEARN = {np.copy, np.empty_like, np.full_like, np.ones_like, np.zeros_like}
"""These give new arrays by their very names."""
_IN_PLACE = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}
"""These write what they are given into an array."""


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
        "__array_function__": _array_function,
        "__array_ufunc__": _array_ufunc,
        "__getitem__": _getitem,
        "reshape": _reshape,
        "transpose": _transpose,
        "T": property(transpose, doc="The axes in reverse order."),
    }
    for name, attribute in others.items():
        setattr(Tensor, name, attribute)


def _binary(name: str, operation: Any, swapped: bool) -> Any:
    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return operation(other, self) if swapped else operation(self, other)

    operator.__name__, operator.__doc__ = name, operation.__doc__
    return operator


def _method(name: str, operation: Any) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _call(operation, (self, *args), kwargs)

    method.__name__, method.__doc__ = name, operation.__doc__
    return method


def _call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Call an operation as NumPy calls its own: ``np.sum(x, dtype=None, out=None)``."""
    for given in ("dtype", "out"):
        if given in kwargs and kwargs[given] is not None:
            name = operation.__name__
            raise TypeError(f"{name}: {given} is not taken; expected None. Use ts.{name}() alone")
    taken = {name: value for name, value in kwargs.items() if name not in ("dtype", "out")}
    result: Tensor = operation(*args, **taken)
    return result


def _array_function(
    self: Tensor, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Let NumPy's functions take tensors, where no gradient is lost without a word.

    Those with an operation of ours are recorded like it. The others see plain arrays: what they
    tell of a Tensor that requires a gradient must not be floats, which no backward would reach.
    """
    ours = NUMPY_FUNCTIONS.get(function)
    if ours is not None and not (ours is where and len(args) == 1):  # then it is np.nonzero
        return _call(ours, args, kwargs)
    return _outside(f"{function.__module__}.{function.__name__}", function, args, kwargs)


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
    """Do the same for NumPy's elementwise functions, which ``array * tensor`` calls as well."""
    ours = NUMPY_FUNCTIONS.get(ufunc)
    called = method == "__call__"
    if ours is not None and called and kwargs.get("out") is None:
        return _call(ours, args, kwargs)
    name = f"numpy.{ufunc.__name__}" if called else f"numpy.{ufunc.__name__}.{method}"
    return _outside(name, getattr(ufunc, method), args, kwargs)


def _outside(name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of NumPy with arrays in the place of tensors, unless a gradient gets lost."""
    learns = is_grad_enabled() and any(map(_requires_grad, (*args, *kwargs.values())))
    in_place = kwargs.get("out") is not None or name.endswith(".at") or function in _IN_PLACE
    result = None if learns and in_place else function(*_plain(args), **_plain(kwargs))
    if learns and (in_place or _has_floats(result)) and function not in _NOTHING_TO_LEARN:
        raise TypeError(
            f"{name}: a Tensor that requires a gradient came, and NumPy would not record what "
            f"becomes of it{' in place' * in_place}; expected arrays. Use an operation of "
            "tinysmooth, or x.detach().numpy() where no gradient is wanted"
        )
    return result


def _plain(value: Any) -> Any:
    """Return a value with arrays in the place of tensors."""
    if isinstance(value, Tensor):
        return value.data
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {name: _plain(item) for name, item in value.items()}
    return value


def _requires_grad(value: Any) -> bool:
    if type(value) in (tuple, list):
        return any(map(_requires_grad, value))
    return isinstance(value, Tensor) and value.requires_grad


def _has_floats(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_has_floats, value))
    return (
        isinstance(value, np.ndarray | np.generic | float) and np.asarray(value).dtype.kind in "fc"
    )


def _comparison(name: str, comparison: np.ufunc) -> Any:
    def compare(self: Tensor, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return comparison(self._data, other._data if isinstance(other, Tensor) else other)

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
