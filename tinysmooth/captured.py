"""Which arrays a rule holds on to: its closure is the list, but one that has to be read.

A rule may hold an array itself, or a list, a mapping, another function or an object that does. So
what is found is opened in turn, each kind of object in its way, and to a depth at which nobody has
hidden an array without meaning to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinysmooth.graph import Array, Pullback
from tinysmooth.tensor import Tensor

__all__ = ["captured_arrays"]

_HOLD_NOTHING = frozenset({int, float, bool, str, bytes, type(None), np.dtype})
"""Types that most cells of a closure have; asked first, because every operation asks."""

_CONTAINERS = (tuple, list, Sequence, set, frozenset)

_DEEPEST = 8
"""So far into closures, containers and objects arrays are looked for."""


def captured_arrays(rules: Sequence[Pullback]) -> list[Array]:
    """Find the arrays that rules reach through closures, containers and attributes.

    Parameters
    ----------
    rules : sequence of callable
        Of a node, or any functions.

    Returns
    -------
    list of ndarray
        Each once. Global variables are not looked at.

    Examples
    --------
    >>> def rules(kept, options):
    ...     return [lambda grad: grad * kept * options["scale"]]
    >>> [array.size for array in captured_arrays(rules(np.ones(2), {"scale": np.ones(3)}))]
    [2, 3]
    """
    found: list[Array] = []
    seen: dict[int, object] = {}
    level: Iterable[object] = rules
    for _ in range(_DEEPEST):
        below: list[object] = []
        for value in level:
            held = _held_by_function(value) if isinstance(value, FunctionType) else _contents(value)
            for item in held:
                kind = type(item)
                if kind in _HOLD_NOTHING or id(item) in seen:
                    continue
                if isinstance(item, tuple) and _HOLD_NOTHING.issuperset(map(type, item)):
                    continue  # a shape, for example
                seen[id(item)] = item
                if isinstance(item, np.ndarray):
                    found.append(item)
                else:
                    below.append(item)
        if not below:
            break
        level = below
    return found


def _contents(value: object) -> Iterable[object]:
    """Return what a function, a sequence, a mapping or another object holds."""
    return _reader(value.__class__)(value)  # type: ignore[arg-type]  # types are hashable


@functools.lru_cache(maxsize=256)
def _reader(kind: type) -> Callable[[Any], Iterable[object]]:
    """Return what finds the contents of the objects of a type."""
    if issubclass(kind, _CONTAINERS):
        return iter
    if issubclass(kind, Mapping):
        return lambda value: value.values()
    if issubclass(kind, Tensor):
        return lambda value: (value._data,)
    if issubclass(kind, MethodType):
        return lambda value: (value.__self__, value.__func__)
    if issubclass(kind, functools.partial):
        return lambda value: (value.func, value.args, value.keywords)
    if issubclass(kind, type | ModuleType):
        return lambda value: ()
    names: list[str] = []
    for each in kind.__mro__:
        slots = getattr(each, "__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots

    def held(value: object) -> list[object]:
        attributes = getattr(value, "__dict__", {}).values()
        return [*attributes, *(getattr(value, name, None) for name in names)]

    return held


def _held_by_function(function: FunctionType) -> Iterable[object]:
    """Return the variables that a function closes over, and its default arguments."""
    closure = function.__closure__ or ()
    try:
        cells = [cell.cell_contents for cell in closure]
    except ValueError:  # a variable that was never assigned
        cells = [_cell_content(cell) for cell in closure]
    if function.__defaults__ or function.__kwdefaults__:
        cells += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return cells


def _cell_content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None
