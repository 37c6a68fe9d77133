"""What an operation was called with, turned into plain arrays.

An operation is written on arrays and called with anything like them::

    called with       the function receives
    Tensor            its array
    ndarray           itself; while a graph is recorded, a copy, which a rule may keep (for
                      ``Array | None`` always itself: batch norm changes its statistics in place)
    list, nested      an array
    number            an array of the dtype of the others: 2.0 does not widen a float32
    list of Tensors   a list of arrays, where the function takes a sequence

Which of them may come as an argument is told by its annotation, ``Array``, ``Array | None`` or
``Sequence[Array]``. Arguments with other annotations are passed on as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinysmooth.checks import describe
from tinysmooth.graph import Array, copied
from tinysmooth.tensor import Tensor, nested_tensors

__all__ = ["Parameters", "has_tensor", "tensors_in"]

_REAL = "fiub"
"""Kinds of dtype that an operation computes with."""

_SERIES = (list, tuple)


class Parameters:
    """The parameters of a function on arrays, by what may come as an argument.

    Parameters
    ----------
    function : callable

    Raises
    ------
    TypeError
        If it takes ``*arguments``, or arguments by position alone.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.where = function.__name__
        self.signature = inspect.signature(function)
        self.names = tuple(self.signature.parameters)
        for parameter in self.signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(
                    f"primitive: {self.where} takes *{parameter.name}; expected named "
                    "arguments. Take a sequence of tensors as one argument instead"
                )
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(
                    f"primitive: {self.where} takes {parameter.name} by position alone; expected "
                    'arguments with a name, which their rules go by. Leave out the "/"'
                )
        self.arrays = self._annotated("Array", Array)
        self.optional = self._annotated("Array | None", Array | None)
        self.sequences = self._annotated("Sequence[Array]", Sequence[Array])

    def _annotated(self, *annotations: object) -> frozenset[str]:
        parameters = self.signature.parameters.items()
        return frozenset(name for name, p in parameters if p.annotation in annotations)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; too many or two of a name are refused."""
        given = dict(zip(self.names, args, strict=False))
        if len(args) > len(self.names) or given.keys() & kwargs.keys():
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.where}: {error}") from None
        given.update(kwargs)
        return given

    def unwrap(self, given: Mapping[str, Any], own: bool) -> dict[str, Any]:
        """Return the arguments as the function takes them; with ``own``, no array of a caller's.

        Raises
        ------
        TypeError, ValueError
            If an argument is no real number, array or tensor where one is expected.
        """
        arrays: dict[str, Any] = {}
        weak: list[str] = []
        for name, value in given.items():
            if isinstance(value, Tensor):
                arrays[name] = value._data
            elif name in self.arrays:
                if isinstance(value, bool | int | float | np.generic):
                    weak.append(name)
                    arrays[name] = self._number(name, value)
                else:
                    arrays[name] = self._array(name, value, own)
            elif name in self.sequences:
                arrays[name] = self._sequence(name, value, own)
            elif name in self.optional:
                if not (value is None or isinstance(value, np.ndarray)):
                    raise self._refusal(name, value, "a Tensor, an array or None")
                arrays[name] = value
            elif isinstance(value, _SERIES) and _holds_tensors(value):
                if any(isinstance(item, _SERIES) and _holds_tensors(item) for item in value):
                    raise self._refusal(name, value, "one Tensor. Join them with ts.stack")
                arrays[name] = [t._data if isinstance(t, Tensor) else np.asarray(t) for t in value]
            else:
                arrays[name] = value
        if weak:
            strong = [a.dtype for n, a in arrays.items() if n in self.arrays and n not in weak]
            # Integers beside floats are indices or a condition, which widen no float either.
            strong = [dtype for dtype in strong if dtype.kind == "f"] or strong
            for name in weak:
                value = arrays[name]
                arrays[name] = np.asarray(value, np.result_type(*strong, value) if strong else None)
        return arrays

    def _number(self, name: str, value: Any) -> Any:
        if not isinstance(value, np.generic):
            return value
        if value.dtype.kind not in _REAL:
            raise self._refusal(name, value, "a real number")
        return value.item()

    def _array(self, name: str, value: Any, own: bool) -> Array:
        if isinstance(value, np.ma.MaskedArray):
            raise self._refusal(name, value, "an array without a mask, as value.filled(0) gives")
        if isinstance(value, np.ndarray):
            array = copied(value) if own else np.asarray(value)
        else:
            if _holds_tensors(value):
                raise self._refusal(name, value, "one Tensor. Join them with ts.stack")
            try:
                # A copy: a buffer of the caller's is no more to be kept than an array.
                array = np.array(value)
            except ValueError as error:
                raise ValueError(
                    f"{self.where}: {name} is not a rectangular array ({error})"
                ) from None
        if array.dtype.kind not in _REAL:
            raise self._refusal(name, value, "a Tensor, an array or a number, of a real dtype")
        return array

    def _sequence(self, name: str, value: Any, own: bool) -> list[Array]:
        if not isinstance(value, _SERIES):
            raise self._refusal(name, value, "a list or tuple of Tensors or arrays")
        return [
            item._data if isinstance(item, Tensor) else self._array(f"{name}[{i}]", item, own)
            for i, item in enumerate(value)
        ]

    def _refusal(self, name: str, value: object, expected: str) -> TypeError:
        return TypeError(f"{self.where}: {name} is {describe(value)}; expected {expected}")


def has_tensor(value: object) -> bool:
    """Tell whether a value is a Tensor, or a list or tuple with one in it."""
    if isinstance(value, Tensor):
        return True
    return isinstance(value, _SERIES) and any(isinstance(item, Tensor) for item in value)


def _holds_tensors(value: object) -> bool:
    """Tell whether there are Tensors in a list or tuple, however deep."""
    return any(True for _ in nested_tensors(value))


def tensors_in(value: Any) -> Sequence[Tensor]:
    """Return the Tensors of a value that has some."""
    if isinstance(value, Tensor):
        return (value,)
    return [item for item in value if isinstance(item, Tensor)]
