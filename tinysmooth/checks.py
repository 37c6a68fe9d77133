"""Front-door validators: one voice for every error message.

Every message reads ``<function>: <argument> <what came>; expected <what>. <fix>``. The functions
here return the checked value in a plain Python type, so that a caller can write
``stride = check_pair("conv2d", "stride", stride, minimum=1)``.

Types that do not fit raise ``TypeError``; values that do not fit raise ``ValueError``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "check_array",
    "check_axis",
    "check_choice",
    "check_flag",
    "check_floating",
    "check_int",
    "check_ndim",
    "check_pair",
    "check_real",
    "check_rng",
    "describe",
]


def describe(value: object) -> str:
    """Say in a few words what a value is, for an error message.

    >>> describe(np.zeros((2, 3), np.float32))
    'a float32 array of shape (2, 3)'
    >>> describe("mean")
    "'mean' (str)"
    """
    data = getattr(value, "data", None) if not isinstance(value, np.ndarray) else value
    if isinstance(data, np.ndarray):
        return f"a {data.dtype} array of shape {data.shape}"
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"


def check_int(
    where: str, name: str, value: object, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """Return ``value`` as an ``int`` (NumPy integers pass, booleans and floats do not)."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:  # also of an array, which has __index__ and refuses when it is called
        number = None
    if number is None:
        raise TypeError(f"{where}: {name} is {describe(value)}; expected an integer")
    if minimum is not None and number < minimum:
        raise ValueError(f"{where}: {name} is {number}; expected an integer >= {minimum}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{where}: {name} is {number}; expected an integer <= {maximum}")
    return number


def check_real(
    where: str,
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
    fix: str = "",
) -> float:
    """Return ``value`` as a ``float`` within [low, high]; an open end is excluded, NaN refused."""
    if isinstance(value, bool | np.bool_ | str | bytes) or not hasattr(value, "__float__"):
        raise TypeError(f"{where}: {name} is {describe(value)}; expected a number")
    if getattr(value, "ndim", 0):
        raise TypeError(f"{where}: {name} is {describe(value)}; expected a single number")
    number = float(value)
    below = number <= low if open_low else number < low
    above = number >= high if open_high else number > high
    if math.isnan(number) or below or above:
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        if math.isinf(low) and math.isinf(high):
            expected = "a number"
        elif math.isinf(high):
            expected = f"a number {'>' if open_low else '>='} {low:g}"
        elif math.isinf(low):
            expected = f"a number {'<' if open_high else '<='} {high:g}"
        else:
            expected = f"a number in {left}{low:g}, {high:g}{right}"
        raise ValueError(f"{where}: {name} is {number:g}; expected {expected}{_fix(fix)}")
    return number


def check_choice(where: str, name: str, value: object, choices: Iterable[object]) -> Any:
    """Return ``value`` if it is one of ``choices``."""
    allowed = list(choices)
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return choice
    names = ", ".join(repr(choice) for choice in allowed)
    kind = ValueError if any(isinstance(value, type(choice)) for choice in allowed) else TypeError
    raise kind(f"{where}: {name} is {value!r}; expected one of {names}")


def check_flag(where: str, name: str, value: object) -> bool:
    """Return ``value`` as a ``bool``; numbers and strings are refused."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} is {describe(value)}; expected True or False")
    return bool(value)


def check_pair(where: str, name: str, value: object, *, minimum: int) -> tuple[int, int]:
    """Return ``value`` as two integers (vertical, horizontal); one integer stands for both."""
    if type(value) is int and value >= minimum:  # what nearly always comes
        return value, value
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, tuple | list | Sequence) and not isinstance(value, str | bytes):
        if len(value) != 2:
            raise ValueError(
                f"{where}: {name} is {value!r}; expected one integer or two (vertical, horizontal)"
            )
        first, second = value
    else:
        first = second = value
    return (
        check_int(where, name, first, minimum=minimum),
        check_int(where, name, second, minimum=minimum),
    )


def check_axis(where: str, name: str, value: object, ndim: int) -> int:
    """Return an axis of an array with ``ndim`` axes as a number in [0, ndim)."""
    axis = check_int(where, name, value)
    if not -ndim <= axis < ndim:
        expected = f"an axis in [{-ndim}, {ndim})" if ndim else "no axis: the input has none"
        raise ValueError(f"{where}: {name} is {axis}; expected {expected}")
    return axis % ndim


def check_array(where: str, name: str, value: object) -> np.ndarray[Any, Any]:
    """Return ``value`` as a numeric ndarray; ragged lists, strings, objects, masks are refused."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{where}: {name} is a masked array; expected one without a mask, as value.filled(0) "
            "gives"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where}: {name} is not a rectangular array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{where}: {name} has dtype {array.dtype}; expected real numbers (float or integer)"
        )
    return array


def check_floating(where: str, name: str, array: np.ndarray[Any, Any], fix: str = "") -> None:
    """Refuse an array whose dtype is not float32 or float64."""
    if array.dtype != np.float32 and array.dtype != np.float64:
        raise TypeError(
            f"{where}: {name} has dtype {array.dtype}; expected float32 or float64{_fix(fix)}"
        )


def check_ndim(where: str, name: str, array: np.ndarray[Any, Any], ndim: int, layout: str) -> None:
    """Refuse an array that has not exactly ``ndim`` axes; ``layout`` names them."""
    if array.ndim != ndim:
        raise ValueError(
            f"{where}: {name} has shape {array.shape} ({array.ndim} axes); "
            f"expected {ndim} axes {layout}"
        )


def check_rng(where: str, name: str, value: object) -> np.random.Generator:
    """Return ``value`` if it is a ``numpy.random.Generator``."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            f"{where}: {name} is {describe(value)}; expected a numpy.random.Generator. "
            "Make one with numpy.random.default_rng(seed)"
        )
    return value


def _fix(fix: str) -> str:
    return f". {fix}" if fix else ""
